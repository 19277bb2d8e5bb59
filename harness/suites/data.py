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


def dataset_of(component: ComponentSpec | Mapping[str, Any]) -> Dataset:
    """The data set that a suite or a stage names; raises UserError for unknown names and options."""
    content = _content(component)
    return _open_dataset(DATASETS.load(content["name"], "dataset"), _canonical(content["options"]))


def offer_of(dataset: ComponentSpec | Mapping[str, Any], setting: ComponentSpec | Mapping[str, Any]) -> Offer:
    """The photos and labels that methods see under a setting, before any filter."""
    content = _content(setting)
    kind = SETTINGS.load(content["name"], "settings")
    return _open_offer(dataset_of(dataset), kind, f"settings.{content['name']}", _canonical(content["options"]))


def open_dataset(name: str, assignments: Sequence[str] = ()) -> Dataset:
    """A known data set, or the folder data set at a path, with options `key=value`; raises UserError."""
    known = DATASETS.names()
    given = {}
    if name not in known:
        if existing_folder(Path(name)) is None:
            raise unknown_name("data set", "name or folder", name, known)
        name, given = "folder", {"root": name}
    dataset: Dataset = DATASETS.load(name)(open_options(name, assignments, given))
    return dataset


def open_options(name: str, assignments: Sequence[str], given: Mapping[str, object] | None = None) -> Any:
    """A known data set's options, from `key=value` over what is given; raises UserError that names the option."""
    options = dict(given or {})
    for assignment in assignments:
        override(options, assignment)
    return validated_options(DATASETS.load(name).options_model, expand_variables(options, "--set"), "dataset")


def _content(component: ComponentSpec | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(component, ComponentSpec):
        return component.model_dump()
    return component


def _canonical(options: Mapping[str, object]) -> str:
    # As text: a cache needs a key that can be hashed.
    return json.dumps(options, sort_keys=True, default=str)


# Kept by class, never by name: a plug-in that was edited is another class.
@lru_cache(maxsize=8)
def _open_dataset(kind: Any, options: str) -> Dataset:
    dataset: Dataset = constructed(kind, json.loads(options), "dataset")
    return dataset


@lru_cache(maxsize=32)
def _open_offer(dataset: Dataset, kind: Any, where: str, options: str) -> Offer:
    setting: Setting = constructed(kind, json.loads(options), where)
    return setting.offer(_target(dataset))


@lru_cache(maxsize=8)
def _target(dataset: Dataset) -> Target:
    return Target.of(dataset)
