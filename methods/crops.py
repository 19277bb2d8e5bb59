"""Random crops: of a photo and its mask, as segmentation networks are trained on, and parts of a photo alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from settings.images import resize
from settings.masks import resize_mask
from settings.records import UNKNOWN, Image, Mask

Jitter: TypeAlias = Sequence[tuple[int, float]]
"""Changes of colours, as `methods.jitter.ColourJitter` draws them."""
Values = TypeVar("Values", bound=NDArray[Any])

ASPECTS = (3 / 4, 4 / 3)
"""Width over height of a random part, drawn evenly on the logarithm."""


class Box(NamedTuple):
    """A part of a photo, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, image: Image, side: int) -> Image:
        """This part of an image (H, W, 3), resized to a square."""
        return resize(image[self.top : self.top + self.height, self.left : self.left + self.width], side, side)


def random_box(within: Box, areas: tuple[float, float], rng: np.random.Generator) -> Box:
    """A part of a box: its share of the area and its aspect (3:4 to 4:3) are drawn, then its place.

    Cut to the box where it is too long or too wide.
    """
    area, aspect = rng.uniform(*areas) * within.height * within.width, float(np.exp(rng.uniform(*np.log(ASPECTS))))
    height = min(within.height, max(1, round((area / aspect) ** 0.5)))
    width = min(within.width, max(1, round((area * aspect) ** 0.5)))
    top, left = (int(rng.integers(room + 1)) for room in (within.height - height, within.width - width))
    return Box(within.top + top, within.left + left, height, width)


class Place(NamedTuple):
    """A crop that was drawn: the size that the photo takes (pixels), whether it is mirrored, the crop's corner."""

    height: int
    width: int
    mirrored: bool
    top: int
    left: int


class Crops(NamedTuple):
    """How crops are drawn: their side, how a photo is resized before, what surrounds it.

    A photo is resized by a factor in `scales`, or to a longer side in `longer_side` (pixels, both ends included) where
    that is given; `flip` mirrors it half the time. `fill` is the RGB of pixels outside it; their mask value is 255.
    """

    side: int
    scales: tuple[float, float] | None
    fill: tuple[int, int, int]
    longer_side: tuple[int, int] | None = None
    flip: bool = True

    def place(self, size: tuple[int, int], rng: np.random.Generator) -> Place:
        """Draw what becomes of a photo of `size` (height, width): its new size, whether it is mirrored, the corner."""
        factor = self._factor(max(size), rng)
        height, width = (max(1, round(length * factor)) for length in size)
        mirrored = self.flip and bool(rng.random() < 0.5)
        top, left = (_offset(length, self.side, rng) for length in (height, width))
        return Place(height, width, mirrored, top, left)

    def _factor(self, longest: int, rng: np.random.Generator) -> float:
        """By which a photo is resized whose longer side has so many pixels."""
        if self.longer_side is not None:
            least, most = self.longer_side
            return int(rng.integers(least, most + 1)) / longest
        assert self.scales is not None
        return float(rng.uniform(*self.scales))

    def cut(self, image: Image, mask_HW: Mask, place: Place, jitter: Jitter = ()) -> tuple[Image, Mask]:
        """A photo and its mask, resized, mirrored and cut to (side, side) as a place says; colours as a jitter says."""
        return self.photo(image, place, jitter), self.mask(mask_HW, place)

    def photo(self, image: Image, place: Place, jitter: Jitter = ()) -> Image:
        """A photo as a place says, uint8 (side, side, 3), its colours changed before it is cut."""
        image = resize(image, place.height, place.width)
        if jitter:
            from methods.jitter import jittered

            image = jittered(image, jitter)
        return self._cut(image, place, np.full((self.side, self.side, 3), self.fill, np.uint8))

    def mask(self, mask_HW: Mask, place: Place) -> Mask:
        """A photo's mask as a place says, uint8 (side, side), 255 outside the photo."""
        mask_HW = resize_mask(mask_HW, place.height, place.width)
        return self._cut(mask_HW, place, np.full((self.side, self.side), UNKNOWN, np.uint8))

    def inside(self, place: Place) -> NDArray[np.bool_]:
        """Where the photo lies in its crop, (side, side)."""
        return self._cut(np.ones((place.height, place.width), np.bool_), place, np.zeros((self.side,) * 2, np.bool_))

    def _cut(self, values: Values, place: Place, square: Values) -> Values:
        """`square` with the values (height, width, …) of a resized photo where that lies in it.

        The square's corner lies at (top, left) of the photo; a negative corner leaves room before it.
        """
        turned = values[:, ::-1] if place.mirrored else values
        corner = (place.top, place.left)
        rows, columns = (slice(max(0, start), max(0, start + self.side)) for start in corner)
        part = turned[rows, columns]
        y, x = (max(0, -start) for start in corner)
        square[y : y + part.shape[0], x : x + part.shape[1]] = part
        return square


def _offset(length: int, side: int, rng: np.random.Generator) -> int:
    """Where the crop begins: inside a photo that is longer, before one that is shorter."""
    return int(rng.integers(min(0, length - side), max(0, length - side) + 1))
