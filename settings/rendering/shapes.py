"""Outlines on the pixel grid: which pixels they cover, exactly and with smooth edges."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from settings.rendering.canvas import Plane, soft_step
from settings.rendering.catalogue import Outline
from settings.rendering.layout import Point

__all__ = ["Footprint", "Pose", "footprint", "window"]

ANGLES = 4096


@dataclass(frozen=True)
class Pose:
    """Where an outline lies, in pixels; it is mirrored left to right before it is turned by `tilt` (radians)."""

    centre: Point
    radius: float
    tilt: float = 0.0
    flipped: bool = False


@dataclass(frozen=True)
class Window:
    """The pixels first..last of both axes that an outline may touch."""

    rows: slice
    columns: slice


def window(centre: Point, reach: float, size: int) -> Window:
    """All pixels of a `size` x `size` photo at most `reach` pixels from `centre` along each axis."""
    spans = [slice(max(0, int(c - reach)), min(size, int(c + reach) + 2)) for c in centre]
    return Window(spans[1], spans[0])


@dataclass(frozen=True)
class Footprint:
    """An outline in a window: planes (H, W) of the window's size.

    `u` and `v` are the outline's own coordinates (its largest radius is 1), `depth` is the distance to the border
    in pixels (positive inside, exact near the border), `level` runs from 0 at the centre to 1 at the border.
    """

    u: Plane
    v: Plane
    level: Plane
    depth: Plane

    @property
    def inside(self) -> NDArray[np.bool_]:
        """The pixels whose centres lie inside."""
        return self.depth > 0

    @property
    def cover(self) -> Plane:
        """How much of each pixel lies inside, 0..1."""
        return soft_step(self.depth, 1)


def footprint(outline: Outline, pose: Pose, pixels: Window) -> Footprint:
    """The outline in `pose`, on the pixels of a window."""
    x = np.arange(pixels.columns.start, pixels.columns.stop, dtype=np.float32) + np.float32(0.5 - pose.centre[0])
    y = np.arange(pixels.rows.start, pixels.rows.stop, dtype=np.float32) + np.float32(0.5 - pose.centre[1])
    turned_x = np.float32(np.cos(pose.tilt) / pose.radius)
    turned_y = np.float32(np.sin(pose.tilt) / pose.radius)
    u = x * turned_x + (y * turned_y)[:, None]
    v = -x * turned_y + (y * turned_x)[:, None]
    if pose.flipped:
        u = -u
    index = (np.arctan2(v, u) * np.float32(ANGLES / (2 * np.pi)) + np.float32(ANGLES)).astype(np.int32) & (ANGLES - 1)
    radii, slants = _polar(outline)
    level = np.sqrt(u * u + v * v) / radii.take(index)
    return Footprint(u, v, level, (1 - level) * slants.take(index) * np.float32(pose.radius))


@cache
def _polar(outline: Outline) -> tuple[Plane, Plane]:
    """By polar angle: the radius, and the distance to the border for each unit of 1 - level close to it."""
    angle = (np.arange(ANGLES) + 0.5) * (2 * np.pi / ANGLES)
    power = outline.exponent
    radius = (np.abs(np.cos(angle)) ** power + np.abs(np.sin(angle) / outline.aspect) ** power) ** (-1 / power)
    for count, amplitude, phase in outline.lobes:
        radius *= 1 + amplitude * np.cos(count * angle + phase)
    radius /= radius.max()
    slope = np.gradient(radius, 2 * np.pi / ANGLES) / radius
    return radius.astype(np.float32), (radius / np.sqrt(1 + slope**2)).astype(np.float32)
