"""Draws a layout: the photo back to front, or its mask alone from the very same outlines."""

import numpy as np

from settings.records import Image, Mask
from settings.rendering.backgrounds import EVERY_GROUND
from settings.rendering.canvas import Canvas, Picture
from settings.rendering.clutter import draw_clutter
from settings.rendering.layout import Layout
from settings.rendering.objects import Light, draw_thing, parts
from settings.rendering.shapes import footprint, window

__all__ = ["draw_mask", "draw_photo"]

GRAIN = np.float32(13)
"""Range of the sensor noise, in 8-bit levels."""


def draw_mask(layout: Layout, size: int) -> Mask:
    """The exact mask, uint8 (size, size): class id + 1 where a pixel's centre lies in an object, else 0."""
    mask = np.zeros((size, size), np.uint8)
    for thing in layout.things:
        for outline, pose in parts(thing, size):
            pixels = window(pose.centre, pose.radius, size)
            mask[pixels.rows, pixels.columns][footprint(outline, pose, pixels).inside] = thing.class_id + 1
    return mask


def draw_photo(layout: Layout, size: int, clutter: float, rng: np.random.Generator) -> Image:
    """The photo, uint8 RGB (size, size, 3); `clutter` (0..1) is how many small things lie about."""
    canvas = Canvas(size, rng)
    light = Light.draw(canvas)
    picture = EVERY_GROUND[layout.background].draw(canvas)
    draw_clutter(picture, canvas, clutter)
    noise = canvas.noise(10, 1.2)
    for thing in layout.things:
        draw_thing(picture, thing, canvas, light, noise)
    return _expose(picture, canvas, light)


def _expose(picture: Picture, canvas: Canvas, light: Light) -> Image:
    """What a camera makes of it: light that falls off across the scene, a colour cast, sensor noise, 8 bits."""
    x_HW, y_HW = canvas.grid
    fall = 1 + np.float32(0.35 * light.x) * (x_HW - 0.5) + np.float32(0.35 * light.y) * (y_HW - 0.5)
    cast = 255 + 16 * (2 * canvas.rng.random((3, 1, 1), np.float32) - 1)
    lit = picture * fall
    lit *= cast
    # Half a level of the addend rounds to the nearest 8-bit value.
    lit += GRAIN * (canvas.rng.random(fall.shape, np.float32) - np.float32(0.5)) + np.float32(0.5)
    return np.ascontiguousarray(np.clip(lit, 0, 255, out=lit).astype(np.uint8).transpose(1, 2, 0))
