"""Random walks that carry localization maps to pixels alike, and the loss that teaches what is alike: AffinityNet (Ahn
& Kwak, CVPR 2018, "PSA") and IRN (Ahn, Cho & Kwak, CVPR 2019); formulas in docs/methods.md §4.

`border` says which pixels pairs begin at: see methods/networks/pixel_pairs.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from methods.kernels import pair_costs
from methods.kernels.compiled import counts_for
from methods.networks.grids import axis_weights
from methods.networks.pixel_pairs import (
    Border,
    Pairs,
    feature_distances,
    highest_between,
    of_sources,
    of_targets,
    pixel_pairs,
    windows,
)
from methods.networks.transitions import walk
from settings.records import UNKNOWN

FLOOR = 1e-5
"""Added to affinities before the logarithm, and to the numbers of pairs."""


Counted = Callable[[torch.Tensor], torch.Tensor]
"""The number of pairs of a kind in a batch → what their mean divides by: the batch may be one slice of several."""


def _as_counted(pairs: torch.Tensor) -> torch.Tensor:
    return pairs


class AffinityLoss(NamedTuple):
    """How many pairs of each kind there are, and the loss: ¼ and ¼ of the positive means, ½ of the negative one."""

    bg_positive: torch.Tensor
    fg_positive: torch.Tensor
    negative: torch.Tensor
    total: torch.Tensor


@torch.no_grad()
def affinity_walk(
    maps_CHW: torch.Tensor,
    feature_DHW: torch.Tensor,
    beta: float,
    log2_steps: int,
    radius: int,
    border: Border = "released",
) -> torch.Tensor:
    """AffinityNet's walk: maps after 2^log2_steps steps with affinities exp(−mean |x_i − x_j|)^beta.

    Maps (C, h, w) and features (D, h, w), or both with a batch axis in front; the result is like the maps, without a
    gradient. Raises ValueError for grids that differ.
    """
    maps_BCHW, feature_BDHW = _batched(maps_CHW, 3), _batched(feature_DHW, 3)
    _same_grid(maps_BCHW, feature_BDHW)
    pairs = pixel_pairs(maps_BCHW.shape[2:], radius, border)
    affinity_BP = feature_distances(feature_BDHW, pairs).double().mul_(-beta).exp_()
    return walk(maps_BCHW, affinity_BP, pairs, 2**log2_steps).to(maps_CHW.dtype).view_as(maps_CHW)


@torch.no_grad()
def irn_walk(
    maps_CHW: torch.Tensor, boundary_HW: torch.Tensor, beta: float, log2_steps: int, radius: int
) -> torch.Tensor:
    """IRN's walk: maps · (1 − boundary) after 2^log2_steps steps with (1 − highest boundary on the way)^beta.

    Maps (C, h, w) and boundary (h, w) in [0, 1], or both with a batch axis in front; the result is like the maps
    (not yet divided by its maximum), without a gradient. Raises ValueError for grids that differ. The released
    program pads the grid by `radius` pixels of boundary 1, which nothing passes, and takes sources on the padded grid:
    that is every pixel of the grid itself, so there is no choice of a border here.
    """
    maps_BCHW, boundary_BHW = _batched(maps_CHW, 3), _batched(boundary_HW, 2)
    _same_grid(maps_BCHW, boundary_BHW)
    pairs = pixel_pairs(maps_BCHW.shape[2:], radius, "all")
    affinity_BP = (1 - highest_between(boundary_BHW.double(), pairs)).pow_(beta)
    inside_BCHW = maps_BCHW.double() * (1 - boundary_BHW.double())[:, None]
    return walk(inside_BCHW, affinity_BP, pairs, 2**log2_steps).to(maps_CHW.dtype).view_as(maps_CHW)


def affinity_loss(
    feature_DHW: torch.Tensor,
    labels_HW: torch.Tensor,
    radius: int,
    border: Border = "released",
    counted: Counted = _as_counted,
) -> AffinityLoss:
    """AffinityNet's loss on features (D, h, w) with labels (h, w): 0 background, 1.. classes, 255 no pair.

    With a batch axis in front of both, each mean is over all pairs of the batch, whose number `counted` may replace.
    Float32 at least; `total` has a gradient. On a CPU a compiled loop makes both at once, where it can be had. Raises
    ValueError for grids that differ.
    """
    feature_BDHW, labels_BHW = _batched(feature_DHW, 3), _batched(labels_HW, 2)
    _same_grid(feature_BDHW, labels_BHW)
    pairs = pixel_pairs(labels_BHW.shape[1:], radius, border)
    if not counts_for(feature_BDHW):
        return _loss((-feature_distances(feature_BDHW, pairs)).exp(), labels_BHW, pairs, counted)
    counts, weights_3 = _weighed(labels_BHW, pairs, counted)
    total = pair_costs.weighted_costs(feature_BDHW, labels_BHW, windows(pairs), UNKNOWN, weights_3, FLOOR)
    return AffinityLoss(*counts, total)


def affinity_loss_of_parts(
    parts_BDHW: Sequence[torch.Tensor], labels_BHW: torch.Tensor, radius: int, counted: Counted = _as_counted
) -> torch.Tensor:
    """The total of `affinity_loss` of ELU(the first part + the others, resized), photo by photo, on a CPU.

    The first part (B, D, h, w) is on the grid of the labels (B, h, w), and its memory is written over.
    """
    pairs = pixel_pairs(labels_BHW.shape[1:], radius, "released")
    _, weights_3 = _weighed(labels_BHW, pairs, counted)
    first_BDHW, *others = parts_BDHW
    height, width = first_BDHW.shape[2:]
    enlargements = [(axis_weights(other.shape[2], height), axis_weights(other.shape[3], width)) for other in others]
    return pair_costs.weighted_costs_of_parts(
        parts_BDHW, enlargements, labels_BHW, windows(pairs), UNKNOWN, weights_3, FLOOR
    )


def _weighed(
    labels_BHW: torch.Tensor, pairs: Sequence[Pairs], counted: Counted
) -> tuple[tuple[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]:
    """How many pairs of each kind there are, and what one of each weighs, (3,)."""
    background, foreground, negative = map(counted, pair_costs.pair_counts(labels_BHW, windows(pairs), UNKNOWN))
    return (background, foreground, negative), torch.stack(_shares(background, foreground, negative))


def irn_affinity_loss(
    boundary_HW: torch.Tensor,
    labels_HW: torch.Tensor,
    radius: int,
    border: Border = "released",
    counted: Counted = _as_counted,
) -> AffinityLoss:
    """IRN's loss on a boundary (h, w) in [0, 1]: affinity is 1 − the highest boundary on the way; else the same."""
    boundary_BHW, labels_BHW = _batched(boundary_HW, 2), _batched(labels_HW, 2)
    _same_grid(boundary_BHW, labels_BHW)
    pairs = pixel_pairs(labels_BHW.shape[1:], radius, border)
    return _loss(1 - highest_between(boundary_BHW, pairs), labels_BHW, pairs, counted)


