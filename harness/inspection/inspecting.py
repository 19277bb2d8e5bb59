"""Reading a data set photo by photo before a run pays for it: what is there, and what cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from harness.suites.reading import expand_variables, override
from settings.components import validated_options
from settings.config import existing_folder
from settings.dataset import Dataset
from settings.datasets.folder import Folder
from settings.discovery import DATASETS
from settings.errors import UserError, unknown_name
from settings.records import UNKNOWN
from settings.supervision import Gate

T = TypeVar("T")


class Place(NamedTuple):
    """A photo of a split."""

    split: str
    photo_id: str


Watch = Callable[[Sequence[Place]], Iterable[Place]]
"""What goes through the photos, and may show how far it is."""


@dataclass(frozen=True)
class Facts:
    """What was found out about one photo: `pixels` counts the 256 mask values, None where no mask was read."""

    place: Place
    labels: tuple[int, ...] = ()
    content: str = ""
    size: tuple[int, int] | None = None
    pixels: tuple[int, ...] | None = None
    has_mask: bool = True
    errors: tuple[str, ...] = ()

    @property
    def shown(self) -> tuple[int, ...]:
        """The class ids whose pixels the mask holds."""
        return tuple(value - 1 for value in self.known if value)

    @property
    def known(self) -> tuple[int, ...]:
        """The mask values of known pixels, background included."""
        return tuple(value for value, count in enumerate(self.pixels or ()) if count and value != UNKNOWN)


def open_dataset(name: str, assignments: Sequence[str] = ()) -> Dataset:
    """A known data set, or the folder data set at a path, with options `key=value`; raises UserError."""
    known = DATASETS.names()
    if name in known:
        dataset: Dataset = DATASETS.load(name)(open_options(name, assignments))
        return dataset
    if existing_folder(Path(name)) is None:
        raise unknown_name("data set", "name or folder", name, known)
    return Folder(open_options("folder", assignments, root=name))


def open_options(name: str, assignments: Sequence[str] = (), **given: Any) -> Any:
    """A known data set's options, from `key=value` over what is given; raises UserError that names the option."""
    options: dict[str, Any] = dict(given)
    for assignment in assignments:
        override(options, assignment)
    return validated_options(DATASETS.load(name).options_model, expand_variables(options, "--set"), "dataset")


def places_of(dataset: Dataset) -> list[Place]:
    """All photos, split by split."""
    return [Place(split, photo_id) for split, ids in dataset.splits.items() for photo_id in ids]


def gather_facts(dataset: Dataset, watch: Watch = iter) -> list[Facts]:
    """Read every photo and every mask, one at a time."""
    gate = Gate(dataset, "data check", "show")
    return [_facts(dataset, gate, place) for place in watch(places_of(dataset))]


def _facts(dataset: Dataset, gate: Gate, place: Place) -> Facts:
    errors: list[str] = []
    photo = _tried(lambda: dataset.photo(place.photo_id), errors)
    image = _tried(photo.image, errors) if photo else None
    marked = dataset.has_mask(place.photo_id)
    # A mask is held against its photo: without one, the photo's error says it all.
    mask = _tried(lambda: gate.mask(*place), errors) if marked and image is not None else None
    return Facts(
        place,
        photo.labels if photo else (),
        photo.content if photo else "",
        None if image is None else (image.shape[0], image.shape[1]),
        None if mask is None else tuple(np.bincount(mask.ravel(), minlength=256).tolist()),
        marked,
        tuple(errors),
    )


def _tried(read: Callable[[], T], errors: list[str]) -> T | None:
    try:
        return read()
    except UserError as error:
        errors.append(str(error))
        return None
