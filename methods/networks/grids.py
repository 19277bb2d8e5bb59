"""Levels of a backbone on one grid: their strides differ."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch.nn.functional import interpolate

__all__ = ["axis_weights", "joined", "resized"]


def resized(values_BCHW: torch.Tensor, grid: Sequence[int], align_corners: bool = False) -> torch.Tensor:
    """At the grid (height, width), bilinear; the tensor itself where it is there already.

    On a CPU as two products with sparse matrices written out, an axis each: torch's own backward pass takes six times
    as long.
    """
    if values_BCHW.shape[2:] == tuple(grid):
        return values_BCHW
    if values_BCHW.device.type != "cpu" or values_BCHW.dtype != torch.float32:
        return interpolate(values_BCHW, tuple(grid), mode="bilinear", align_corners=align_corners)
    batch, channels, height, width = values_BCHW.shape
    to_height, to_width = grid
    rows_BHWC = values_BCHW.permute(0, 2, 3, 1).reshape(batch * height, width, channels)
    wide = axis_weights(width, to_width, align_corners) @ rows_BHWC
    tall = axis_weights(height, to_height, align_corners) @ wide.view(batch, height, to_width * channels)
    return tall.view(batch, to_height, to_width, channels).permute(0, 3, 1, 2)


@cache
@torch.inference_mode(False)
def axis_weights(before: int, after: int, align_corners: bool = False) -> torch.Tensor:
    """(after, before): what each position of an axis takes from those before; kept for training and inference alike."""
    unit = torch.eye(before)[None]
    if align_corners:
        # Of one axis alone: the other one has a single position, which stays.
        return (
            interpolate(unit[..., None], (after, 1), mode="bilinear", align_corners=True)[0, :, :, 0].t().contiguous()
        )
    return interpolate(unit, after, mode="linear", align_corners=False)[0].t().contiguous()


def joined(levels_BCHW: Sequence[torch.Tensor]) -> torch.Tensor:
    """The channels of all levels, at the grid of the first."""
    return torch.cat([resized(level, levels_BCHW[0].shape[2:]) for level in levels_BCHW], 1)
