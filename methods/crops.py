"""Random crops: of a photo and its mask, as segmentation networks are trained on, and parts of a photo alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from settings.images import resize
from settings.masks import resize_mask
from settings.records import UNKNOWN, Image, Mask

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
    """How crops are drawn: their side, the range of the random factor that resizes a photo before, what surrounds it.

    `fill` is the RGB of pixels outside the photo; their mask value is 255.
    """

    side: int
    scales: tuple[float, float]
    fill: tuple[int, int, int]

    def place(self, size: tuple[int, int], rng: np.random.Generator) -> Place:
        """Draw what becomes of a photo of `size` (height, width): its new size, mirrored half the time, the corner."""
        factor = rng.uniform(*self.scales)
        height, width = (max(1, round(length * factor)) for length in size)
        mirrored = bool(rng.random() < 0.5)
        top, left = (_offset(length, self.side, rng) for length in (height, width))
        return Place(height, width, mirrored, top, left)

    def cut(self, image: Image, mask_HW: Mask, place: Place) -> tuple[Image, Mask]:
        """A photo and its mask, resized, mirrored and cut to (side, side) as a place says."""
        image = resize(image, place.height, place.width)
        mask_HW = resize_mask(mask_HW, place.height, place.width)
        if place.mirrored:
            image, mask_HW = image[:, ::-1], mask_HW[:, ::-1]
        return self._cut(image, mask_HW, place.top, place.left)

    def _cut(self, image: Image, mask_HW: Mask, top: int, left: int) -> tuple[Image, Mask]:
        """The square whose corner lies at (top, left) of the photo; a negative corner leaves room before it."""
        cut = np.full((self.side, self.side, 3), self.fill, np.uint8)
        labels_HW = np.full((self.side, self.side), UNKNOWN, np.uint8)
        rows, columns = (slice(max(0, start), max(0, start + self.side)) for start in (top, left))
        part = mask_HW[rows, columns]
        y, x = max(0, -top), max(0, -left)
        labels_HW[y : y + part.shape[0], x : x + part.shape[1]] = part
        cut[y : y + part.shape[0], x : x + part.shape[1]] = image[rows, columns]
        return cut, labels_HW


def _offset(length: int, side: int, rng: np.random.Generator) -> int:
    """Where the crop begins: inside a photo that is longer, before one that is shorter."""
    return int(rng.integers(min(0, length - side), max(0, length - side) + 1))
