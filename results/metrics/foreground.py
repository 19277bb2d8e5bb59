"""How well a saliency map tells objects from background, whatever their class."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from settings.records import UNKNOWN, Mask

__all__ = ["Overlap", "foreground_iou", "overlap"]

HALF = 128
"""Saliency from which a pixel counts as foreground."""


class Overlap(NamedTuple):
    """Pixels that are foreground in map and truth, and in either of them."""

    both: int
    either: int


def overlap(saliency_HW: NDArray[np.uint8], truth_HW: Mask) -> Overlap:
    """Of one photo, both (H, W); pixels unknown to the truth are left out."""
    shown_HW, known_HW = saliency_HW >= HALF, truth_HW != UNKNOWN
    object_HW = truth_HW > 0
    both, either = ((known_HW & pixels_HW).sum() for pixels_HW in (shown_HW & object_HW, shown_HW | object_HW))
    return Overlap(int(both), int(either))


def foreground_iou(overlaps: Iterable[Overlap]) -> float:
    """Over the pixels of all photos together; nan where none is foreground."""
    both, either = np.array([*overlaps, Overlap(0, 0)]).sum(0)
    return float(both / either) if either else float("nan")