def _batched(values: torch.Tensor, axes: int) -> torch.Tensor:
    return values if values.ndim > axes else values[None]


def _same_grid(one: torch.Tensor, other: torch.Tensor) -> None:
    shapes = tuple((len(values), *values.shape[-2:]) for values in (one, other))
    if shapes[0] != shapes[1]:
        raise ValueError(f"images and grids (B, h, w) differ: {shapes[0]} and {shapes[1]}")


def _loss(
    affinity_BP: torch.Tensor, labels_BHW: torch.Tensor, pairs: Sequence[Pairs], counted: Counted
) -> AffinityLoss:
    here_BP, there_BP = of_sources(labels_BHW, pairs), of_targets(labels_BHW, pairs)
    known_BP = (here_BP != UNKNOWN) & (there_BP != UNKNOWN)
    same_BP = here_BP == there_BP
    kinds = (known_BP & same_BP & (here_BP == 0), known_BP & same_BP & (here_BP > 0), known_BP & ~same_BP)
    background, foreground, negative = (counted(kind.sum()) for kind in kinds)
    cost_BP = -torch.where(same_BP, affinity_BP + FLOOR, 1 + FLOOR - affinity_BP).log()
    shares = _shares(background, foreground, negative)
    weight_BP = sum(kind * share for kind, share in zip(kinds, shares, strict=True))
    return AffinityLoss(background, foreground, negative, (cost_BP * weight_BP).sum())


def _shares(background: torch.Tensor, foreground: torch.Tensor, negative: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What one pair of each kind weighs."""
    return 0.25 / (background + FLOOR), 0.25 / (foreground + FLOOR), 0.5 / (negative + FLOOR)
