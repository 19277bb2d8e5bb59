"""Perceptual hashes of photos: what looks alike has hashes of few different bits, whatever was done to the file.

A photo that is looked at has the 256 bits of a DCT hash (imagehash's `phash`, 16 × 16) and those of its mirror image; a
photo that others are held against has those of its crops by 5 %: a hash of the whole does not survive a crop, and a
comparison with the same crop does. Hashes are cached by the photo's content, so that planning computes each once.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from settings.caching import CachedTable
from settings.hashing import cache_folder
from settings.records import Image, Photo

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

__all__ = ["BITS", "BOXES", "Look", "LookCache", "distances", "look_of", "shared_looks"]

VERSION = 1
"""Raised when the same pixels get other hashes."""
SIDE = 16
BITS = SIDE * SIDE
WORDS = BITS // 64
CROP = 0.05
"""Share of a side that the crops take away."""
SMALL = 96
"""Photos are shrunk to this side (pixels) before anything else: the hash sees less than that."""
Side = Literal["looked at", "held against"]
Box = tuple[float, float, float, float]
BOXES: tuple[Box, ...] = (
    (0, 0, 1, 1),
    *((CROP, 0, 1, 1), (0, 0, 1 - CROP, 1), (0, CROP, 1, 1), (0, 0, 1, 1 - CROP)),
    *((CROP, CROP, 1, 1), (0, CROP, 1 - CROP, 1), (CROP, 0, 1, 1 - CROP), (0, 0, 1 - CROP, 1 - CROP)),
    *((CROP / 2, 0, 1 - CROP / 2, 1), (0, CROP / 2, 1, 1 - CROP / 2)),
    *((CROP / 2, CROP / 2, 1 - CROP / 2, 1 - CROP / 2), (CROP, CROP, 1 - CROP, 1 - CROP)),
)
"""The whole, and what is left after a crop on one side, at a corner, on two opposite sides by half as much, all around
by half as much, and all around (left, upper, right, lower, in shares of the sides)."""


class Look(NamedTuple):
    """What a photo looks like: its size in pixels, and the words (uint64) of its hashes.

    (2, WORDS) of a photo that is looked at: as it is, mirrored; (len(BOXES), WORDS) of one held against it.
    """

    height: int
    width: int
    words_VW: NDArray[np.uint64]


VARIANTS: Mapping[Side, int] = {"looked at": 2, "held against": len(BOXES)}


def look_of(image: Image, side: Side) -> Look:
    """Hashes of an RGB image, uint8 (H, W, 3)."""
    from PIL import Image as Pillow
    from PIL import ImageOps

    small = Pillow.fromarray(image).convert("L")
    small.thumbnail((SMALL, SMALL), Pillow.Resampling.BOX, reducing_gap=2.0)
    shown = [small, ImageOps.mirror(small)] if side == "looked at" else [_cropped(small, box) for box in BOXES]
    words_VW = np.packbits(np.stack([_bits(variant) for variant in shown]), axis=1).view(np.uint64)
    return Look(image.shape[0], image.shape[1], words_VW)


def _bits(image: "PillowImage") -> NDArray[np.bool_]:
    import imagehash

    bits: NDArray[np.bool_] = imagehash.phash(image, hash_size=SIDE).hash.ravel()
    return bits


def _cropped(image: "PillowImage", box: Box) -> "PillowImage":
    width, height = image.size
    left, upper = round(box[0] * width), round(box[1] * height)
    right, lower = max(left + 1, round(box[2] * width)), max(upper + 1, round(box[3] * height))
    return image.crop((left, upper, right, lower))


def distances(looked_at: Sequence[Look], held_against: Sequence[Look]) -> NDArray[np.uint16]:
    """Different bits of each pair of photos at the best of their variants, (N, M)."""
    words_NVW, words_MVW = (np.stack([look.words_VW for look in looks]) for looks in (looked_at, held_against))
    nearest_NM = np.full((len(looked_at), len(held_against)), BITS, np.uint16)
    for one_NW in words_NVW.swapaxes(0, 1):
        for other_MW in words_MVW.swapaxes(0, 1):
            different_NMW = np.bitwise_count(one_NW[:, None] ^ other_MW[None])
            np.minimum(nearest_NM, different_NMW.sum(2, dtype=np.uint16), out=nearest_NM)
    return nearest_NM


class LookCache:
    """Looks by a photo's content, kept on disk; where that cannot be written, for this process alone."""

    def __init__(self, database: Path) -> None:
        columns = "key TEXT PRIMARY KEY, height INTEGER, width INTEGER, words BLOB"
        self._table = CachedTable(database, f"looks ({columns})")

    def known(self, photo: Photo, side: Side) -> Look | None:
        """What was kept; None where nothing was, or what was kept is damaged."""
        query = "SELECT height, width, words FROM looks WHERE key = ?"
        for height, width, words in self._table.execute(query, (_key(photo, side),)):
            with suppress(ValueError, TypeError):
                return Look(int(height), int(width), np.frombuffer(words, np.uint64).reshape(VARIANTS[side], WORDS))
        return None

    def of(self, photo: Photo, side: Side) -> Look:
        """Kept or computed now; raises UserError for a photo that cannot be read."""
        if look := self.known(photo, side):
            return look
        look = look_of(photo.image(), side)
        row = (_key(photo, side), look.height, look.width, look.words_VW.tobytes())
        self._table.execute("INSERT OR REPLACE INTO looks VALUES (?, ?, ?, ?)", row)
        return look


def _key(photo: Photo, side: Side) -> str:
    return f"{VERSION}:{side}:{photo.content}"


@cache
def shared_looks() -> LookCache:
    """This process's cache, in `cache_folder()`."""
    return LookCache(cache_folder() / "looks.sqlite")
