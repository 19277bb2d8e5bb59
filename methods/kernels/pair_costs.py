"""The loss of AffinityNet over all pairs of near pixels, and its gradient, in one walk over the features of a photo.

A pair's slope depends on its own distance and on how many pairs there are, which the labels tell before. So the
features of a pair are read once, while they lie in a core's cache, and pairs that do not count are never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.function import once_differentiable

from methods.kernels.compiled import images_first, jit, over_images

__all__ = ["KINDS", "pair_counts", "weighted_costs", "weighted_costs_of_parts"]

KINDS = 3
"""Of pairs that count: both background, both of one class, of two classes."""
Values = NDArray[np.float32]
Labels = NDArray[np.uint8]


def pair_counts(labels_BHW: torch.Tensor, windows_P6: NDArray[np.int64], unknown: int) -> torch.Tensor:
    """How many pairs of each kind a batch has, int64 (3,); labels uint8 on the CPU, `unknown` counts nowhere.

    A row of `windows_P6` is an offset: (dy, dx, first row, last row + 1, first column, last column + 1) of its sources.
    """
    labels, counts_B3 = labels_BHW.contiguous().numpy(), np.zeros((len(labels_BHW), KINDS), np.int64)
    over_images(lambda first, last: _count(labels, windows_P6, unknown, counts_B3, first, last), len(labels))
    return torch.from_numpy(counts_B3.sum(0))


def weighted_costs(
    feature_BDHW: torch.Tensor,
    labels_BHW: torch.Tensor,
    windows_P6: NDArray[np.int64],
    unknown: int,
    weights_3: torch.Tensor,
    floor: float,
) -> torch.Tensor:
    """Σ weight of its kind · cost over all pairs, float32 with a gradient for the features (B, D, h, w).

    With the affinity a = exp(−mean |x_i − x_j|), a pair of one kind costs −log(a + floor), of two −log(1 + floor − a).
    """
    total: torch.Tensor = _WeightedCosts.apply(feature_BDHW, labels_BHW, windows_P6, unknown, weights_3, floor)
    return total


class _WeightedCosts(torch.autograd.Function):
    """Forward makes the gradient too; the backward pass scales it."""

    @staticmethod
    def forward(
        ctx: Any,
        feature_BDHW: torch.Tensor,
        labels_BHW: torch.Tensor,
        windows_P6: NDArray[np.int64],
        unknown: int,
        weights_3: torch.Tensor,
        floor: float,
    ) -> torch.Tensor:
        features_BHWD, labels = images_first(feature_BDHW), labels_BHW.contiguous().numpy()
        weights = weights_3.double().numpy()
        slope_BHWD, costs_B = np.zeros_like(features_BHWD), np.zeros(len(labels))

        def walk(first: int, last: int) -> None:
            for image in range(first, last):
                photo = features_BHWD[image], labels[image]
                costs_B[image] = _walk(*photo, windows_P6, unknown, weights, floor, slope_BHWD[image])

        over_images(walk, len(labels))
        ctx.slope = torch.from_numpy(slope_BHWD).permute(0, 3, 1, 2)
        return torch.tensor(costs_B.sum(), dtype=torch.float32)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        # Made for this one moment: nothing else holds it.
        to_features, ctx.slope = ctx.slope.mul_(slope), None
        return to_features, None, None, None, None, None


def weighted_costs_of_parts(
    parts_BDHW: Sequence[torch.Tensor],
    enlargements: Sequence[tuple[torch.Tensor, torch.Tensor]],
    labels_BHW: torch.Tensor,
    windows_P6: NDArray[np.int64],
    unknown: int,
    weights_3: torch.Tensor,
    floor: float,
) -> torch.Tensor:
    """`weighted_costs` of ELU(the first part + the others, enlarged), photo by photo on one thread.

    Features of one photo at a time exist. The others' grids are enlarged by matrices, (h, its h) and (w, its w). The
    first part's memory is written over: it must be needed by nothing else.
    """
    how = (enlargements, labels_BHW, windows_P6, unknown, weights_3, floor)
    total: torch.Tensor = _CostsOfParts.apply(how, *parts_BDHW)
    return total


class _CostsOfParts(torch.autograd.Function):
    """The slope of the first part takes its place in memory."""

    @staticmethod
    def forward(ctx: Any, how: tuple[Any, ...], first_BDHW: torch.Tensor, *others_BDHW: torch.Tensor) -> torch.Tensor:
        enlargements, labels_BHW, windows_P6, unknown, weights_3, floor = how
        first, labels = torch.from_numpy(images_first(first_BDHW)), labels_BHW.contiguous().numpy()
        others = [torch.from_numpy(images_first(other_BDHW)) for other_BDHW in others_BDHW]
        to_others = [torch.empty_like(other) for other in others]
        weights, cost, slope_HWD = weights_3.double().numpy(), 0.0, torch.empty_like(first[0])
        for image in range(len(labels)):
            feature_HWD = first[image]
            for other, (rows, columns) in zip(others, enlargements, strict=True):
                wide = columns @ other[image]
                torch.addmm(feature_HWD.flatten(1), rows, wide.flatten(1), out=feature_HWD.view(len(rows), -1))
            torch.nn.functional.elu_(feature_HWD)
            slope_HWD.zero_()
            photo = feature_HWD.numpy(), labels[image]
            cost += _walk(*photo, windows_P6, unknown, weights, floor, slope_HWD.numpy())
            _before_elu(feature_HWD.numpy(), slope_HWD.numpy())
            for to_other, (rows, columns) in zip(to_others, enlargements, strict=True):
                narrow = (rows.t() @ slope_HWD.flatten(1)).view(rows.shape[1], *slope_HWD.shape[1:])
                torch.matmul(columns.t(), narrow, out=to_other[image])
        ctx.slopes = [one.permute(0, 3, 1, 2) for one in (first, *to_others)]
        return torch.tensor(cost, dtype=torch.float32)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        slopes, ctx.slopes = [one.mul_(slope) for one in ctx.slopes], None
        return None, *slopes


@jit
def _count(
    labels_BHW: Labels,
    windows_P6: NDArray[np.int64],
    unknown: int,
    counts_B3: NDArray[np.int64],
    first: int,
    last: int,
) -> None:
    for image in range(first, last):
        for offset in range(len(windows_P6)):
            dy, dx, top, bottom, left, right = windows_P6[offset]
            for y in range(top, bottom):
                for x in range(left, right):
                    here, there = labels_BHW[image, y, x], labels_BHW[image, y + dy, x + dx]
                    if here == unknown or there == unknown:
                        continue
                    if here != there:
                        counts_B3[image, 2] += 1
                    elif here == 0:
                        counts_B3[image, 0] += 1
                    else:
                        counts_B3[image, 1] += 1


@jit
def _walk(
    feature_HWD: Values,
    labels_HW: Labels,
    windows_P6: NDArray[np.int64],
    unknown: int,
    weights_3: NDArray[np.float64],
    floor: float,
    slope_HWD: Values,
) -> float:
    """Add a photo's slopes, and return its costs: pixel by pixel, its pairs one after the other."""
    height, width, depth = feature_HWD.shape
    cost = 0.0
    for y in range(height):
        for x in range(width):
            here = labels_HW[y, x]
            if here == unknown:
                continue
            here_D, to_here_D = feature_HWD[y, x], slope_HWD[y, x]
            for offset in range(len(windows_P6)):
                dy, dx, top, bottom, left, right = windows_P6[offset]
                if y < top or y >= bottom or x < left or x >= right:
                    continue
                there = labels_HW[y + dy, x + dx]
                if there == unknown:
                    continue
                there_D, to_there_D = feature_HWD[y + dy, x + dx], slope_HWD[y + dy, x + dx]
                total = np.float32(0)
                for d in range(depth):
                    total += abs(here_D[d] - there_D[d])
                affinity = np.exp(-float(total) / depth)
                if here != there:
                    weight = weights_3[2]
                    cost -= weight * np.log(1 + floor - affinity)
                    push = -weight * affinity / (1 + floor - affinity)
                else:
                    weight = weights_3[0] if here == 0 else weights_3[1]
                    cost -= weight * np.log(affinity + floor)
                    push = weight * affinity / (affinity + floor)
                push32 = np.float32(push / depth)
                for d in range(depth):
                    difference = here_D[d] - there_D[d]
                    # The slope of |x| at 0 is 0, as torch has it.
                    step = push32 if difference > 0 else (-push32 if difference < 0 else np.float32(0))
                    to_here_D[d] += step
                    to_there_D[d] -= step
    return cost


@jit
def _before_elu(feature_HWD: Values, slope_HWD: Values) -> None:
    """The slope before the ELU that gave the features, which they become themselves; the slope is left as it is too."""
    height, width, depth = feature_HWD.shape
    for y in range(height):
        for x in range(width):
            feature_D, slope_D = feature_HWD[y, x], slope_HWD[y, x]
            for d in range(depth):
                value = feature_D[d]
                slope_D[d] *= np.float32(1) if value > 0 else value + np.float32(1)
                feature_D[d] = slope_D[d]
