"""What every supervision setting offers; `clean.py` and its sisters hold one subclass each.

A setting is given what may be known of a data set, never the data set: no way leads from here to a mask.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from settings.audit import Audit
from settings.components import ComponentSpec
from settings.dataset import Dataset
from settings.options import Options
from settings.records import LabelSpace, Photo, WeakSet

__all__ = ["Filtering", "Offer", "Setting", "Target"]


@dataclass(frozen=True)
class Target:
    """What a setting may know of a data set: train and dev with their labels, and the photos that are evaluated."""

    name: str
    label_space: LabelSpace
    photos: tuple[Photo, ...]
    evaluation: tuple[Photo, ...]
    """Those of val, without labels: what extra photos must not show again."""

    @classmethod
    def of(cls, dataset: Dataset) -> Target:
        """What a setting may know of this data set; photos in id order."""
        photos = tuple(map(dataset.photo, dataset.training_ids))
        return cls(dataset.name, dataset.label_space, photos, dataset.eval_set("val").photos)


@dataclass(frozen=True)
class Filtering:
    """Which extra photos stay is decided by a run: a classifier's probabilities, and a filter's view of them."""

    classifier: ComponentSpec
    filter: ComponentSpec


@dataclass(frozen=True)
class Offer:
    """The photos of a setting, and what is to be told of them."""

    weak: WeakSet
    """What methods may see, in id order within each source; less what a filter drops."""
    declared: tuple[Photo, ...]
    """All photos, also those that the audit dropped: shards are cut along them, source by source."""
    identity: Mapping[str, Any] = field(default_factory=dict)
    """What decides the photos and is not in their ids, labels and contents; no paths."""
    audit: Audit | None = None
    passed_over: tuple[str, ...] = ()
    """The other files that lie among the extra photos, by name."""
    filtering: Filtering | None = None
    extra_in_stage_2: bool = False
    """Whether extra photos get pseudo labels, and stage 2 trains on them too."""
    noise_rate: float | None = None
    """The share of extra photos that do not show their label, where it was made; None where nobody knows."""

    @property
    def extra(self) -> tuple[Photo, ...]:
        """The photos beside those of the target set."""
        return tuple(photo for photo in self.weak.photos if photo.source != "target")

    @property
    def classes_without_extra(self) -> tuple[str, ...]:
        """The target classes that extra photos say nothing of; none where there are no extra photos at all."""
        shown = {class_id for photo in self.extra for class_id in photo.labels}
        names = self.weak.label_space.names
        return tuple(name for class_id, name in enumerate(names) if class_id not in shown) if shown else ()

    def describe(self) -> str:
        """One line for people: how many extra photos, what was dropped of them and why, which classes have none."""
        parts = [f"{len(self.extra)} extra photos"]
        if self.passed_over:
            parts.append(f"{len(self.passed_over)} other files passed over ({self.passed_over[0]} …)")
        if self.audit:
            parts += [f"{count} dropped as {reason}" for reason, count in sorted(self.audit.counts.items())]
        if self.filtering:
            parts.append(f"filter {self.filtering.filter.name}")
        if missing := self.classes_without_extra:
            parts.append(f"none of {', '.join(missing)}")
        parts.append(f"{'also' if self.extra_in_stage_2 else 'not'} in stage 2")
        return "; ".join(parts)


class Setting(ABC):
    """Which photos and image-level labels a method may train on."""

    options_model: ClassVar[type[Options]] = Options
    version: ClassVar[int] = 1

    def __init__(self, options: Options) -> None:
        self.options = options

    @abstractmethod
    def offer(self, target: Target) -> Offer:
        """The photos that methods see."""
