"""Scores from counts: mIoU by protocol voc/1, and macro precision and recall."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from results.metrics.counts import Counts

__all__ = [
    "Floats",
    "MeanIoU",
    "PrecisionRecall",
    "defined_ratio",
    "iou",
    "mean_iou",
    "mean_of_defined",
    "nullable",
    "precision_recall",
]

Floats = NDArray[np.float64]


class MeanIoU(NamedTuple):
    """mIoU (0..1) over the defined classes; nan where none is defined."""

    mean: float
    per_class: tuple[float, ...]
    """By class, background first; nan where undefined."""
    undefined: tuple[int, ...]
    """Classes in neither truth nor prediction, left out of the mean."""


def mean_iou(counts: Counts) -> MeanIoU:
    """IoU_c = tp / (tp + fp + fn) over the whole set and its mean over all K + 1 classes (Everingham et al., VOC 2012).

    A class in neither truth nor prediction has no IoU: it is left out of the mean and named as undefined.
    """
    iou = _iou_of(counts)
    undefined = tuple(int(c) for c in np.flatnonzero(np.isnan(iou)))
    return MeanIoU(float(mean_of_defined(iou)), tuple(iou.tolist()), undefined)


class PrecisionRecall(NamedTuple):
    """Macro means over classes, 0..1; nan where no class is defined."""

    precision: float
    """tp / (tp + fp), over the classes that were predicted."""
    recall: float
    """tp / (tp + fn), over the classes that the truth holds."""


def precision_recall(counts: Counts) -> PrecisionRecall:
    """Macro precision and recall over all classes, background included."""
    hits = np.diagonal(counts.confusion)
    precision = defined_ratio(hits, counts.confusion.sum(axis=0))
    recall = defined_ratio(hits, counts.confusion.sum(axis=1))
    return PrecisionRecall(float(mean_of_defined(precision)), float(mean_of_defined(recall)))


def nullable(value: float) -> float | None:
    """The value as rows and JSON hold it: None for nan."""
    return None if math.isnan(value) else value


def iou(hits: NDArray[np.int64], truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> Floats:
    """IoU from pixels that are right, true and predicted, elementwise; nan where there are none."""
    return defined_ratio(hits, truth + predicted - hits)


def mean_of_defined(values: Floats) -> Floats:
    """The mean over the last axis without its nans; nan where all are."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0).sum(axis=-1), defined.sum(axis=-1))


def defined_ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> Floats:
    """part / whole, elementwise; nan where whole is 0."""
    return _ratio(part.astype(np.float64), whole)


def _ratio(part: Floats, whole: NDArray[np.int64]) -> Floats:
    quotient: Floats = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole != 0)
    return quotient


def _iou_of(counts: Counts) -> Floats:
    confusion = counts.confusion
    return iou(np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0))
