"""The kinds of ground that objects lie on: each is a plane of values and the colours that it runs through."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from settings.rendering.canvas import Canvas, Picture, Plane, paint, soft_step
from settings.rendering.catalogue import Colour

__all__ = ["BACKDROPS", "EVERY_GROUND", "GROUNDS"]


@dataclass(frozen=True)
class Ground:
    """A kind of background: `values` draws a plane, roughly 0..1, that `colours` turn into a picture."""

    name: str
    values: Callable[[Canvas], Plane]
    colours: tuple[Colour, ...]

    def draw(self, canvas: Canvas) -> Picture:
        """A new picture of this ground, (3, H, W)."""
        return paint(self.values(canvas), self.colours, canvas.uniform(0.8, 1.15))


def _grass(canvas: Canvas) -> Plane:
    blades = canvas.noise(9, 1.4, (1.0, 0.25))
    values: Plane = 0.42 + 0.17 * blades + 0.07 * canvas.noise(2, 2.5)
    return values


def _sand(canvas: Canvas) -> Plane:
    x, y = canvas.grid
    dunes = canvas.noise(1.5, 3)
    phase = canvas.uniform(6, 10) * (y + canvas.uniform(-0.5, 0.5) * x) + 0.35 * dunes
    values: Plane = 0.5 + 0.16 * np.sin(np.float32(2 * np.pi) * phase) + 0.08 * dunes + 0.09 * canvas.noise(60, 1)
    return values


def _water(canvas: Canvas) -> Plane:
    swell = canvas.noise(3, 2.2, (2.5, 0.6))
    ripples = canvas.noise(12, 2.5, (2.5, 0.6))
    values: Plane = 0.34 + 0.12 * swell + 0.18 * ripples**2 - 0.05 * ripples
    return values


def _brick(canvas: Canvas) -> Plane:
    return _wall(canvas, rows=int(canvas.uniform(6, 9)), width=2.0, joint=0.14)


def _tiles(canvas: Canvas) -> Plane:
    return _wall(canvas, rows=int(canvas.uniform(4, 6)), width=1.0, joint=0.07)


def _wall(canvas: Canvas, rows: int, width: float, joint: float) -> Plane:
    """Courses of stones `width` times as wide as high, values up to 0.8, with joints of value 1."""
    x, y = canvas.grid
    row = np.floor(y * rows)
    across = x * np.float32(rows / width) + np.float32(0.5 * (width > 1)) * row
    stone = np.floor(across)
    tones = canvas.rng.random((rows + 1, 2 * rows + 3), np.float32)
    tone = tones[row.astype(np.intp), stone.astype(np.intp)]
    edge_x, edge_y = 0.5 - np.abs(across - stone - 0.5), 0.5 - np.abs(y * rows - row - 0.5)
    edge = np.minimum(edge_x * width, edge_y)
    cover = soft_step(edge - joint / 2, 2 * rows / canvas.size)
    values: Plane = 1 + cover * (0.2 + 0.32 * tone + 0.09 * canvas.noise(16, 1.2) - 1)
    return values


def _sky(canvas: Canvas) -> Plane:
    clouds = canvas.noise(2.5, 2.3, (1.6, 1.0))
    values: Plane = 0.12 + 0.4 * canvas.grid[1] + soft_step(clouds - 0.5, 2.2) * 0.75
    return values


def _wood(canvas: Canvas) -> Plane:
    _, y = canvas.grid
    boards = 5 * y + canvas.uniform(0, 1)
    board = np.floor(boards)
    tones = canvas.rng.random(8, np.float32)[board.astype(np.intp)]
    grain = np.sin(30 * y + 9 * tones + 1.6 * canvas.noise(2, 2.5, (4.0, 1.0)))
    gap = soft_step(0.5 - np.abs(boards - board - 0.5) - 0.03, 10 / canvas.size)
    values: Plane = gap * (0.36 + 0.28 * tones + 0.12 * grain + 0.09 * canvas.noise(20, 1.2, (6.0, 1.0)))
    return values


def _pebbles(canvas: Canvas) -> Plane:
    # Ridges of noise: where smooth noise crosses zero lie the gaps between stones.
    gaps: Plane = np.minimum(np.abs(canvas.noise(7, 5)), np.abs(canvas.noise(7, 5)))
    values: Plane = soft_step(gaps - 0.2, 0.5) * 0.55 + 0.2 + 0.1 * canvas.noise(4, 2) + 0.05 * canvas.noise(50, 1)
    return values


def _leaves(canvas: Canvas) -> Plane:
    layers = np.maximum(canvas.noise(8, 4, (1.0, 0.6)), canvas.noise(8, 4, (0.6, 1.0)) - 0.2)
    values: Plane = 0.3 + 0.24 * layers + 0.05 * canvas.noise(50, 1)
    return values


def _snow(canvas: Canvas) -> Plane:
    values: Plane = 0.72 + 0.12 * canvas.noise(2, 2.6, (1.8, 1.0)) + 0.06 * canvas.noise(50, 1)
    return values


def _backdrop(canvas: Canvas) -> Plane:
    values: Plane = canvas.uniform(0.35, 0.65) + 0.1 * canvas.noise(1, 3) + 0.25 * (canvas.grid[1] - 0.5)
    return values


GROUNDS = (
    Ground("grass", _grass, ((0.10, 0.20, 0.06), (0.26, 0.44, 0.13), (0.52, 0.66, 0.26), (0.76, 0.80, 0.46))),
    Ground("sand", _sand, ((0.50, 0.38, 0.24), (0.76, 0.63, 0.44), (0.93, 0.84, 0.66))),
    Ground("water", _water, ((0.04, 0.16, 0.26), (0.12, 0.36, 0.48), (0.34, 0.60, 0.68), (0.92, 0.97, 0.97))),
    Ground("brick", _brick, ((0.32, 0.12, 0.09), (0.66, 0.30, 0.20), (0.72, 0.46, 0.34), (0.78, 0.74, 0.68))),
    Ground("sky", _sky, ((0.22, 0.44, 0.76), (0.48, 0.68, 0.90), (0.86, 0.91, 0.96), (0.98, 0.98, 0.97))),
    Ground("wood", _wood, ((0.14, 0.08, 0.05), (0.46, 0.28, 0.15), (0.72, 0.50, 0.29), (0.88, 0.70, 0.47))),
    Ground("pebbles", _pebbles, ((0.12, 0.12, 0.12), (0.44, 0.43, 0.42), (0.70, 0.67, 0.63), (0.86, 0.85, 0.82))),
    Ground("leaves", _leaves, ((0.05, 0.10, 0.05), (0.20, 0.28, 0.08), (0.56, 0.42, 0.12), (0.80, 0.56, 0.20))),
    Ground("snow", _snow, ((0.46, 0.54, 0.66), (0.78, 0.84, 0.90), (0.98, 0.98, 1.00))),
    Ground("tiles", _tiles, ((0.46, 0.56, 0.56), (0.70, 0.76, 0.74), (0.86, 0.88, 0.84), (0.40, 0.40, 0.40))),
)

BACKDROPS = (
    Ground("paper", _backdrop, ((0.78, 0.78, 0.80), (0.98, 0.98, 0.98))),
    Ground("cloth", _backdrop, ((0.42, 0.46, 0.54), (0.66, 0.70, 0.76))),
    Ground("card", _backdrop, ((0.74, 0.66, 0.54), (0.94, 0.88, 0.78))),
    Ground("slate", _backdrop, ((0.20, 0.22, 0.24), (0.40, 0.42, 0.44))),
)
"""Plain grounds of photos of one object; they tell nothing of its class."""
EVERY_GROUND = (*GROUNDS, *BACKDROPS)
"""What `Layout.background` counts: first the grounds of scenes, then the backdrops."""
