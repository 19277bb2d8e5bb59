"""Draws one object: soft shadow, textured body, head with snout and eye, lit as rounded things."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from settings.rendering.canvas import Canvas, Picture, Plane, paint, soft_step
from settings.rendering.catalogue import BODIES, HEADS, Outline
from settings.rendering.layout import Thing
from settings.rendering.shapes import Footprint, Pose, footprint, window
from settings.rendering.textures import TEXTURES

__all__ = ["Light", "draw_thing", "parts"]

SHADOW = 0.5
"""How much light a shadow takes where it is deepest."""
EYE = (0.25, -0.28, 0.2)
"""Centre (u, v) and radius of the eye, in radii of the head."""


@dataclass(frozen=True)
class Light:
    """Unit vector towards the light: x right, y down, z to the viewer."""

    x: float
    y: float
    z: float

    @classmethod
    def draw(cls, canvas: Canvas) -> "Light":
        """A light from above, to the left or right."""
        x, y, z = canvas.uniform(-0.7, 0.7), canvas.uniform(-0.8, -0.3), 0.75
        length = (x * x + y * y + z * z) ** 0.5
        return cls(x / length, y / length, z / length)


def parts(thing: Thing, size: int) -> Iterator[tuple[Outline, Pose]]:
    """Body, then head (which lies on top), with their places in pixels."""
    for outline, (x, y), radius in (
        (BODIES[thing.class_id // 2].outline, thing.body_centre, thing.body_radius),
        (HEADS[thing.class_id].outline, thing.head_centre, thing.head_radius),
    ):
        yield outline, Pose((x * size, y * size), radius * size, thing.tilt, thing.flipped)


def draw_thing(picture: Picture, thing: Thing, canvas: Canvas, light: Light, noise: Plane) -> None:
    """Draw the object over the picture (3, H, W), in place; `noise` (H, W) roughens its colours."""
    for outline, pose in parts(thing, canvas.size):
        _cast_shadow(picture, outline, pose, light)
    for part, (outline, pose) in enumerate(parts(thing, canvas.size)):
        pixels = window(pose.centre, pose.radius + 1, canvas.size)
        shape = footprint(outline, pose, pixels)
        rough = noise[pixels.rows, pixels.columns]
        colour = _head(thing, shape, rough, canvas) if part else _body(thing, shape, rough, canvas, pose)
        colour *= _shade(shape, outline, pose, light)
        here = picture[:, pixels.rows, pixels.columns]
        here += shape.cover * (colour - here)


def _body(thing: Thing, shape: Footprint, rough: Plane, canvas: Canvas, pose: Pose) -> Picture:
    look = BODIES[thing.class_id // 2]
    values = TEXTURES[look.texture](shape.u, shape.v, rough, 1 / pose.radius)
    return paint(values, look.colours, canvas.uniform(0.85, 1.15))


def _head(thing: Thing, shape: Footprint, rough: Plane, canvas: Canvas) -> Picture:
    look = HEADS[thing.class_id]
    gain = canvas.uniform(0.9, 1.1)
    snout = soft_step(shape.u - 0.42 + 0.08 * rough, 0.25)
    colour = paint(snout + 0.06 * rough, (look.colour, look.marking), gain)
    away = np.hypot(shape.u - np.float32(EYE[0]), shape.v - np.float32(EYE[1]))
    colour[:, away < EYE[2]] = 0.96
    colour[:, away < 0.65 * EYE[2]] = 0.05
    return colour


def _shade(shape: Footprint, outline: Outline, pose: Pose, light: Light) -> Plane:
    """Brightness of a cushion over the outline, around 1; the light is turned into the outline's own coordinates."""
    turn_x, turn_y = np.cos(pose.tilt), np.sin(pose.tilt)
    along = (light.x * turn_x + light.y * turn_y) * (-1 if pose.flipped else 1)
    across = (light.y * turn_x - light.x * turn_y) / outline.aspect
    height = np.sqrt(np.clip(1 - shape.level**2, 0, 1))
    facing = np.float32(along) * shape.u + np.float32(across) * shape.v + np.float32(light.z) * height
    return 0.5 + np.float32(0.75) * np.clip(facing, 0, 1)


def _cast_shadow(picture: Picture, outline: Outline, pose: Pose, light: Light) -> None:
    x, y = pose.centre
    drop = 0.28 * pose.radius
    centre = x - light.x * drop, y - light.y * drop
    pixels = window(centre, 1.2 * pose.radius, picture.shape[1])
    shape = footprint(outline, Pose(centre, pose.radius, pose.tilt, pose.flipped), pixels)
    dark = soft_step(shape.depth, 0.4 * pose.radius)
    picture[:, pixels.rows, pixels.columns] *= 1 - np.float32(SHADOW) * dark
