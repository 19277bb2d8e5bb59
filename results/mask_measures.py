"""Metrics of a folder of masks, beside its mIoU."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from results.metric import Metric
from results.metrics.counts import count, fill_void
from results.metrics.image_sums import ImageSums
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
        self._ids: list[str] = []
        self._sums: list[np.ndarray[Any, Any]] = []

    def add(self, photo_id: str, prediction_HW: Mask, truth_HW: Mask) -> None:
        """Add one photo; both masks are uint8 (H, W)."""
        if not self._metrics:
            return
        prediction, truth = fill_void(prediction_HW, truth_HW, "background")
        if any(metric.reads == "counts" for metric in self._metrics):
            confusion = count(prediction, truth, self._classes).confusion
            self._ids.append(photo_id)
            self._sums.append(np.stack([np.diagonal(confusion), confusion.sum(axis=0), confusion.sum(axis=1)]))
        for metric, tallies in zip(self._metrics, self._tallies, strict=True):
            if metric.tally is not None:
                tallies.append(metric.tally(prediction, truth, self._classes))

    def measures(self) -> Mapping[str, float]:
        """All numbers by their names; nan where one is not defined."""
        found: dict[str, float] = {}
        for metric, tallies in zip(self._metrics, self._tallies, strict=True):
            if metric.reads == "counts":
                order = np.argsort(self._ids)
                hits, predicted, truth = np.stack(self._sums, axis=1)[:, order]
                ids = tuple(self._ids[place] for place in order)
                found |= metric.measures(ImageSums(ids, hits, predicted, truth))
            else:
                found |= metric.measures(sum(tallies[1:], tallies[0]))
        return found
