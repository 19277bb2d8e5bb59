"""The losses of segmentation networks: cross-entropy over pixels whose label is known."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from settings.records import UNKNOWN

__all__ = ["mean_cross_entropy", "mean_of_photos"]


def mean_cross_entropy(
    logits_BCHW: torch.Tensor, truth_BHW: torch.Tensor, known: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean over the known pixels; 0 for a batch that has none.

    Of a slice of a batch, the sum divided by `known`: what `Share.even` makes of their number.
    """
    total = cross_entropy(logits_BCHW, truth_BHW, ignore_index=UNKNOWN, reduction="sum")
    known = (truth_BHW != UNKNOWN).sum() if known is None else known
    return total / known.clamp_min(1)


def mean_of_photos(logits_BCHW: torch.Tensor, truth_BHW: torch.Tensor) -> torch.Tensor:
    """The mean over photos of their means over known pixels; 0 counts for a photo that has none."""
    cost_BHW = cross_entropy(logits_BCHW, truth_BHW, ignore_index=UNKNOWN, reduction="none")
    known_B = (truth_BHW != UNKNOWN).sum((1, 2)).clamp_min(1)
    return (cost_BHW.sum((1, 2)) / known_B).mean()
