"""What `seedbed show` is asked for: names are resolved to lines and photos of a suite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from harness.pictures.columns import Subject
from harness.stages.blueprint import Blueprint
from harness.stages.line import Line
from harness.stages.source import Source, spread
from harness.suites.recipes import RecipeComponents, Skipped, components_of, possible_recipes
from harness.suites.suite import Suite
from settings.dataset import Dataset
from settings.errors import UserError, unknown_name
from settings.records import Photo

__all__ = ["Request", "Selection", "one", "select"]

COUNT = 10
"""Photos that are shown where neither the user nor the suite says how many."""
T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """What the user asks to see, by name; None, or no name, stands for the usual."""

    photos: tuple[str, ...] = ()
    count: int | None = None
    split: str | None = None
    recipes: tuple[str, ...] = ()
    setting: str | None = None
    rng_seed: int | None = None
    columns: tuple[str, ...] = ()
    map_class: str | None = None


class Selection(NamedTuple):
    """The lines of the suite that are shown, their photos, and what a sheet of them is called."""

    lines: tuple[Line, ...]
    subject: Subject
    title: str

    @property
    def dataset(self) -> Dataset:
        """The data set whose photos are shown: one for all lines, for a suite has one."""
        return self.lines[0].blueprint.dataset


def select(suite: Suite, request: Request) -> Selection:
    """Resolve every name; raises UserError for one that is unknown, with the nearest one that is not."""
    blueprint = Blueprint(suite)
    setting = request.setting or next(iter(suite.settings))
    source = blueprint.source(setting, one("--setting", "setting", setting, suite.settings))
    subject = _subject(blueprint, source, request)
    lines = _lines(suite, blueprint, source, request)
    rng_seeds = sorted({line.rng_seed for line in lines})
    title = f"{suite.name} · {source.name} · {subject.split} · rng seed {', '.join(map(str, rng_seeds))}"
    if request.map_class:
        title += f" · maps of {request.map_class}"
    return Selection(lines, subject, title)


def one(where: str, what: str, name: str, known: Mapping[str, T]) -> T:
    """What bears the name; raises UserError with the nearest name."""
    if name not in known:
        raise unknown_name(where, what, name, known)
    return known[name]


def _lines(suite: Suite, blueprint: Blueprint, source: Source, request: Request) -> tuple[Line, ...]:
    """A line for each shown recipe; without a wish for an rng seed each has its own first one."""
    recipes = _recipes(suite, source, request)
    seeds = {name: suite.seeds_of(name, source.name) for name in recipes}
    known = sorted(set().union(*seeds.values()))
    # What no line has was never run, whatever the store holds.
    if request.rng_seed is not None and request.rng_seed not in known:
        raise UserError("--rng-seed", str(request.rng_seed), f"one of {', '.join(map(str, known))}")
    lines = []
    for name, components in recipes.items():
        rng_seed = request.rng_seed
        if rng_seed is None:
            rng_seed = seeds[name][0]
        lines.append(Line(blueprint, source, name, components, rng_seed))
    return tuple(lines)


def _recipes(suite: Suite, source: Source, request: Request) -> Mapping[str, RecipeComponents]:
    """The named recipes, else all that are possible under the setting, references only where there is nothing else."""
    if request.recipes:
        known = suite.all_recipes()
        chosen = {name: one("--recipes", "recipe", name, known) for name in request.recipes}
        return {name: components_of(name, recipe, suite) for name, recipe in chosen.items()}
    possible = possible_recipes(suite, Skipped())
    shown = {name: components for name, components in possible.items() if suite.stands_under(name, source.name)}
    own = {name: components for name, components in shown.items() if name in suite.recipes}
    return own or shown


def _subject(blueprint: Blueprint, source: Source, request: Request) -> Subject:
    dataset = blueprint.dataset
    split = _split(dataset, request)
    photos = {photo.id: photo for photo in _photos_of(dataset, source, split)}
    masked = [photo_id for photo_id in photos if dataset.has_mask(photo_id)]
    count = request.count or blueprint.suite.gallery or COUNT
    # Photos with a mask first: beside truth one sees what is wrong.
    names = dict.fromkeys(request.photos or spread(masked or list(photos), count))
    class_id = None
    if request.map_class:
        classes = {name: class_id for class_id, name in enumerate(dataset.label_space.names)}
        class_id = one("--map-class", "class", request.map_class, classes)
    return Subject(split, tuple(one("--photos", f"photo of {split}", name, photos) for name in names), class_id)


def _split(dataset: Dataset, request: Request) -> str:
    """The split that is asked for, else that of the first photo, else train."""
    if request.photos and not request.split:
        for split, ids in dataset.splits.items():
            if request.photos[0] in ids:
                return split
        known = set().union(*dataset.splits.values())
        raise unknown_name("--photos", "photo", request.photos[0], known)
    split = request.split or "train"
    one("--split", "split", split, dataset.splits)
    return split


def _photos_of(dataset: Dataset, source: Source, split: str) -> list[Photo]:
    """Photos with the labels that methods see under the setting; of val, which they never see, with all labels."""
    if split == "val":
        return [dataset.photo(photo_id) for photo_id in dataset.splits[split]]
    members = set(dataset.splits[split])
    return [photo for photo in source.photos if photo.id in members]
