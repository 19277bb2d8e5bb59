"""Looks that web photos have and target photos have not: grey, drawn, out of focus, watermarked.

Each style is a function of an image and random numbers; sizes follow the image's shorter side, so that a style looks
the same at any size. Only `Generator.random` is used, whose numbers are the same on all platforms and versions.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageFilter

from settings.records import Image

__all__ = ["LETTERS", "STYLES", "blur", "grey", "sketch", "watermark"]

Style: TypeAlias = Callable[[Image, np.random.Generator], Image]
"""Of an image, uint8 RGB (H, W, 3), which it leaves as it is, and random numbers; another of the same size."""

LETTERS = (
    "1111.11111.11111.1...1",
    "1......1...1...1.1..1.",
    "1111...1...1...1.1.1..",
    "...1...1...1...1.11.1.",
    "1111...1...11111.1...1",
)
"""The watermark's writing, `STOK` in square letters: no font, whose pixels would change with its version."""


def grey(image: Image, rng: np.random.Generator) -> Image:
    """The luma (ITU-R BT.601) as all three channels."""
    return _three(_luma(image))


def sketch(image: Image, rng: np.random.Generator) -> Image:
    """A pencil drawing by colour dodge: the luma divided by its blurred self, so that edges alone stay dark."""
    luma_HW = _luma(image)
    radius = _side(image) * (0.01 + 0.015 * rng.random())
    blurred_HW = np.asarray(PillowImage.fromarray(luma_HW).filter(ImageFilter.GaussianBlur(radius)), np.float32)
    ratio_HW = (luma_HW + np.float32(1)) / (blurred_HW + np.float32(1))
    # Pencils press: the square deepens the lines.
    return _three(np.clip(255 * ratio_HW**2, 0, 255).astype(np.uint8))


def blur(image: Image, rng: np.random.Generator) -> Image:
    """Out of focus: a Gaussian blur of 1.5 to 3 % of the side."""
    radius = _side(image) * (0.015 + 0.015 * rng.random())
    return np.array(PillowImage.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def watermark(image: Image, rng: np.random.Generator) -> Image:
    """White writing across the photo, line after line, 35 to 60 % opaque."""
    opacity = 0.35 + 0.25 * rng.random()
    alpha_HW = np.float32(opacity) * _writing(image.shape[0], image.shape[1], _side(image), rng)
    return (image + alpha_HW[..., None] * (np.float32(255) - image) + np.float32(0.5)).astype(np.uint8)


STYLES: Mapping[str, Style] = {"grey": grey, "sketch": sketch, "blur": blur, "watermark": watermark}


def _writing(height: int, width: int, side: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Where there is ink, (H, W): slanted lines of LETTERS, with gaps of their own height between them."""
    dot = max(1.0, side * (0.012 + 0.008 * rng.random()))
    tilt = 0.35 + 0.35 * rng.random()
    across, down = rng.random(), rng.random()
    ink = np.array([[letter == "1" for letter in line] for line in LETTERS])
    tile = np.zeros((2 * ink.shape[0], ink.shape[1] + 4), bool)
    tile[: ink.shape[0], : ink.shape[1]] = ink
    y_H1, x_1W = np.arange(height, dtype=np.float32)[:, None] / dot, np.arange(width, dtype=np.float32) / dot
    cos, sin = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
    u_HW = x_1W * cos - y_H1 * sin + np.float32(across * tile.shape[1])
    v_HW = x_1W * sin + y_H1 * cos + np.float32(down * tile.shape[0])
    rows, columns = (np.floor(v_HW).astype(np.int32), np.floor(u_HW).astype(np.int32))
    written: NDArray[np.bool_] = tile[rows % tile.shape[0], columns % tile.shape[1]]
    return written


def _luma(image: Image) -> NDArray[np.uint8]:
    wide = image.astype(np.uint32)
    return ((299 * wide[..., 0] + 587 * wide[..., 1] + 114 * wide[..., 2] + 500) // 1000).astype(np.uint8)


def _three(plane_HW: NDArray[np.uint8]) -> Image:
    return np.repeat(plane_HW[..., None], 3, axis=2)


def _side(image: Image) -> int:
    height, width = image.shape[:2]
    return int(min(height, width))
