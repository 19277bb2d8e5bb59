"""What the counts of all photos together say, as the entries of a row."""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

from results.metrics.counts import Counts, LabelCounts
from results.metrics.miou import mean_iou, nullable, precision_recall
from settings.records import fingerprint

__all__ = ["MeasuredFields", "label_fields", "measured_fields"]


class MeasuredFields(TypedDict):
    """The part of a row that the counts tell: mean IoU and its classes, macro precision and recall, in [0, 1]."""

    miou: float | None
    per_class: list[float | None]
    undefined: list[str]
    precision: float | None
    recall: float | None
    counts: str
    coverage: NotRequired[float | None]
    miou_covered: NotRequired[float | None]


def measured_fields(counts: Counts, classes: Sequence[str]) -> MeasuredFields:
    """Of the counts of all photos together: a mean over shards or photos would be another figure."""
    iou, macro = mean_iou(counts), precision_recall(counts)
    return {
        "miou": nullable(iou.mean),
        "per_class": [nullable(value) for value in iou.per_class],
        "undefined": [classes[index] for index in iou.undefined],
        "precision": nullable(macro.precision),
        "recall": nullable(macro.recall),
        "counts": fingerprint(counts.confusion.tolist())[:16],
    }


def label_fields(labels: LabelCounts, classes: Sequence[str]) -> MeasuredFields:
    """Of pseudo labels: undecided pixels are background, and beside that stands what decided ones alone give."""
    measured = measured_fields(labels.as_background, classes)
    measured["coverage"] = nullable(labels.coverage)
    measured["miou_covered"] = nullable(mean_iou(labels.decided).mean)
    return measured
