"""Small things that belong to no class: leaves, stones and sticks strewn over the ground, behind all objects."""

import numpy as np

from settings.rendering.canvas import Canvas, Picture
from settings.rendering.catalogue import Outline
from settings.rendering.shapes import Pose, footprint, window

__all__ = ["draw_clutter"]

OUTLINES = (
    Outline(0.16, 3.0),
    Outline(0.45, 2.0, ((2, 0.1, 0.3),)),
    Outline(0.8, 2.4, ((3, 0.1, 0.5),)),
    Outline(0.9, 2.0, ((5, 0.18, 0.2),)),
)
MOST = 24
"""How many things lie about, on average, when clutter is 1."""


def draw_clutter(picture: Picture, canvas: Canvas, clutter: float) -> None:
    """Strew around MOST * `clutter` things over the picture (3, H, W), in place."""
    for _ in range(round(MOST * clutter * canvas.uniform(0.5, 1.5))):
        _draw_one(picture, canvas)


def _draw_one(picture: Picture, canvas: Canvas) -> None:
    outline = OUTLINES[int(canvas.uniform(0, len(OUTLINES)))]
    radius = canvas.uniform(0.02, 0.06) * canvas.size
    centre = canvas.uniform(0, canvas.size), canvas.uniform(0, canvas.size)
    pixels = window(centre, radius + 1, canvas.size)
    shape = footprint(outline, Pose(centre, radius, canvas.uniform(0, 2 * np.pi)), pixels)
    colour = _colour(canvas) * (1.1 - 0.4 * shape.level - 0.25 * shape.v)
    here = picture[:, pixels.rows, pixels.columns]
    here += shape.cover * (colour - here)


def _colour(canvas: Canvas) -> Picture:
    """A colour of any hue, rather dull than bright, (3, 1, 1)."""
    hue = canvas.rng.random((3, 1, 1), np.float32)
    return 0.25 + 0.3 * canvas.rng.random((1, 1, 1), np.float32) + 0.45 * (hue - 0.5)
