"""Levels of a backbone on one grid: their strides differ."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import interpolate


def resized(values_BCHW: torch.Tensor, grid: Sequence[int]) -> torch.Tensor:
    """At the grid (height, width), bilinear; the tensor itself where it is there already."""
    if values_BCHW.shape[2:] == tuple(grid):
        return values_BCHW
    return interpolate(values_BCHW, tuple(grid), mode="bilinear", align_corners=False)


def joined(levels_BCHW: Sequence[torch.Tensor]) -> torch.Tensor:
    """The channels of all levels, at the grid of the first."""
    return torch.cat([resized(level, levels_BCHW[0].shape[2:]) for level in levels_BCHW], 1)
