"""What is passed to methods: photos and their image-level labels. Nothing here leads to a mask."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from json import dumps
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["UNKNOWN", "EvalSet", "Image", "LabelSpace", "Mask", "Photo", "WeakSet", "fingerprint"]

Image: TypeAlias = NDArray[np.uint8]
"""An RGB photo, (H, W, 3)."""
Mask: TypeAlias = NDArray[np.uint8]
"""Class indices, (H, W): 0 background, class id + 1, 255 unknown."""

UNKNOWN = 255
"""The mask value of pixels that are not known (void in true masks, undecided in pseudo labels)."""


def fingerprint(content: object) -> str:
    """sha256 of the canonical JSON of `content`, in hexadecimal."""
    return sha256(dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True)
class LabelSpace:
    """The K foreground classes; a class id is the position of its name (0-based), its mask value is id + 1."""

    names: tuple[str, ...]

    @property
    def foreground(self) -> int:
        """K, the number of foreground classes."""
        return len(self.names)

    @property
    def mask_names(self) -> tuple[str, ...]:
        """The K + 1 names by mask value, background first."""
        return ("background", *self.names)


@dataclass(frozen=True)
class Photo:
    """A photo and its image-level labels (class ids, ascending).

    Where methods train, none means that the photo shows no class; where they are evaluated, that no labels are given.

    `content` identifies the pixels (a sha256 in hexadecimal); `load` decodes them, and raises UserError where the file
    has become another since. `place` is where other programs' files about the photo lie in their folder, without suffix
    (`cat/cat_001`); empty where that is the id. `file` is the photo's own, for messages; None where it is drawn.
    """

    id: str
    labels: tuple[int, ...]
    content: str
    load: Callable[[], Image] = field(repr=False, compare=False)
    source: str = "target"
    place: str = field(default="", compare=False)
    file: Path | None = field(default=None, repr=False, compare=False)

    def image(self) -> Image:
        """The pixels, uint8 RGB (H, W, 3); raises UserError where the file cannot be read."""
        return self.load()

    def without_labels(self) -> "Photo":
        """The same photo as an evaluation shows it."""
        return replace(self, labels=())


@dataclass(frozen=True)
class WeakSet:
    """All that a method gets to train on."""

    photos: tuple[Photo, ...]
    label_space: LabelSpace

    @cached_property
    def fingerprint(self) -> str:
        """The training fingerprint: sha256 over class names, ids, sources, labels and photo contents."""
        photos = [(p.id, p.source, p.labels, p.content) for p in self.photos]
        return fingerprint([self.label_space.names, photos])

    def labels_NK(self) -> NDArray[np.float32]:
        """Multi-hot image-level labels, (photos, K)."""
        rows = np.zeros((len(self.photos), self.label_space.foreground), np.float32)
        for row, photo in zip(rows, self.photos, strict=True):
            row[list(photo.labels)] = 1
        return rows


@dataclass(frozen=True)
class EvalSet:
    """Photos to segment, without labels."""

    photos: tuple[Photo, ...]
    label_space: LabelSpace
