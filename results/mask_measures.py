"""Metrics of a folder of masks, beside its mIoU."""

from collections.abc import Mapping, Sequence
from typing import Any

from results.metric import Metric
from results.metrics.counts import VoidRule, fill_void
from results.metrics.image_sums import ImageSums
from settings.components import ComponentSpec, build_component
from settings.discovery import METRICS
from settings.errors import UserError
from settings.records import Mask

__all__ = ["MaskMeasures"]


class MaskMeasures:
    """What metrics are told of each photo, and their numbers at the end."""

    def __init__(self, names: Sequence[str], classes: int, void: VoidRule) -> None:
        """`void` says what 255 in predictions is. Raises UserError for an unknown metric, and for one of maps."""
        self._classes, self._void = classes, void
        self._metrics: list[Metric[Any]] = []
        for name in names:
            metric: Metric[Any] = build_component(METRICS, ComponentSpec(name=name), "--metrics")
            if metric.reads == "sweep":
                raise UserError("--metrics", f"'{name}', which reads maps", "metrics of masks", "suites measure it")
            self._metrics.append(metric)
        self._tallies: list[list[Any]] = [[] for _ in names]

    def add(self, prediction_HW: Mask, truth_HW: Mask) -> None:
        """Add one photo; both masks are uint8 (H, W)."""
        if not any(metric.tally for metric in self._metrics):
            return
        prediction, truth = fill_void(prediction_HW, truth_HW, self._void)
        for metric, tallies in zip(self._metrics, self._tallies, strict=True):
            if metric.tally is not None:
                tallies.append(metric.tally(prediction, truth, self._classes))

    def measures(self, sums: ImageSums) -> Mapping[str, float]:
        """All numbers by their names, those of counts from the sums of all photos; nan where one is not defined."""
        found: dict[str, float] = {}
        for metric, tallies in zip(self._metrics, self._tallies, strict=True):
            if metric.reads == "counts":
                found |= metric.measures(sums)
            else:
                found |= metric.measures(sum(tallies[1:], tallies[0]))
        return found
