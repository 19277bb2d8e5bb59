"""What bodies are covered with: each texture is a plane of values, roughly 0..1, in the body's own coordinates."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from settings.rendering.canvas import Plane, soft_step

__all__ = ["TEXTURES"]

Texture: TypeAlias = Callable[[Plane, Plane, Plane, float], Plane]
"""Of u and v (the body reaches from -1 to 1 along u), noise of deviation 1, and the size of a pixel in u."""

TURN = np.float32(2 * np.pi)


def _stripes(u: Plane, v: Plane, noise: Plane, pixel: float) -> Plane:
    wave = np.sin(TURN * (1.7 * u + 0.25 * v**2 + 0.06 * noise))
    values: Plane = 0.5 + 0.42 * soft_step(wave, 0.5 + 12 * pixel) - 0.21 + 0.07 * noise
    return values


def _spots(u: Plane, v: Plane, noise: Plane, pixel: float) -> Plane:
    rows = 3.2 * v + 0.5
    shifted = 3.2 * u + 0.5 * np.mod(np.floor(rows), 2)
    distance = np.hypot(shifted - np.floor(shifted) - 0.5, rows - np.floor(rows) - 0.5)
    values: Plane = 0.12 + 0.75 * soft_step(0.29 + 0.04 * noise - distance, 4 * pixel) + 0.06 * noise
    return values


def _checks(u: Plane, v: Plane, noise: Plane, pixel: float) -> Plane:
    wave = np.sin(TURN * 1.5 * (u + 0.02 * noise)) * np.sin(TURN * 1.5 * v)
    values: Plane = 0.2 + 0.6 * soft_step(wave, 0.2 + 10 * pixel) + 0.06 * noise
    return values


def _scales(u: Plane, v: Plane, noise: Plane, pixel: float) -> Plane:
    columns = 4.5 * u
    column = np.floor(columns)
    rows = 4.5 * v + 0.5 * np.mod(column, 2)
    # A scale is brightest at its free rim, which bulges towards -u.
    bulge = columns - column + 1.2 * (rows - np.floor(rows) - 0.5) ** 2
    values: Plane = 0.85 - 0.65 * np.mod(bulge, np.float32(1)) + 0.07 * noise
    return values


def _fur(u: Plane, v: Plane, noise: Plane, pixel: float) -> Plane:
    values: Plane = 0.5 + 0.2 * noise + 0.1 * np.sin(TURN * (4 * v + 0.8 * u + 0.3 * noise))
    return values


TEXTURES: Mapping[str, Texture] = {
    "stripes": _stripes,
    "spots": _spots,
    "checks": _checks,
    "scales": _scales,
    "fur": _fur,
}
