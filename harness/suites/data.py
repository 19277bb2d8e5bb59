"""Data sets and settings by name. Planning opens them anew each time; stages have them as they were planned.

Files may change while a process lives: a notebook plans, mends a label and plans again. So what was opened is kept only
for stages, under what planning saw of it, and only where that is what was found; else every stage opens it anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from harness.suites.reading import expand_variables, override
from settings.components import ComponentSpec, constructed, validated_options
from settings.config import existing_folder
from settings.dataset import Dataset
from settings.discovery import DATASETS, SETTINGS
from settings.errors import UserError, unknown_name
from settings.records import Photo, fingerprint
from settings.setting import Offer, Setting, Target

__all__ = [
    "Data",
    "Seen",
    "data_as_planned",
    "dataset_of",
    "offer_as_planned",
    "open_dataset",
    "open_options",
    "seen_of",
]


@dataclass(frozen=True)
class Seen:
    """What planning saw of a data set, or of what a setting offers: a sha256 of each."""

    lists: str
    """Photos, splits, labels, and what else is not in a photo's content: a stage that finds others fails."""
    contents: str
    """All photos' contents: a stage compares those of its own photos, one by one."""


class Data:
    """A data set as it was when it was opened, and what settings may know of it."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    @cached_property
    def target(self) -> Target:
        """The photos and labels of train and dev, and the photos of val, for every setting of a suite."""
        return Target.of(self.dataset)

    @cached_property
    def seen(self) -> Seen:
        """What the data set says now."""
        labels = [(photo.id, photo.labels) for photo in self.target.photos]
        lists = fingerprint([self.dataset.identity(), dict(self.dataset.splits), labels])
        return Seen(lists, _contents((*self.target.photos, *self.target.evaluation)))

    def offer(self, setting: ComponentSpec) -> Offer:
        """The photos and labels that methods see under a setting, before any filter; raises UserError."""
        return _offer(self, SETTINGS.load(setting.name, "settings"), setting.name, _canonical(setting))


def seen_of(offer: Offer) -> Seen:
    """What an offer says: ids, sources, labels, what was dropped; and contents."""
    declared = [(photo.id, photo.source, photo.labels) for photo in offer.declared]
    lists = fingerprint([declared, [photo.id for photo in offer.weak.photos], dict(offer.identity)])
    return Seen(lists, _contents(offer.declared))


def dataset_of(component: ComponentSpec) -> Dataset:
    """The data set that a suite or a stage names, as it is now; raises UserError for unknown names and options."""
    return _dataset(DATASETS.load(component.name, "dataset"), _canonical(component))


def data_as_planned(component: ComponentSpec, seen: Seen | None) -> Data:
    """The data set of a stage whose planning saw that (None: an older version's, of any kind).

    Raises UserError where lists or labels are others now; photos may be, and tell so when they are compared.
    """
    kind, options = DATASETS.load(component.name, "dataset"), _canonical(component)
    if seen is None:
        return Data(_dataset(kind, options))
    try:
        return _data_as_planned(kind, options, seen)
    except _OtherPhotos:
        return Data(_dataset(kind, options))


def offer_as_planned(data: Data, setting: ComponentSpec, seen: Seen | None) -> Offer:
    """What a stage's setting offers, as `data_as_planned` finds data sets; `seen` is what `seen_of` gave."""
    if seen is None:
        return data.offer(setting)
    kind = SETTINGS.load(setting.name, "settings")
    try:
        return _offer_as_planned(data, kind, setting.name, _canonical(setting), seen)
    except _OtherPhotos:
        return data.offer(setting)


def open_dataset(name: str, assignments: Sequence[str] = ()) -> Dataset:
    """A known data set, or the folder data set at a path, with options `key=value`; raises UserError."""
    known = DATASETS.names()
    given = {}
    # The name first: a folder here that happens to be called as a data set does not stand in its place.
    if name not in known:
        if existing_folder(Path(name)) is None:
            raise unknown_name("data set", "name or folder", name, known)
        name, given = "folder", {"root": name}
    dataset: Dataset = DATASETS.load(name)(open_options(name, assignments, given))
    return dataset


# Any: the model is that of the data set, and who asks for an option of it knows which one that is.
def open_options(name: str, assignments: Sequence[str], given: Mapping[str, object] | None = None) -> Any:
    """A known data set's options, from `key=value` over what is given; raises UserError that names the option."""
    options = dict(given or {})
    for assignment in assignments:
        override(options, assignment)
    return validated_options(DATASETS.load(name).options_model, expand_variables(options, "--set"), "dataset")


def _canonical(component: ComponentSpec) -> str:
    # As text: a cache needs a key that can be hashed.
    return json.dumps(component.model_dump()["options"], sort_keys=True, default=str)


def _dataset(kind: type[Dataset], options: str) -> Dataset:
    dataset: Dataset = constructed(kind, json.loads(options), "dataset")
    return dataset


def _offer(data: Data, kind: type[Setting], name: str, options: str) -> Offer:
    setting: Setting = constructed(kind, json.loads(options), f"settings.{name}")
    return setting.offer(data.target)


# Kept by class, never by name: a plug-in that was edited is another class.
@lru_cache(maxsize=8)
def _data_as_planned(kind: type[Dataset], options: str, seen: Seen) -> Data:
    data = Data(_dataset(kind, options))
    _check(data.dataset.name, data.seen, seen)
    return data


@lru_cache(maxsize=32)
def _offer_as_planned(data: Data, kind: type[Setting], name: str, options: str, seen: Seen) -> Offer:
    offer = _offer(data, kind, name, options)
    _check(f"settings.{name}", seen_of(offer), seen)
    return offer


class _OtherPhotos(Exception):
    """Photos have become others since a run was planned: nothing that is to be kept."""


def _check(where: str, found: Seen, planned: Seen) -> None:
    if found.lists != planned.lists:
        mend = "put the files back, or plan again"
        raise UserError(where, "other photos, lists or labels", "those with which the run was planned", mend)
    if found.contents != planned.contents:
        raise _OtherPhotos


def _contents(photos: Iterable[Photo]) -> str:
    return fingerprint([photo.content for photo in photos])
