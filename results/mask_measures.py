"""Metrics of a folder of masks, beside its mIoU."""

from collections.abc import Mapping, Sequence
from typing import Any

from results.counted import class_sums, sums_of_images
from results.metric import Metric
from results.metrics.counts import Counts, count, fill_void
from results.statistics import Whole
from settings.components import ComponentSpec, build_component
from settings.discovery import METRICS
from settings.errors import UserError
from settings.records import Mask

__all__ = ["MaskMeasures"]


class MaskMeasures:
    """What metrics are told of each photo, and their numbers at the end; 255 in predictions is background."""

    def __init__(self, names: Sequence[str], classes: int) -> None:
        """Raises UserError for an unknown metric, and for one of maps."""
        self._classes = classes
        self._metrics: list[Metric[Any]] = []
        for name in names:
            metric: Metric[Any] = build_component(METRICS, ComponentSpec(name=name), "--metrics")
            if metric.reads == "sweep":
                raise UserError("--metrics", f"'{name}', which reads maps", "metrics of masks", "suites measure it")
            self._metrics.append(metric)
        self._tallies: list[list[Any]] = [[] for _ in names]
        self._sums: dict[str, Whole] = {}
        self._total = Counts.zero(classes)

    def add(self, photo_id: str, prediction_HW: Mask, truth_HW: Mask) -> None:
        """Add one photo; both masks are uint8 (H, W)."""
        if not self._metrics:
            return
        prediction, truth = fill_void(prediction_HW, truth_HW, "background")
        if any(metric.reads == "counts" for metric in self._metrics):
            counts = count(prediction, truth, self._classes)
            self._sums[photo_id] = class_sums(counts)
            self._total += counts
        for metric, tallies in zip(self._metrics, self._tallies, strict=True):
            if metric.tally is not None:
                tallies.append(metric.tally(prediction, truth, self._classes))

    def measures(self) -> Mapping[str, float]:
        """All numbers by their names; nan where one is not defined."""
        found: dict[str, float] = {}
        for metric, tallies in zip(self._metrics, self._tallies, strict=True):
            if metric.reads == "counts":
                found |= metric.measures(sums_of_images(self._sums, self._total))
            else:
                found |= metric.measures(sum(tallies[1:], tallies[0]))
        return found
