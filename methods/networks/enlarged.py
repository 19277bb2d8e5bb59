"""A separable 3×3 convolution of an enlarged map, made of products on the small grid.

Enlarging, the depthwise taps and the 1×1 convolution are linear: together they are the sum over the nine taps of what
`across · each[tap]` makes of the small map, enlarged and moved by the tap. Products at 14×14 positions, nine for one,
are fewer than at 56×56, and neither the enlarged map nor its depthwise convolution is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch.nn.functional import pad

from methods.kernels.products import product
from methods.networks.grids import axis_weights

__all__ = ["add_of_enlarged", "pays"]

TAPS = 9


def pays(small_BCHW: torch.Tensor, grid: Sequence[int]) -> bool:
    """Whether the products at the small map's positions, one for each tap, are fewer than those at the grid's."""
    return small_BCHW.device.type == "cpu" and TAPS * small_BCHW[0, 0].numel() < grid[0] * grid[1]


def add_of_enlarged(
    total_BOHW: torch.Tensor, small_BCHW: torch.Tensor, each_C133: torch.Tensor, across_OC11: torch.Tensor
) -> torch.Tensor:
    """`total_BOHW` + the separable convolution of the map, enlarged to the total's grid, zeros beyond its border.

    The map is enlarged bilinearly, corners on corners; the depthwise weights `each` come first, then the 1×1 `across`.
    """
    batch, outputs, to_height, to_width = total_BOHW.shape
    height, width = small_BCHW.shape[2:]
    weight_9OC = each_C133.flatten(1).t()[:, None] * across_OC11.flatten(1)
    parts_BHWX = product(small_BCHW.permute(0, 2, 3, 1), weight_9OC.flatten(0, 1))
    # The row of a tap goes with the row of the map, its column with the column.
    parts_BHTWX = parts_BHWX.view(batch, height, width, 3, 3 * outputs).transpose(2, 3)
    down, along = (_taken(*axis).to(total_BOHW.dtype) for axis in ((height, to_height), (width, to_width)))
    tall = down.expand(batch, -1, -1) @ parts_BHTWX.reshape(batch, 3 * height, width * 3 * outputs)
    rows = total_BOHW.permute(0, 2, 3, 1).reshape(batch * to_height, to_width, outputs)
    rows = rows.baddbmm(along.expand(len(rows), -1, -1), tall.view(len(rows), 3 * width, outputs))
    return rows.view(batch, to_height, to_width, outputs).permute(0, 3, 1, 2)


@cache
@torch.inference_mode(False)
def _taken(before: int, after: int) -> torch.Tensor:
    """(after, before · 3): what the taps around each position of the large axis take from the small one."""
    return pad(axis_weights(before, after, align_corners=True), (0, 0, 1, 1)).unfold(0, 3, 1).flatten(1)
