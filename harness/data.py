"""Data sets and settings by name, opened once a process; a stage on another machine opens them anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from harness.suite import Component, validated_options
from settings.dataset import Dataset
from settings.discovery import DATASETS, SETTINGS
from settings.records import WeakSet


def dataset_of(component: Component | Mapping[str, Any]) -> Dataset:
    """The data set that a suite or a stage names; raises UserError for unknown names and options."""
    return _open_dataset(_canonical(component))


def weak_set_of(dataset: Component | Mapping[str, Any], setting: Component | Mapping[str, Any]) -> WeakSet:
    """The photos and labels that methods see under a setting."""
    return _open_weak_set(_canonical(dataset), _canonical(setting))


def _canonical(component: Component | Mapping[str, Any]) -> str:
    content = component.model_dump() if isinstance(component, Component) else component
    return json.dumps(content, sort_keys=True, default=str)


@lru_cache(maxsize=8)
def _open_dataset(canonical: str) -> Dataset:
    content = json.loads(canonical)
    kind = DATASETS.load(content["name"], "dataset")
    dataset: Dataset = kind(validated_options(kind.options_model, content["options"], "dataset"))
    return dataset


@lru_cache(maxsize=8)
def _open_weak_set(dataset: str, setting: str) -> WeakSet:
    content = json.loads(setting)
    kind = SETTINGS.load(content["name"], "settings")
    options = validated_options(kind.options_model, content["options"], f"settings.{content['name']}")
    weak: WeakSet = kind(options).weak_set(_open_dataset(dataset))
    return weak
