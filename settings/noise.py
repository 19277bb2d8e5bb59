"""Noise of known rates for the photos of any source: wrong classes, off-topic photos, other styles.

Whether a photo is noisy is decided by a hash of (noise seed, kind of noise, photo id) against the rate: rates hold in
expectation, neither order nor other photos matter, and a photo that is noisy at 10 % is so at 20 %, with the same wrong
class and the same pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from settings.errors import UserError
from settings.options import Options
from settings.records import Image, LabelSpace, Photo, fingerprint
from settings.styles import STYLES

__all__ = ["GRID", "NoiseOptions", "Truth", "check_rates", "shuffle_tiles", "with_noise"]

VERSION = 1
"""Raised when the noise of equal options changes; part of the content of changed photos."""
GRID = 16
"""An off-topic photo is cut into GRID × GRID tiles."""
Truth = Mapping[str, tuple[int, ...]]
"""By photo id, the class ids that the photo really shows; none: off-topic."""


class NoiseOptions(Options):
    """How much of which noise."""

    wrong_class: float = Field(0.0, ge=0, le=1, description="share of photos under another class's label")
    off_topic: float = Field(
        0.0, ge=0, le=1, description="share of photos whose tiles are mixed, so that they show nothing any more"
    )
    style_shift: float = Field(0.0, ge=0, le=1, description=f"share of photos turned {', '.join(STYLES)}")
    noise_seed: int = Field(0, ge=0, lt=2**63, description="another number, other noisy photos")

    @model_validator(mode="after")
    def _one_of_both(self) -> "NoiseOptions":
        check_rates(self.wrong_class, self.off_topic)
        return self


@dataclass(frozen=True)
class Altered:
    """A photo's pixels, cut and mixed, or in another style, or both; random numbers are drawn from `key` alone."""

    load: Callable[[], Image]
    key: str
    shuffled: bool
    style: str | None

    def image(self) -> Image:
        """The altered pixels, uint8 RGB, as large as the photo's."""
        image = self.load()
        if self.shuffled:
            image = shuffle_tiles(image, self._stream("tiles"))
        return STYLES[self.style](image, self._stream("style")) if self.style else image

    def _stream(self, purpose: str) -> np.random.Generator:
        return np.random.default_rng(int(fingerprint([self.key, purpose]), 16))


def with_noise(
    photos: Sequence[Photo], space: LabelSpace, options: NoiseOptions, truth: Truth | None = None
) -> tuple[tuple[Photo, ...], Truth]:
    """The photos with noise, in their order, and what they then really show.

    `truth` tells what the photos showed before; without it their labels are taken to be right. A photo has at most one
    of wrong class (its labels become one other class of the space) and off-topic (its tiles are mixed, the label stays;
    the content is another); a style may come on top. Raises UserError where every class is among its labels.
    """
    noisy = tuple(_noisy(photo, space, options) for photo in photos)
    shown = {
        photo.id: () if _is_off_topic(photo.id, options) else (photo.labels if truth is None else truth[photo.id])
        for photo in photos
    }
    return noisy, shown


def shuffle_tiles(image: Image, rng: np.random.Generator) -> Image:
    """The image cut into GRID × GRID tiles (fewer where it has fewer pixels) in random order; its size stays.

    Tiles differ by at most one pixel in size: a larger place repeats its tile's last row or column.
    """
    rows, columns = (np.linspace(0, side, min(GRID, side) + 1).round().astype(np.intp) for side in image.shape[:2])
    order = np.argsort(rng.random((len(rows) - 1) * (len(columns) - 1)), kind="stable")
    mixed = np.empty_like(image)
    for place, tile in enumerate(order):
        (y, x), (from_y, from_x) = (divmod(int(index), len(columns) - 1) for index in (place, tile))
        taken_y = _taken(rows, y, from_y)
        taken_x = _taken(columns, x, from_x)
        mixed[rows[y] : rows[y + 1], columns[x] : columns[x + 1]] = image[taken_y[:, None], taken_x]
    return mixed


def check_rates(wrong_class: float, off_topic: float) -> None:
    """Raise ValueError where the two shares, which exclude each other, are more than all photos."""
    if wrong_class + off_topic > 1 + 1e-9:
        raise ValueError(f"wrong_class + off_topic at most 1, not {wrong_class + off_topic:g}")


def _noisy(photo: Photo, space: LabelSpace, options: NoiseOptions) -> Photo:
    if _draw(photo.id, options, "class") < options.wrong_class:
        photo = replace(photo, labels=(_other_class(photo, space, options),))
    shuffled = _is_off_topic(photo.id, options)
    style = _style(photo.id, options)
    if not shuffled and style is None:
        return photo
    key = fingerprint(["noise", VERSION, options.noise_seed, photo.id])
    content = fingerprint([key, photo.content, shuffled, style])
    return replace(photo, content=content, load=Altered(photo.load, key, shuffled, style).image)


def _is_off_topic(photo_id: str, options: NoiseOptions) -> bool:
    # The same draw from its other end: no photo is both, and each share grows without moving the other's photos.
    return _draw(photo_id, options, "class") >= 1 - options.off_topic


def _other_class(photo: Photo, space: LabelSpace, options: NoiseOptions) -> int:
    others = [class_id for class_id in range(space.foreground) if class_id not in photo.labels]
    if not others:
        raise UserError(
            "noise.wrong_class", f"every class among the labels of photo '{photo.id}'", "a class that it does not show"
        )
    return others[int(_draw(photo.id, options, "other class") * len(others))]


def _style(photo_id: str, options: NoiseOptions) -> str | None:
    if _draw(photo_id, options, "style") >= options.style_shift:
        return None
    return list(STYLES)[int(_draw(photo_id, options, "which style") * len(STYLES))]


def _draw(photo_id: str, options: NoiseOptions, purpose: str) -> float:
    """An even number in [0, 1)."""
    return int(fingerprint(["noise", options.noise_seed, purpose, photo_id])[:13], 16) / 16**13


def _taken(edges: NDArray[np.intp], place: int, tile: int) -> NDArray[np.intp]:
    """The positions along an axis that fill a place from a tile."""
    offsets = np.arange(edges[place + 1] - edges[place])
    return np.asarray(edges[tile] + np.minimum(offsets, edges[tile + 1] - edges[tile] - 1))
