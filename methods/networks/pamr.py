"""Pixel-adaptive mask refinement (PAMR): Araslanov & Roth, CVPR 2020, section 4; docs/methods.md §5.

A pixel takes the mean of its neighbours' maps, weighted by how alike their colours are; that, ten times. No training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import pad

from methods.kernels import neighbours
from methods.kernels.compiled import counts_for

DILATIONS = (1, 2, 4, 8, 12, 24)
ITERATIONS = 10
SHARPNESS = 0.1
"""A difference of so many local standard deviations counts as 1."""
NEIGHBOURS = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0))


@torch.no_grad()
def pamr(
    maps_BCHW: torch.Tensor,
    image_B3HW: torch.Tensor,
    dilations: Sequence[int] = DILATIONS,
    iterations: int = ITERATIONS,
) -> torch.Tensor:
    """Maps (B, C, H, W), of any range, refined by RGB images of the same size, of any scale.

    Neighbours lie at every dilation in 8 directions; borders are replicated. The result lies between the least and the
    highest value of its map. No gradient. Raises ValueError for sizes that differ.
    """
    if (len(maps_BCHW), *maps_BCHW.shape[2:]) != (len(image_B3HW), *image_B3HW.shape[2:]):
        raise ValueError(f"maps {tuple(maps_BCHW.shape)} and images {tuple(image_B3HW.shape)} differ")
    weights_BNHW = neighbour_weights(image_B3HW.to(maps_BCHW.dtype), dilations)
    if counts_for(maps_BCHW):
        return neighbours.weighted_means(maps_BCHW, weights_BNHW, _offsets(dilations), iterations)
    for _ in range(iterations):
        refined_BCHW = torch.zeros_like(maps_BCHW)
        for weight_BHW, near_BCHW in zip(weights_BNHW.unbind(1), _neighbours(maps_BCHW, dilations), strict=True):
            refined_BCHW.addcmul_(weight_BHW[:, None], near_BCHW)
        maps_BCHW = refined_BCHW
    return maps_BCHW


def neighbour_weights(image_B3HW: torch.Tensor, dilations: Sequence[int]) -> torch.Tensor:
    """How much each neighbour counts, (B, 8 · dilations, H, W): their sum is 1.

    Softmax over all neighbours of the mean over R, G, B of −|I_i − I_j| / (0.1 σ_i + 1e-8); σ_i is the standard
    deviation of the colour over a pixel's neighbours and, once a dilation, the pixel itself.
    """
    scale_B3HW = SHARPNESS * _local_deviation(image_B3HW, dilations) + 1e-8
    if counts_for(image_B3HW):
        return neighbours.unlikeness(image_B3HW, scale_B3HW, _offsets(dilations)).neg_().softmax(1)
    unlike = [
        ((image_B3HW - near_B3HW).abs_() / scale_B3HW).mean(1) for near_B3HW in _neighbours(image_B3HW, dilations)
    ]
    return torch.stack(unlike, 1).neg_().softmax(1)


def _local_deviation(image_B3HW: torch.Tensor, dilations: Sequence[int]) -> torch.Tensor:
    """Unbiased, over 9 values a dilation; mean first, then squares: their difference would be lost to rounding."""
    count = (len(NEIGHBOURS) + 1) * len(dilations)
    if counts_for(image_B3HW):
        squares_B3HW = neighbours.squared_deviations(image_B3HW, _offsets(dilations), len(dilations))
        return (squares_B3HW / (count - 1)).sqrt()
    near = _neighbours(image_B3HW, dilations)
    mean_B3HW = sum(near, start=len(dilations) * image_B3HW) / count
    squares_B3HW = len(dilations) * (image_B3HW - mean_B3HW) ** 2
    for near_B3HW in _neighbours(image_B3HW, dilations):
        squares_B3HW += (near_B3HW - mean_B3HW) ** 2
    return (squares_B3HW / (count - 1)).sqrt()


def _offsets(dilations: Sequence[int]) -> NDArray[np.int64]:
    """(dy, dx) of the neighbours, in the order of `_neighbours`."""
    return np.array([(y * dilation, x * dilation) for dilation in dilations for y, x in NEIGHBOURS])


def _neighbours(values_BCHW: torch.Tensor, dilations: Sequence[int]) -> Iterator[torch.Tensor]:
    """The values moved so that each neighbour lies at its pixel's place, the dilations one after the other."""
    height, width = values_BCHW.shape[2:]
    for dilation in dilations:
        padded = pad(values_BCHW, (dilation,) * 4, mode="replicate")
        for y, x in NEIGHBOURS:
            top, left = (1 + y) * dilation, (1 + x) * dilation
            yield padded[:, :, top : top + height, left : left + width]
