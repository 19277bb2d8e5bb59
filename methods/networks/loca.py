"""Location-aware self-supervision: LOCA (Caron et al., WACV 2024), its targets and losses.

A query crop says for each of its positions which cell of a reference crop it covers, and which cluster the teacher puts
that cell into. Targets are traced by nearest neighbours through both crops; positions outside the reference have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from methods.crops import Box

__all__ = [
    "OUTSIDE",
    "STUDENT_TEMPERATURE",
    "Cells",
    "LocaLoss",
    "average_into",
    "balanced",
    "cell_map",
    "loca_loss",
    "seen_cells",
    "sinkhorn",
]

OUTSIDE = -1
"""The target of a position that the reference does not show."""
STUDENT_TEMPERATURE, TEACHER_TEMPERATURE = 0.1, 0.05
"""Divisors of cluster logits."""
ROUNDS = 3
"""Of Sinkhorn's normalisation."""
SMALL = 1e-8
"""Added to the number of positions that have a target, as released."""
Cells = NDArray[np.int64]


def cell_map(size: tuple[int, int], reference: Box, cells: int) -> Cells:
    """Which of `cells` × `cells` cells of the reference crop each pixel of a photo lies in, (H, W); −1 outside."""
    map_HW = np.full(size, OUTSIDE, np.int64)
    top, left, height, width = reference
    rows_h, columns_w = _nearest(cells, height), _nearest(cells, width)
    map_HW[top : top + height, left : left + width] = rows_h[:, None] * cells + columns_w
    return map_HW


def seen_cells(map_HW: Cells, query: Box, pixels: int, positions: int, mirrored: bool) -> Cells:
    """The cell of the reference that each position of a query crop shows, (positions, positions), −1 for none.

    The crop is resized to `pixels` a side and that to `positions`, by nearest neighbours both times, then mirrored.
    """
    top, left, height, width = query
    crop_hw = map_HW[top : top + height, left : left + width]
    at = _nearest(pixels, positions)
    seen_PP = crop_hw[_nearest(height, pixels)[at]][:, _nearest(width, pixels)[at]]
    return seen_PP[:, ::-1] if mirrored else seen_PP


def _nearest(inputs: int, outputs: int) -> Cells:
    """For each of `outputs` places the one of `inputs` in which its middle lies: ⌊(i + ½) · inputs / outputs⌋."""
    places: Cells = (2 * np.arange(outputs) + 1) * inputs // (2 * outputs)
    return places


def sinkhorn(logits_NK: torch.Tensor) -> torch.Tensor:
    """Soft cluster targets (N, K) of all positions N of a batch: clusters of like size, rows that sum to 1."""
    return balanced((logits_NK / TEACHER_TEMPERATURE).softmax(dim=1))


def balanced(share_NK: torch.Tensor) -> torch.Tensor:
    """Three times divided by column sums, then by row sums (Sinkhorn & Knopp)."""
    for _ in range(ROUNDS):
        share_NK = share_NK / share_NK.sum(dim=0, keepdim=True)
        share_NK = share_NK / share_NK.sum(dim=1, keepdim=True)
    return share_NK


class LocaLoss(NamedTuple):
    """The terms, each with weight 1, and their sum."""

    position: torch.Tensor
    cluster: torch.Tensor
    me_max: torch.Tensor
    """Minus the entropy of the mean answer: answers shall use all clusters."""

    @property
    def total(self) -> torch.Tensor:
        """What is minimised."""
        return self.position + self.cluster + self.me_max


def loca_loss(
    position_NC: torch.Tensor,
    cluster_NK: torch.Tensor,
    cells_N: torch.Tensor,
    teacher_NK: torch.Tensor,
    everyones_K: torch.Tensor | None = None,
    known: torch.Tensor | None = None,
) -> LocaLoss:
    """The losses of N positions of all query crops together.

    `position_NC` and `cluster_NK` are logits over cells and clusters, `cells_N` (int64) the cell that each position
    shows, −1 for none, `teacher_NK` the soft clusters of that cell (anything where there is none). `everyones_K` is the
    mean answer over all processes that train together; None: of these positions. `known` divides the first two
    terms; None: the number of these positions that have a target.
    """
    known_N = cells_N != OUTSIDE
    number = (known_N.sum() if known is None else known) + SMALL
    position = cross_entropy(position_NC, cells_N, ignore_index=OUTSIDE, reduction="sum") / number
    log_share_NK = (cluster_NK / STUDENT_TEMPERATURE).log_softmax(dim=1)
    cluster = -(teacher_NK.detach() * log_share_NK).sum(dim=1)[known_N].sum() / number
    mean_K = log_share_NK.exp().mean(dim=0) if everyones_K is None else everyones_K
    return LocaLoss(position, cluster, torch.xlogy(mean_K, mean_K).sum())


def average_into(averaged: Sequence[torch.Tensor], current: Sequence[torch.Tensor], momentum: float) -> None:
    """Move the teacher's tensors towards the student's, in place: m · old + (1 − m) · new."""
    with torch.no_grad():
        for old, new in zip(averaged, current, strict=True):
            old.mul_(momentum).add_(new, alpha=1 - momentum)
