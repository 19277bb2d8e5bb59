"""Pairs of near pixels and how alike they are: by their features (AffinityNet), or by what lies between them (IRN).

Pairs are slices of the grid, one pair of slices an offset, not lists of indices: a difference of two slices reads
memory in order, and nothing the size of (pairs × channels) is kept, neither forward nor for the gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.function import once_differentiable

from methods.kernels.grid_walk import distances, distances_here

Border = Literal["released", "all"]
"""Which pixels pairs begin at: not those within radius − 1 of the lower, left and right border, as in the released
programs of AffinityNet and IRN; or all."""
Window = tuple[slice, slice]
CACHED_CHANNELS = 128
"""On a CPU, of one image at a time: ×2.7 for a training step of AffinityNet on 16 grids of 40 × 40."""


@dataclass(frozen=True)
class Pairs:
    """All pairs of one offset (dy, dx), dy ≥ 0: a pixel of `source` and the one at the same place of `target`."""

    offset: tuple[int, int]
    source: Window
    target: Window

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of both windows."""
        rows, columns = self.source
        return rows.stop - rows.start, columns.stop - columns.start

    @property
    def count(self) -> int:
        """How many pairs there are."""
        return self.size[0] * self.size[1]

    def between(self) -> Iterator[Window]:
        """The windows of the points on the way, both ends included: IRN's path (docs/methods.md §4)."""
        for y, x in path(*self.offset):
            yield _moved(self.source, y, x)


def half_plane(radius: int) -> list[tuple[int, int]]:
    """The offsets (dy, dx) nearer than `radius` pixels, one of each two opposite ones."""
    reach = range(1 - radius, radius)
    return [(y, x) for y in range(radius) for x in reach if (y, x) > (0, 0) and y * y + x * x < radius * radius]


def path(dy: int, dx: int) -> list[tuple[int, int]]:
    """The integer points of the box between (0, 0) and (dy, dx) nearer than one pixel to the line through both."""
    ys, xs = range(min(0, dy), max(0, dy) + 1), range(min(0, dx), max(0, dx) + 1)
    return [(y, x) for y in ys for x in xs if (dy * x - dx * y) ** 2 < dy * dy + dx * dx]


def pixel_pairs(grid: Sequence[int], radius: int, border: Border) -> list[Pairs]:
    """The pairs of a grid (height, width), in the order of their offsets.

    Where the grid is too small for any, windows are empty. Raises ValueError for a radius below 2, within which no
    pixel has another.
    """
    if radius < 2:
        raise ValueError(f"radius {radius}: pairs need 2 or more")
    height, width = grid
    return [Pairs(offset, *_windows(height, width, radius - 1, offset, border)) for offset in half_plane(radius)]


def _windows(height: int, width: int, margin: int, offset: tuple[int, int], border: Border) -> tuple[Window, Window]:
    dy, dx = offset
    left, right, below = (margin, margin, margin) if border == "released" else (max(0, -dx), max(0, dx), dy)
    last_row, last_column = max(0, height - below), max(left, width - right)
    source = slice(0, last_row), slice(left, last_column)
    return source, _moved(source, dy, dx)


def _moved(window: Window, dy: int, dx: int) -> Window:
    rows, columns = window
    return slice(rows.start + dy, rows.stop + dy), slice(columns.start + dx, columns.stop + dx)


def windows(pairs: Sequence[Pairs]) -> NDArray[np.int64]:
    """The pairs as a compiled loop reads them, a row each: dy, dx, and of the sources the first row, the last + 1, the
    first column, the last + 1."""
    rows = [(*one.offset, *_ends(one.source[0]), *_ends(one.source[1])) for one in pairs]
    return np.array(rows, np.int64).reshape(-1, 6)


def _ends(window: slice) -> tuple[int, int]:
    return window.start, window.stop


def of_sources(values_BHW: torch.Tensor, pairs: Sequence[Pairs]) -> torch.Tensor:
    """What lies at the first pixel of each pair, (B, P)."""
    return torch.cat([values_BHW[:, *one.source].flatten(1) for one in pairs], 1)


