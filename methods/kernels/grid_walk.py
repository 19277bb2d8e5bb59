"""Random walks along pairs of near pixels: the affinities' distances, and many steps, photo by photo in a core's cache.

Pairs of one offset lie side by side in the grid's linear order: both ways of a step are sums of products of shifted
rows, without indices. A symmetric matrix is read once for both, and pixels that begin no pair are hardly read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from methods.kernels.compiled import counts_for, images_first, jit, over_images

__all__ = ["distances", "distances_here", "walk_here", "walked"]

Values = NDArray[np.float32]
Exact = NDArray[np.float64]
Windows = NDArray[np.int64]
"""A row is an offset: (dy, dx, first row, last row + 1, first column, last column + 1) of its sources."""
BLOCK = 1024
"""Sources whose pairs of all offsets are taken together, so that maps of large grids stay in the cache."""


def distances_here(feature_BDHW: torch.Tensor) -> bool:
    """Whether distances of these features are computed here: float32 on the CPU, without a gradient."""
    return counts_for(feature_BDHW) and not (torch.is_grad_enabled() and feature_BDHW.requires_grad)


def distances(feature_BDHW: torch.Tensor, windows_P6: Windows, pairs: int) -> torch.Tensor:
    """Mean over channels of |x_i − x_j| for all pairs, offset by offset, (B, pairs) float32."""
    features_BHWD = images_first(feature_BDHW)
    found_BP = np.empty((len(features_BHWD), pairs), np.float32)

    def some(first: int, last: int) -> None:
        for image in range(first, last):
            _distances(features_BHWD[image], windows_P6, found_BP[image])

    over_images(some, len(features_BHWD))
    return torch.from_numpy(found_BP)


def walk_here(maps_BCHW: torch.Tensor, affinity_BP: torch.Tensor) -> bool:
    """Whether a walk is computed here: float64 affinities on the CPU, and numba at hand."""
    return maps_BCHW.device.type == "cpu" and counts_for(affinity_BP, dtype=torch.float64)


def walked(
    maps_BCHW: torch.Tensor, affinity_BP: torch.Tensor, windows_P6: Windows, weights: Sequence[float]
) -> torch.Tensor:
    """Σ_k weight_k T_k(matrix) · maps, float64 (B, C, h, w), where T_k is Chebyshev's polynomial of degree k.

    The matrix of a photo has its affinities (P), both ways, and ones on the diagonal; its rows are divided by their
    sums. There are two weights or more.
    """
    maps, affinities = maps_BCHW.double().contiguous().numpy(), affinity_BP.contiguous().numpy()
    found, weights_K = np.empty_like(maps), np.array(weights)

    def some(first: int, last: int) -> None:
        for image in range(first, last):
            _walk(maps[image], affinities[image], windows_P6, weights_K, found[image])

    over_images(some, len(maps))
    return torch.from_numpy(found)


@jit
def _distances(feature_HWD: Values, windows_P6: Windows, found_P: Values) -> None:
    """Pixel by pixel: what its pairs read is near in memory."""
    height, width, depth = feature_HWD.shape
    starts = np.zeros(len(windows_P6), np.int64)
    for k in range(1, len(windows_P6)):
        _, _, top, bottom, left, right = windows_P6[k - 1]
        starts[k] = starts[k - 1] + max(0, bottom - top) * max(0, right - left)
    for y in range(height):
        for x in range(width):
            here_D = feature_HWD[y, x]
            for k in range(len(windows_P6)):
                dy, dx, top, bottom, left, right = windows_P6[k]
                if y < top or y >= bottom or x < left or x >= right:
                    continue
                there_D = feature_HWD[y + dy, x + dx]
                total = np.float32(0)
                for d in range(depth):
                    total += abs(here_D[d] - there_D[d])
                found_P[starts[k] + (y - top) * (right - left) + x - left] = total / np.float32(depth)


@jit
def _step(in_CL: Exact, planes_KL: Exact, ends_K3: Windows, out_CL: Exact) -> None:
    """The symmetric matrix with ones on the diagonal times the maps."""
    channels, pixels = in_CL.shape
    # Not by slices: numba compiles a message for arrays that do not fit with them, for four seconds.
    for c in range(channels):
        for i in range(pixels):
            out_CL[c, i] = in_CL[c, i]
    for start in range(0, pixels, BLOCK):
        for k in range(len(ends_K3)):
            shift, first, last = ends_K3[k]
            first, last = max(first, start), min(last, start + BLOCK)
            if first >= last:
                continue
            plane = planes_KL[k, first:last]
            for c in range(channels):
                here, there = in_CL[c, first:last], in_CL[c, first + shift : last + shift]
                to_here, to_there = out_CL[c, first:last], out_CL[c, first + shift : last + shift]
                for i in range(len(plane)):
                    to_here[i] += plane[i] * there[i]
                for i in range(len(plane)):
                    to_there[i] += plane[i] * here[i]


@jit
def _walk(maps_CHW: Exact, affinity_P: Exact, windows_P6: Windows, weights_K: Exact, found_CHW: Exact) -> None:
    channels, height, width = maps_CHW.shape
    pixels = height * width
    planes_KL, ends_K3 = np.zeros((len(windows_P6), pixels)), np.zeros((len(windows_P6), 3), np.int64)
    pair = 0
    for k in range(len(windows_P6)):
        dy, dx, top, bottom, left, right = windows_P6[k]
        if bottom <= top or right <= left:
            continue
        # Between the ends lie pixels of other columns, whose affinity here is 0.
        ends_K3[k, 0] = dy * width + dx
        ends_K3[k, 1], ends_K3[k, 2] = top * width + left, (bottom - 1) * width + right
        for y in range(top, bottom):
            for x in range(left, right):
                planes_KL[k, y * width + x] = affinity_P[pair]
                pair += 1
    ones_1L, sums_1L = np.ones((1, pixels)), np.empty((1, pixels))
    _step(ones_1L, planes_KL, ends_K3, sums_1L)
    sums_L = sums_1L[0]
    before_CL = maps_CHW.copy().reshape(channels, pixels)
    now_CL, next_CL = np.empty((channels, pixels)), np.empty((channels, pixels))
    total_CL = found_CHW.reshape(channels, pixels)
    _step(before_CL, planes_KL, ends_K3, now_CL)
    for c in range(channels):
        for i in range(pixels):
            now_CL[c, i] /= sums_L[i]
            total_CL[c, i] = weights_K[0] * before_CL[c, i] + weights_K[1] * now_CL[c, i]
    for term in range(2, len(weights_K)):
        _step(now_CL, planes_KL, ends_K3, next_CL)
        weight = weights_K[term]
        for c in range(channels):
            for i in range(pixels):
                following = 2 * next_CL[c, i] / sums_L[i] - before_CL[c, i]
                next_CL[c, i] = following
                total_CL[c, i] += weight * following
        before_CL, now_CL, next_CL = now_CL, next_CL, before_CL
