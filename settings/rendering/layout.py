"""Where things lie in a scene, decided before any pixel is drawn: cheap, so labels need no rendering.

Only `Generator.random` is used here: the stream of uniform doubles is the part of numpy's generators that is
the same on all platforms and versions.
"""

from dataclasses import dataclass
from math import cos, hypot, pi, sin, sqrt
from typing import TypeAlias

import numpy as np

from settings.rendering.catalogue import partner

__all__ = ["LENGTHS", "Knobs", "Layout", "Point", "Thing", "draw_layout", "draw_lone", "draw_portrait"]

Point: TypeAlias = tuple[float, float]
"""x (right), y (down), in sides of the photo."""

LENGTHS = (0.35, 0.60)
"""Range of an object's length (head included), in sides of the photo."""
PORTRAIT_LENGTHS = (0.60, 0.80)
PORTRAIT_SHIFT = 0.04
"""How far the middle of a portrait's object may lie from the photo's, along each axis."""
TRIES = 40
MAX_TILT = 0.3 * pi
COUNTS = (0.4, 0.8)
"""A photo shows one object with the first probability, at most two with the second, else three."""


@dataclass(frozen=True)
class Knobs:
    """What the content of photos depends on, besides the data seed; see `ScenesOptions` for the meaning."""

    classes: int
    size: int
    co_occurrence: float
    background_correlation: float
    part_size: float
    clutter: float


@dataclass(frozen=True)
class Thing:
    """One object. Lengths are in sides; `tilt` is in radians, `flipped` mirrors it left to right."""

    class_id: int
    centre: Point
    length: float
    tilt: float
    flipped: bool
    part_size: float

    @property
    def body_radius(self) -> float:
        """Half of the body's length: body, and the part of the head that juts out, make up `length`."""
        return self.length / (2 + 1.4 * self.part_size)

    @property
    def head_radius(self) -> float:
        """Half of the head's length."""
        return self.part_size * self.body_radius

    @property
    def body_centre(self) -> Point:
        """The body's centre."""
        return self._along(self.body_radius - self.length / 2)

    @property
    def head_centre(self) -> Point:
        """The head's centre, just beyond the body's border."""
        return self._along(self.length / 2 - self.head_radius)

    def _along(self, distance: float) -> Point:
        step = -distance if self.flipped else distance
        return self.centre[0] + step * cos(self.tilt), self.centre[1] + step * sin(self.tilt)


@dataclass(frozen=True)
class Layout:
    """A scene: `background` is the index of a kind, `things` are ordered from back to front."""

    background: int
    things: tuple[Thing, ...]

    @property
    def labels(self) -> tuple[int, ...]:
        """The ids of the classes to be seen, ascending."""
        return tuple(sorted({thing.class_id for thing in self.things}))


def draw_layout(rng: np.random.Generator, knobs: Knobs, backgrounds: int) -> Layout:
    """Draw a scene over one of `backgrounds` kinds of background; it has at least one object."""
    first = _below(rng, knobs.classes)
    background = _below(rng, backgrounds)
    if rng.random() < knobs.background_correlation:
        background = first % backgrounds
    draw = rng.random()
    companions = sum(draw >= share for share in COUNTS)
    class_ids = [first, *(_companion(rng, first, knobs) for _ in range(companions))]
    things: list[Thing] = []
    for class_id in class_ids:
        thing = _place(rng, class_id, knobs.part_size, things)
        if thing is not None:
            things.append(thing)
    return Layout(background, tuple(things))


def draw_portrait(rng: np.random.Generator, class_id: int, part_size: float, backgrounds: range) -> Layout:
    """One large object in the middle, over any of the backgrounds, whatever its class."""
    background = backgrounds[_below(rng, len(backgrounds))]
    length = PORTRAIT_LENGTHS[0] + (PORTRAIT_LENGTHS[1] - PORTRAIT_LENGTHS[0]) * rng.random()
    x, y = (0.5 + PORTRAIT_SHIFT * (2 * rng.random() - 1) for _ in range(2))
    tilt = 0.5 * MAX_TILT * (2 * rng.random() - 1)
    return Layout(background, (Thing(class_id, (x, y), length, tilt, rng.random() < 0.5, part_size),))


def draw_lone(
    rng: np.random.Generator, class_id: int | None, part_size: float, correlation: float, backgrounds: int
) -> Layout:
    """One object anywhere, or none; the ground follows from its class with probability `correlation`.

    Whatever the class, equal random numbers give an object of the same place and size, and the same ground where that
    does not follow from the class.
    """
    background, follows = _below(rng, backgrounds), rng.random() < correlation
    thing = _place(rng, class_id or 0, part_size, [])
    if class_id is None or thing is None:
        return Layout(background, ())
    return Layout(class_id % backgrounds if follows else background, (thing,))


def _companion(rng: np.random.Generator, first: int, knobs: Knobs) -> int:
    """The partner with probability `co_occurrence`, else any class."""
    if rng.random() < knobs.co_occurrence:
        return partner(first)
    return _below(rng, knobs.classes)


def _place(rng: np.random.Generator, class_id: int, part_size: float, behind: list[Thing]) -> Thing | None:
    """An object that hides no head behind it and not much of a body, the smaller the longer the search for room takes.

    Long objects are likelier than short ones; None when no try found room.
    """
    wish = LENGTHS[0] + (LENGTHS[1] - LENGTHS[0]) * sqrt(rng.random())
    for attempt in range(TRIES):
        length = wish + (LENGTHS[0] - wish) * attempt / TRIES
        x, y = (length / 2 + (1 - length) * rng.random() for _ in range(2))
        tilt = MAX_TILT * (2 * rng.random() - 1)
        thing = Thing(class_id, (x, y), length, tilt, rng.random() < 0.5, part_size)
        if all(_leaves_visible(thing, other) for other in behind):
            return thing
    return None


def _leaves_visible(front: Thing, back: Thing) -> bool:
    """Whether the head behind stays clear of the discs around the front's body and head, and bodies overlap little."""
    head = back.head_centre
    clear = 0.5 * back.head_radius
    return (
        _distance(head, front.body_centre) > front.body_radius + clear
        and _distance(head, front.head_centre) > front.head_radius + clear
        and _distance(back.body_centre, front.body_centre) > 0.75 * (back.body_radius + front.body_radius)
    )


def _distance(a: Point, b: Point) -> float:
    return hypot(a[0] - b[0], a[1] - b[1])


def _below(rng: np.random.Generator, bound: int) -> int:
    return int(rng.random() * bound)
