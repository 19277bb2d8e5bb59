"""The record of what a setting offers: written once by its own stage, read by all stages that train on it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypedDict

from harness.stages.blueprint import Blueprint
from harness.stages.filters import plan_filter, read_kept
from harness.stages.kind import DataRuntime, Identity, StageKind
from harness.stages.source import Source, check_every_class_is_taught, once
from harness.stages.work import Work
from harness.store.layout import FilterFiles, Ref, WeakSetFiles
from results.rows import CEILING
from settings.effort import label_seconds
from settings.records import WeakSet
from settings.setting import Offer
from settings.supervision import LedgerEntry

__all__ = ["SettingFields", "WeakSetKind", "plan_weak_set", "seen_by", "setting_fields", "weak_set_of"]


class _Seen(TypedDict):
    """A photo that methods see, as the record keeps it."""

    id: str
    source: str
    labels: tuple[int, ...]
    content: str


class _Content(TypedDict):
    """The record's content."""

    classes: tuple[str, ...]
    fingerprint: str
    photos: list[_Seen]
    audit: Any
    """What was dropped of the extra photos, and why; None where none were audited."""
    filtered: list[str]
    """The ids that a filter dropped."""


@dataclass(frozen=True, kw_only=True)
class WeakSetIdentity(Identity):
    """The data set, the setting with its options, and what methods may see under it before any filter."""

    dataset: Mapping[str, Any]
    setting: Mapping[str, Any]
    training_fingerprint: str


class WeakSetKind(StageKind[WeakSetIdentity, DataRuntime]):
    """Writes down what methods see: photos, sources, labels, fingerprint; and what was dropped before, and why."""

    name = "weak_set"
    identity = WeakSetIdentity
    runtime = DataRuntime
    writes = WeakSetFiles

    def run(self, work: Work[WeakSetIdentity, DataRuntime]) -> None:
        """Apply the filter's keep-list, if there is one, and write the record with its ledger."""
        content = _content(work.offer, _kept(work.read("filter", FilterFiles)))
        work.files(WeakSetFiles).photos.write_text(json.dumps(content), encoding="utf-8")
        ids: dict[str, list[str]] = defaultdict(list)
        for photo in content["photos"]:
            # Train and dev are one pool: which of the two a photo is in makes no difference to what may be learned.
            split = "train and dev" if photo["source"] == "target" else photo["source"]
            ids[split].append(photo["id"])
        entries = [
            LedgerEntry("image_labels", split, "train", self.name, tuple(members)) for split, members in ids.items()
        ]
        work.write_ledger(tuple(entries))


@once
def plan_weak_set(blueprint: Blueprint, source: Source) -> Ref:
    """The record of what a method may see under a setting."""
    assert source.offer is not None and source.place.setting is not None
    identity = WeakSetIdentity(
        dataset=blueprint.dataset.identity(),
        setting={"name": source.place.setting.name, "options": dict(source.offer.identity)},
        training_fingerprint=source.offer.weak.fingerprint,
    )
    filter_ = plan_filter(blueprint, source)
    inputs: dict[str, tuple[Ref, ...]] = {}
    if filter_ is not None:
        inputs["filter"] = (filter_,)
    return blueprint.add(
        WeakSetKind(),
        identity,
        DataRuntime(place=source.place),
        inputs=inputs,
        label=source.name,
        group="weak sets",
    )


def seen_by(work: Work[Identity, DataRuntime]) -> WeakSet:
    """The photos and labels of a stage's setting, less what the record among its inputs says was filtered."""
    return weak_set_of(work.offer, work.read("weak_set", WeakSetFiles))


def weak_set_of(offer: Offer, records: Collection[WeakSetFiles]) -> WeakSet:
    """The photos that a setting offers, or of these the ones that its record has, where there is one."""
    weak = offer.weak
    for files in records:
        ids = {photo["id"] for photo in _read(files)["photos"]}
        weak = replace(weak, photos=tuple(photo for photo in weak.photos if photo.id in ids))
    return weak


class SettingFields(TypedDict):
    """The part of a row that tells of its setting."""

    training_fingerprint: str
    label_hours: float
    """What annotators would have worked for the labels and masks that the row has used."""
    extra_photos: int
    extra_dropped: int
    extra_filtered: int
    filter: str
    noise_rate: float | None
    without_extra: list[str]


def setting_fields(files: WeakSetFiles, offer: Offer, supervision: str, masks: int) -> SettingFields:
    """What a row tells of its setting; `masks` is how many were drawn by hand for it.

    A control that uses no supervision costs no labels, and a ceiling its masks alone.
    """
    content = _read(files)
    sources = Counter(photo["source"] for photo in content["photos"])
    extra = sources.total() - sources["target"]
    seconds = label_seconds("mask", masks, 1)
    if supervision not in ("", CEILING):
        classes = offer.weak.label_space.foreground
        seconds += sum(label_seconds(source, count, classes) for source, count in sources.items())
    return {
        "training_fingerprint": content["fingerprint"],
        "label_hours": round(seconds / 3600, 3),
        "extra_photos": extra,
        "extra_dropped": len(offer.audit.drops) if offer.audit else 0,
        "extra_filtered": len(offer.extra) - extra,
        "filter": offer.filtering.filter.name if offer.filtering else "",
        "noise_rate": offer.noise_rate,
        "without_extra": list(offer.classes_without_extra),
    }


def _kept(filters: list[FilterFiles]) -> set[str] | None:
    """The ids that a filter kept; None where there is none."""
    if not filters:
        return None
    return set().union(*map(read_kept, filters))


def _content(offer: Offer, kept: Collection[str] | None) -> _Content:
    """What the record holds; raises UserError for a class that is left without any photo."""
    weak = _filtered(offer.weak, kept)
    check_every_class_is_taught(weak, "the setting" if kept is None else "the filter")
    remaining = {photo.id for photo in weak.photos}
    photos: list[_Seen] = [
        {"id": photo.id, "source": photo.source, "labels": photo.labels, "content": photo.content}
        for photo in weak.photos
    ]
    return {
        "classes": weak.label_space.names,
        "fingerprint": weak.fingerprint,
        "photos": photos,
        "audit": offer.audit.to_json() if offer.audit else None,
        "filtered": sorted({photo.id for photo in offer.weak.photos} - remaining),
    }


def _filtered(weak: WeakSet, kept: Collection[str] | None) -> WeakSet:
    """The weak set less the extra photos that a filter dropped; photos of the target set always stay."""
    if kept is None:
        return weak
    return replace(weak, photos=tuple(photo for photo in weak.photos if photo.source == "target" or photo.id in kept))


def _read(files: WeakSetFiles) -> _Content:
    content: _Content = json.loads(files.photos.read_text(encoding="utf-8"))
    return content
