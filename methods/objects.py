"""Objects as saliency maps show them: regions of any of a photo's maps, their boxes, features of a box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from methods.records import Saliency

if TYPE_CHECKING:
    import torch

__all__ = ["Box", "SalientObject", "enlarged", "inside", "objects_of", "pooled_C"]

HALF = 128
"""The saliency from which a pixel rather belongs to an object."""


class Box(NamedTuple):
    """Rows from `top` up to `bottom` and columns from `left` up to `right`, without the last ones, in pixels."""

    top: int
    bottom: int
    left: int
    right: int


class SalientObject(NamedTuple):
    """A connected region of a map, by its box, and the mean saliency in [0, 1] that all maps give the region."""

    box: Box
    score: float


def objects_of(maps: Sequence[Saliency], least: float) -> list[SalientObject]:
    """The connected regions of ½ or more in each of a photo's maps that cover at least the share `least` of the photo.

    Regions with the same box, as two maps may show them, are one object: that of the higher score.
    """
    mean_HW = np.mean(np.stack(maps), 0, dtype=np.float64) / 255
    best: dict[Box, float] = {}
    for map_HW in maps:
        regions_HW, _ = ndimage.label(map_HW >= HALF)
        areas, sums = np.bincount(regions_HW.ravel()), np.bincount(regions_HW.ravel(), mean_HW.ravel())
        slices = ndimage.find_objects(regions_HW)
        # Region 0 is what belongs to none.
        for number in np.flatnonzero(areas[1:] >= least * map_HW.size) + 1:
            rows, columns = slices[number - 1]
            box = Box(rows.start, rows.stop, columns.start, columns.stop)
            best[box] = max(float(sums[number] / areas[number]), best.get(box, 0.0))
    return [SalientObject(box, score) for box, score in sorted(best.items())]


def enlarged(box: Box, factor: float, size: tuple[int, int]) -> Box:
    """The box with both sides `factor` times as long, around its centre, cut off at the photo's (height, width)."""
    more_rows = round((factor - 1) * (box.bottom - box.top) / 2)
    more_columns = round((factor - 1) * (box.right - box.left) / 2)
    top, left = max(0, box.top - more_rows), max(0, box.left - more_columns)
    return Box(top, min(size[0], box.bottom + more_rows), left, min(size[1], box.right + more_columns))


def inside(boxes: Sequence[Box], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Where a photo of (height, width) is in any of the boxes."""
    covered_HW = np.zeros(size, np.bool_)
    for box in boxes:
        covered_HW[box.top : box.bottom, box.left : box.right] = True
    return covered_HW


def pooled_C(features_CHW: torch.Tensor, box: Box, size: tuple[int, int]) -> torch.Tensor:
    """The mean of the features over the cells that a box of a photo of (height, width) touches, (C,)."""
    (height, width), (rows, columns) = size, features_CHW.shape[1:]
    top, bottom = box.top * rows // height, -(-box.bottom * rows // height)
    left, right = box.left * columns // width, -(-box.right * columns // width)
    return features_CHW[:, top:bottom, left:right].mean((1, 2))
