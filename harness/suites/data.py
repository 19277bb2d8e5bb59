"""Data sets and settings by name, opened once a process; a stage on another machine opens them anew."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.suites.reading import expand_variables, override
from settings.components import ComponentSpec, constructed, validated_options
from settings.config import existing_folder
from settings.dataset import Dataset
from settings.discovery import DATASETS, SETTINGS
from settings.errors import unknown_name
from settings.setting import Offer, Setting, Target

__all__ = ["dataset_of", "offer_of", "open_dataset", "open_options"]


def dataset_of(component: ComponentSpec) -> Dataset:
    """The data set that a suite or a stage names; raises UserError for unknown names and options."""
    return _open_dataset(DATASETS.load(component.name, "dataset"), _canonical(component))


def offer_of(dataset: ComponentSpec, setting: ComponentSpec) -> Offer:
    """The photos and labels that methods see under a setting, before any filter; raises UserError as `dataset_of`."""
    kind = SETTINGS.load(setting.name, "settings")
    return _open_offer(dataset_of(dataset), kind, f"settings.{setting.name}", _canonical(setting))


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


# Kept by class, never by name: a plug-in that was edited is another class.
@lru_cache(maxsize=8)
def _open_dataset(kind: type[Dataset], options: str) -> Dataset:
    dataset: Dataset = constructed(kind, json.loads(options), "dataset")
    return dataset


@lru_cache(maxsize=32)
def _open_offer(dataset: Dataset, kind: type[Setting], where: str, options: str) -> Offer:
    setting: Setting = constructed(kind, json.loads(options), where)
    return setting.offer(_target(dataset))


# Kept beside the offers: every setting of a suite asks for the photos of one data set.
@lru_cache(maxsize=8)
def _target(dataset: Dataset) -> Target:
    return Target.of(dataset)
