"""How flat a localization map is: its mean over its peak, inside and outside the object."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from results.metrics.miou import mean_of_defined
from settings.records import Mask

__all__ = ["Flatness", "flatness", "mean_flatness"]


class Flatness(NamedTuple):
    """Mean over peak, 0..1; nan where there is no such pixel, or no peak."""

    inside: float
    """Over the pixels of the map's own class: 1 where the whole object is as strong as its strongest part."""
    outside: float
    """Over the background: 0 where nothing but objects is marked. Other classes and unknown pixels are left out."""


def flatness(map_HW: NDArray[np.float32], truth_HW: Mask, class_id: int) -> Flatness:
    """One class's map, not negative, against the true mask of its size; the peak is that of the whole map."""
    peak = float(map_HW.max())
    inside, outside = (_mean(map_HW[truth_HW == value]) / peak if peak > 0 else np.nan for value in (class_id + 1, 0))
    return Flatness(inside, outside)


def mean_flatness(values: Sequence[Flatness]) -> Flatness:
    """The means over maps, each over those where it is defined; nan where it is nowhere."""
    inside, outside = mean_of_defined(np.array(values, np.float64).reshape(-1, 2).T)
    return Flatness(float(inside), float(outside))


def _mean(values: NDArray[np.float32]) -> float:
    return float(values.mean(dtype=np.float64)) if values.size else float("nan")