def of_targets(values_BHW: torch.Tensor, pairs: Sequence[Pairs]) -> torch.Tensor:
    """What lies at the second pixel of each pair, (B, P)."""
    return torch.cat([values_BHW[:, *one.target].flatten(1) for one in pairs], 1)


def feature_distances(feature_BDHW: torch.Tensor, pairs: Sequence[Pairs]) -> torch.Tensor:
    """Mean over channels of |x_i − x_j|, (B, P); float32 at least, with a gradient."""
    exact = feature_BDHW.to(torch.promote_types(feature_BDHW.dtype, torch.float32))
    if distances_here(exact):
        return distances(exact, windows(pairs), sum(one.count for one in pairs))
    distances_BP: torch.Tensor = _FeatureDistances.apply(exact.contiguous(), pairs)
    return distances_BP


class _FeatureDistances(torch.autograd.Function):
    """The differences are made again for the gradient: kept, they would be (pairs × channels) numbers."""

    @staticmethod
    def forward(ctx: Any, feature_BDHW: torch.Tensor, pairs: Sequence[Pairs]) -> torch.Tensor:
        ctx.save_for_backward(feature_BDHW)
        ctx.pairs = pairs
        sums_BP = feature_BDHW.new_zeros(len(feature_BDHW), sum(one.count for one in pairs))
        for images, channels in _blocks(feature_BDHW):
            block = feature_BDHW[images, channels]
            sums_BP[images] += torch.cat([_difference(block, one).abs_().sum(1).flatten(1) for one in pairs], 1)
        return sums_BP.div_(feature_BDHW.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope_BP: torch.Tensor) -> tuple[torch.Tensor, None]:
        (feature_BDHW,) = ctx.saved_tensors
        gradient_BDHW, slope_BP = torch.zeros_like(feature_BDHW), slope_BP / feature_BDHW.shape[1]
        for images, channels in _blocks(feature_BDHW):
            block, gradient, first = feature_BDHW[images, channels], gradient_BDHW[images, channels], 0
            for one in ctx.pairs:
                slope_B1hw = slope_BP[images, first : first + one.count].reshape(len(block), 1, *one.size)
                first += one.count
                change = _difference(block, one).sign_().mul_(slope_B1hw)
                gradient[:, :, *one.source] += change
                gradient[:, :, *one.target] -= change
        return gradient_BDHW, None


def _blocks(feature_BDHW: torch.Tensor) -> Iterator[tuple[slice, slice]]:
    """Images and channels that are taken together: what fits into a core's cache, or all where there is none."""
    batch, channels = feature_BDHW.shape[:2]
    images_at_once, at_once = (1, CACHED_CHANNELS) if feature_BDHW.device.type == "cpu" else (batch, channels)
    for image in range(0, batch, images_at_once):
        for channel in range(0, channels, at_once):
            yield slice(image, image + images_at_once), slice(channel, channel + at_once)


def _difference(feature_BDHW: torch.Tensor, one: Pairs) -> torch.Tensor:
    return feature_BDHW[:, :, *one.source] - feature_BDHW[:, :, *one.target]


def highest_between(boundary_BHW: torch.Tensor, pairs: Sequence[Pairs]) -> torch.Tensor:
    """The highest boundary on the way of each pair, (B, P); of equal ones the first gets the gradient."""
    exact = boundary_BHW.to(torch.promote_types(boundary_BHW.dtype, torch.float32))
    with torch.no_grad():
        places_BP = torch.cat([_highest_place(exact, one).flatten(1) for one in pairs], 1)
    return exact.flatten(1).gather(1, places_BP)


def _highest_place(boundary_BHW: torch.Tensor, one: Pairs) -> torch.Tensor:
    places_HW = torch.arange(boundary_BHW[0].numel(), device=boundary_BHW.device).view_as(boundary_BHW[0])
    first, *others = one.between()
    highest_Bhw = boundary_BHW[:, *first]
    place_Bhw = places_HW[first].expand_as(highest_Bhw)
    for window in others:
        candidate_Bhw = boundary_BHW[:, *window]
        place_Bhw = torch.where(candidate_Bhw > highest_Bhw, places_HW[window], place_Bhw)
        highest_Bhw = torch.maximum(highest_Bhw, candidate_Bhw)
    return place_Bhw
