"""Data sets and settings by name, opened once a process; a stage on another machine opens them anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from settings.components import ComponentSpec, constructed
from settings.dataset import Dataset
from settings.discovery import DATASETS, SETTINGS
from settings.setting import Offer, Setting, Target


def dataset_of(component: ComponentSpec | Mapping[str, Any]) -> Dataset:
    """The data set that a suite or a stage names; raises UserError for unknown names and options."""
    content = _content(component)
    return _open_dataset(DATASETS.load(content["name"], "dataset"), _canonical(content["options"]))


def offer_of(dataset: ComponentSpec | Mapping[str, Any], setting: ComponentSpec | Mapping[str, Any]) -> Offer:
    """The photos and labels that methods see under a setting, before any filter."""
    content = _content(setting)
    kind = SETTINGS.load(content["name"], "settings")
    return _open_offer(dataset_of(dataset), kind, f"settings.{content['name']}", _canonical(content["options"]))


def _content(component: ComponentSpec | Mapping[str, Any]) -> Mapping[str, Any]:
    return component.model_dump() if isinstance(component, ComponentSpec) else component


def _canonical(options: Mapping[str, Any]) -> str:
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
