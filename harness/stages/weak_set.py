"""The record of what a setting offers: written once by its own stage, read by all stages that train on it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TypedDict

from harness.stages.blueprint import Blueprint
from harness.stages.filters import plan_filter, read_kept
from harness.stages.kind import DataRuntime, Identity, StageKind
from harness.stages.planned import check_photos
from harness.stages.source import Source, check_every_class_is_taught, once, photo_ids
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
    """What the file of a weak set's record holds, as JSON."""

    classes: tuple[str, ...]
    fingerprint: str
    photos: list[_Seen]
    audit: object
    """What was dropped of the extra photos, and why; None where none were audited."""
    filtered: list[str]
    """The ids that a filter dropped."""


@dataclass(frozen=True, kw_only=True)
class WeakSetIdentity(Identity):
    """The data set, the setting with its options, and what methods may see under it before any filter."""

    dataset: Mapping[str, object]
    setting: Mapping[str, object]
    training_fingerprint: str


@dataclass(frozen=True, kw_only=True)
class WeakSetRuntime(DataRuntime):
    """What planning saw of the photos that the setting offers, in their order; empty in older descriptions."""

    photo_contents: tuple[str, ...] | None = None
    """The beginning of each photo's content."""


class WeakSetKind(StageKind[WeakSetIdentity, WeakSetRuntime]):
    """What a setting offers → what methods see of it: photos, sources, labels, fingerprint; and what was dropped."""

    name = "weak_set"
    identity = WeakSetIdentity
    runtime = WeakSetRuntime
    writes = WeakSetFiles

    def run(self, work: Work[WeakSetIdentity, WeakSetRuntime]) -> None:
        """Apply the filter's keep-list, if there is one, and write the record with its ledger."""
        check_photos(work.offer.weak.photos, work.runtime.photo_contents)
        content = _content(work.offer, _kept(work.read("filter", FilterFiles)))
        work.files(WeakSetFiles).photos.write_text(json.dumps(content), encoding="utf-8")
        ids: dict[str, list[str]] = defaultdict(list)
        for photo in content["photos"]:
            split = photo["source"]
            # Train and dev are one pool: which of the two a photo is in makes no difference to what may be learned.
            if split == "target":
                split = "train and dev"
            ids[split].append(photo["id"])
        entries = []
        for split, members in ids.items():
            entries.append(LedgerEntry("image_labels", split, "train", self.name, tuple(members)))
        work.write_ledger(tuple(entries))


@once
def plan_weak_set(blueprint: Blueprint, source: Source) -> Ref:
    """The stage that records what a method may see under a setting, behind its filter where it has one."""
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
        WeakSetRuntime(place=source.place, photo_contents=source.short_contents(source.photos)),
        inputs=inputs,
        label=source.name,
        group="weak sets",
    )


def seen_by(work: Work[Identity, DataRuntime]) -> WeakSet:
    """What a stage may know of its setting: the photos and labels of the record among its inputs.

    Without a record it is the stage's own photos, for which its key stands. Raises UserError for a photo that has
    become another since the record was made.
    """
    records = work.read("weak_set", WeakSetFiles)
    if not records:
        return WeakSet(work.photos(), work.dataset.label_space)
    return weak_set_of(work.offer, records)


def weak_set_of(offer: Offer, records: Collection[WeakSetFiles]) -> WeakSet:
    """The photos that a setting offers, or of these the ones that its record has, where there is one.

    Raises UserError for a photo that is not the one of the record.
    """
    weak = offer.weak
    for files in records:
        contents = {photo["id"]: photo["content"] for photo in _read(files)["photos"]}
        weak = replace(weak, photos=tuple(photo for photo in weak.photos if photo.id in contents))
        check_photos(weak.photos, [contents[photo.id] for photo in weak.photos])
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
        for source, count in sources.items():
            seconds += label_seconds(source, count, classes)
    # From the offer where it knows: the records of older stores hold neither drops nor filter, and are read too.
    dropped, filter_name = 0, ""
    if offer.audit:
        dropped = len(offer.audit.drops)
    if offer.filtering:
        filter_name = offer.filtering.filter.name
    return {
        "training_fingerprint": content["fingerprint"],
        "label_hours": round(seconds / 3600, 3),
        "extra_photos": extra,
        "extra_dropped": dropped,
        "extra_filtered": len(offer.extra) - extra,
        "filter": filter_name,
        "noise_rate": offer.noise_rate,
        "without_extra": list(offer.classes_without_extra),
    }


def _kept(filters: list[FilterFiles]) -> set[str] | None:
    """The ids that a filter kept; None where the setting has no filter, so that every photo stays."""
    if not filters:
        return None
    return set().union(*map(read_kept, filters))


def _content(offer: Offer, kept: Collection[str] | None) -> _Content:
    """What the record holds; raises UserError for a class that is left without any photo."""
    weak, responsible = offer.weak, "the setting"
    if kept is not None:
        weak, responsible = _filtered(offer.weak, kept), "the filter"
    # Planning has checked what the setting offers; what a filter leaves of it is known here first.
    check_every_class_is_taught(weak, responsible)
    photos: list[_Seen] = []
    for photo in weak.photos:
        photos.append({"id": photo.id, "source": photo.source, "labels": photo.labels, "content": photo.content})
    audit = None
    if offer.audit:
        audit = offer.audit.to_json()
    filtered = set(photo_ids(offer.weak.photos)) - set(photo_ids(weak.photos))
    return {
        "classes": weak.label_space.names,
        "fingerprint": weak.fingerprint,
        "photos": photos,
        "audit": audit,
        "filtered": sorted(filtered),
    }


def _filtered(weak: WeakSet, kept: Collection[str]) -> WeakSet:
    """The weak set less the extra photos that a filter dropped; photos of the target set always stay."""
    return replace(weak, photos=tuple(photo for photo in weak.photos if photo.source == "target" or photo.id in kept))


def _read(files: WeakSetFiles) -> _Content:
    content: _Content = json.loads(files.photos.read_text(encoding="utf-8"))
    return content
