"""What `seedbed show` is asked for, from names to the lines and photos of a suite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from harness.pictures.columns import Subject
from harness.stages.blueprint import Blueprint
from harness.stages.line import Line
from harness.stages.source import Source, spread
from harness.suites.recipes import components_of
from harness.suites.skipping import Skipped, possible_recipes
from harness.suites.suite import Suite
from settings.dataset import Dataset
from settings.errors import UserError, unknown_name
from settings.records import Photo

COUNT = 10
T = TypeVar("T")


@dataclass(frozen=True)
class Wanted:
    """What the user asks to see, by name; None, or no name, stands for the usual."""

    photos: tuple[str, ...] = ()
    count: int | None = None
    split: str | None = None
    recipes: tuple[str, ...] = ()
    setting: str | None = None
    rng_seed: int | None = None
    columns: tuple[str, ...] = ()
    map_class: str | None = None


class Found(NamedTuple):
    """The lines of the suite that are shown, their photos, and what a sheet of them is called."""

    lines: tuple[Line, ...]
    subject: Subject
    title: str


def find(suite: Suite, wanted: Wanted) -> Found:
    """Resolve every name; raises UserError for one that is unknown, with the nearest one that is not."""
    blueprint = Blueprint(suite)
    setting = wanted.setting or next(iter(suite.settings))
    source = blueprint.source(setting, one("--setting", "setting", setting, suite.settings))
    subject = _subject(blueprint, source, wanted)
    lines = _lines(suite, blueprint, source, wanted)
    rng_seeds = sorted({line.rng_seed for line in lines})
    title = f"{suite.name} · {source.name} · {subject.split} · rng seed {', '.join(map(str, rng_seeds))}"
    if wanted.map_class:
        title += f" · maps of {wanted.map_class}"
    return Found(lines, subject, title)


def one(where: str, what: str, name: str, known: Mapping[str, T]) -> T:
    """What bears the name; raises UserError with the nearest name."""
    if name not in known:
        raise unknown_name(where, what, name, known)
    return known[name]


def _lines(suite: Suite, blueprint: Blueprint, source: Source, wanted: Wanted) -> tuple[Line, ...]:
    """Of the named recipes, else of all that are possible and no references; each with its own first rng seed."""
    recipes = suite.all_recipes()
    if wanted.recipes:
        parts = {name: components_of(name, one("--recipes", "recipe", name, recipes), suite) for name in wanted.recipes}
    else:
        possible = possible_recipes(suite, Skipped())
        shown = {name: part for name, part in possible.items() if suite.stands_under(name, source.name)}
        parts = {name: part for name, part in shown.items() if name in suite.recipes} or shown
    seeds = {name: suite.seeds_of(name, source.name) for name in parts}
    known = sorted({rng_seed for of in seeds.values() for rng_seed in of})
    if wanted.rng_seed is not None and wanted.rng_seed not in known:
        raise UserError("--rng-seed", str(wanted.rng_seed), f"one of {', '.join(map(str, known))}")
    chosen = {name: of[0] if wanted.rng_seed is None else wanted.rng_seed for name, of in seeds.items()}
    return tuple(Line(blueprint, source, name, part, chosen[name]) for name, part in parts.items())


def _subject(blueprint: Blueprint, source: Source, wanted: Wanted) -> Subject:
    dataset = blueprint.dataset
    split = _split(dataset, wanted)
    photos = {photo.id: photo for photo in _photos_of(dataset, source, split)}
    masked = [photo_id for photo_id in photos if dataset.has_mask(photo_id)]
    count = wanted.count or blueprint.suite.gallery or COUNT
    names = dict.fromkeys(wanted.photos or spread(masked or list(photos), count))
    classes = {name: class_id for class_id, name in enumerate(dataset.label_space.names)}
    return Subject(
        split,
        tuple(one("--photos", f"photo of {split}", name, photos) for name in names),
        one("--map-class", "class", wanted.map_class, classes) if wanted.map_class else None,
    )


def _split(dataset: Dataset, wanted: Wanted) -> str:
    """The split that is asked for, else that of the first photo, else train."""
    if wanted.photos and not wanted.split:
        splits = {photo_id: split for split, ids in dataset.splits.items() for photo_id in ids}
        return one("--photos", "photo", wanted.photos[0], splits)
    split = wanted.split or "train"
    one("--split", "split", split, dataset.splits)
    return split


def _photos_of(dataset: Dataset, source: Source, split: str) -> list[Photo]:
    """With the labels that methods see under the setting; of val, which they never see, with the data set's."""
    if split == "val":
        return [dataset.photo(photo_id) for photo_id in dataset.splits[split]]
    members = set(dataset.splits[split])
    return [photo for photo in source.photos if photo.id in members]
