"""The embedded data set: rendered photos of invented animals with image-level labels and exact masks, no download.

Partner classes (bee and wasp, carp and trout, ...) share a body and differ in the head alone, so that a classifier
is tempted to look at part of the object; partners often appear together, and the ground tells something of the class.
"""

from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from settings.dataset import TEST, Dataset
from settings.errors import UserError
from settings.options import Options
from settings.records import Image, LabelSpace, Mask, Photo, fingerprint
from settings.rendering.backgrounds import GROUNDS
from settings.rendering.catalogue import MAX_CLASSES, NAMES
from settings.rendering.layout import Knobs, Layout, draw_layout
from settings.rendering.scene import draw_mask, draw_photo

__all__ = ["Scenes", "ScenesOptions"]

SPLITS = ("train", "dev", "val")
MAX_COUNT = 100_000
"""Ids have five digits, so that their order is that of the numbers."""


class ScenesOptions(Options):
    """The knobs. `data_seed` makes another set; it never follows from a run's rng seed."""

    classes: int = Field(
        default=6, ge=2, le=MAX_CLASSES, description="an even number: classes come in look-alike pairs"
    )
    size: int = Field(default=128, ge=32, le=1024, description="side of the square photos in pixels")
    train: int = Field(default=320, ge=1, le=MAX_COUNT, description="photos in train")
    dev: int = Field(default=128, ge=0, le=MAX_COUNT, description="photos in dev")
    val: int = Field(default=128, ge=1, le=MAX_COUNT, description="photos in val")
    co_occurrence: float = Field(
        default=0.3, ge=0, le=1, description="how often a further object is sure to be the partner"
    )
    background_correlation: float = Field(
        default=0.6, ge=0, le=1, description="how often the ground follows from the class"
    )
    part_size: float = Field(default=0.6, ge=0.2, le=0.8, description="length of the head relative to the body's")
    clutter: float = Field(default=0.3, ge=0, le=1, description="how many small things of no class lie about")
    data_seed: int = Field(default=0, ge=0, lt=2**63, description="another number, another set")

    @field_validator("classes")
    @classmethod
    def _in_pairs(cls, classes: int) -> int:
        if classes % 2:
            raise ValueError(f"an even number, {classes - 1} or {classes + 1}: classes come in look-alike pairs")
        return classes

    def knobs(self) -> Knobs:
        """What decides the content of photos: all but the counts and the data seed."""
        return Knobs(**self.model_dump(include=set(Knobs.__dataclass_fields__)))


@dataclass(frozen=True)
class Recipe:
    """All that decides one photo; equal recipes give equal pixels."""

    knobs: Knobs
    data_seed: int
    photo_id: str

    @property
    def content(self) -> str:
        """The recipe's key, sha256 in hexadecimal."""
        return fingerprint(["scenes", Scenes.version, asdict(self.knobs), self.data_seed, self.photo_id])

    def layout(self) -> Layout:
        """What lies where."""
        return _layout(self)

    def image(self) -> Image:
        """The rendered photo, uint8 RGB (size, size, 3)."""
        return draw_photo(self.layout(), self.knobs.size, self.knobs.clutter, self.stream("pixels"))

    def stream(self, purpose: Literal["layout", "pixels"]) -> np.random.Generator:
        """Random numbers of this photo; layout and pixels have a stream each, so that neither waits for the other."""
        return np.random.default_rng(int(fingerprint([self.content, purpose]), 16))


@lru_cache(maxsize=8192)
def _layout(recipe: Recipe) -> Layout:
    return draw_layout(recipe.stream("layout"), recipe.knobs, len(GROUNDS))


class Scenes(Dataset):
    """Rendered scenes; photo i of a split depends on version, knobs, data seed, split and i alone."""

    options_model: ClassVar[type[Options]] = ScenesOptions
    photos_are_ours = True
    version: ClassVar[int] = 1

    def __init__(self, options: ScenesOptions | None = None) -> None:
        self.options = options or ScenesOptions()
        self.name = "scenes"
        self.label_space = LabelSpace(NAMES[: self.options.classes])
        counts = {split: getattr(self.options, split) for split in SPLITS}
        self.splits = {split: tuple(f"{split}_{i:05d}" for i in range(n)) for split, n in counts.items()}
        self._known = frozenset(chain(*self.splits.values(), self.test_ids()))

    def photo(self, photo_id: str) -> Photo:
        """The photo with its image-level labels; its pixels are rendered when it is loaded."""
        recipe = self.recipe(photo_id)
        return Photo(photo_id, recipe.layout().labels, recipe.content, recipe.image)

    def read_mask(self, photo_id: str) -> Mask:
        """The exact mask, uint8 (size, size); no pixel is unknown."""
        return draw_mask(self.recipe(photo_id).layout(), self.options.size)

    def mask_content(self, photo_id: str) -> str:
        """The key of the recipe that the mask is drawn from."""
        return fingerprint(["mask", self.recipe(photo_id).content])

    def test_ids(self) -> tuple[str, ...]:
        """As many as val has: photos to segment, as if nobody knew their masks."""
        return tuple(f"{TEST}_{i:05d}" for i in range(self.options.val))

    def identity(self) -> dict[str, Any]:
        """Name, version, knobs and data seed; not the counts, which no photo depends on."""
        return {"name": self.name, "version": self.version, **self.options.model_dump(exclude=set(SPLITS))}

    def recipe(self, photo_id: str) -> Recipe:
        """What the photo is made by; raises UserError for an id of no split."""
        if photo_id not in self._known:
            counts = ", ".join(f"{len(ids)} of {split}" for split, ids in self.splits.items())
            raise UserError(self.name, f"photo '{photo_id}'", f"an id such as train_00000 ({counts})")
        return Recipe(self.options.knobs(), self.options.data_seed, photo_id)
