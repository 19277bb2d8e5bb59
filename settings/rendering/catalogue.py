"""What the classes look like: partner classes share a body; a head of its own tells each class."""

from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["BODIES", "HEADS", "MAX_CLASSES", "NAMES", "Colour", "Outline", "partner"]

Colour: TypeAlias = tuple[float, float, float]
"""RGB, 0..1."""


@dataclass(frozen=True)
class Outline:
    """A closed curve around (0, 0) by polar angle: a superellipse whose radius is modulated by cosines.

    `aspect` is height / length, `exponent` the superellipse's (2: ellipse, larger: boxier), `lobes` are
    (count, amplitude, phase) of the cosines. Curves are scaled so that the largest radius is 1.
    """

    aspect: float = 1.0
    exponent: float = 2.0
    lobes: tuple[tuple[int, float, float], ...] = ()


@dataclass(frozen=True)
class Body:
    """What partners share; `colours` go from the texture's lowest to its highest value."""

    outline: Outline
    texture: str
    colours: tuple[Colour, ...]


@dataclass(frozen=True)
class Head:
    """What tells a class from its partner."""

    outline: Outline
    colour: Colour
    marking: Colour


ELLIPSE = Outline(0.76, 2.0)
BOX = Outline(0.72, 4.0)
BEAN = Outline(0.80, 2.2, ((1, 0.10, 1.6), (2, 0.05, 0.8), (3, 0.06, 1.6)))
STAR = Outline(0.95, 2.0, ((6, 0.09, 0.0),))
PEBBLE = Outline(0.84, 2.6, ((3, 0.09, 1.6), (4, 0.04, 1.0)))

DISC = Outline()
TRIANGLE = Outline(1.0, 2.0, ((3, 0.22, 0.0), (6, 0.05, 0.0)))
SQUARE = Outline(1.0, 5.0)
BURST = Outline(1.0, 2.0, ((7, 0.16, 0.0),))
DROP = Outline(0.8, 2.0, ((1, 0.18, 0.0),))
CLOVER = Outline(1.0, 2.0, ((4, 0.20, 0.8),))

BODIES = (
    Body(BEAN, "stripes", ((0.16, 0.11, 0.09), (0.35, 0.22, 0.10), (0.86, 0.58, 0.16), (0.96, 0.76, 0.30))),
    Body(BOX, "scales", ((0.07, 0.20, 0.33), (0.15, 0.42, 0.58), (0.45, 0.72, 0.80))),
    Body(STAR, "spots", ((0.72, 0.42, 0.62), (0.62, 0.28, 0.52), (0.28, 0.08, 0.26))),
    Body(ELLIPSE, "fur", ((0.30, 0.19, 0.12), (0.55, 0.38, 0.25), (0.78, 0.63, 0.48))),
    Body(PEBBLE, "checks", ((0.16, 0.30, 0.14), (0.30, 0.50, 0.20), (0.74, 0.80, 0.40))),
    Body(BOX, "stripes", ((0.13, 0.13, 0.15), (0.30, 0.30, 0.32), (0.86, 0.85, 0.82), (0.95, 0.94, 0.92))),
    Body(BEAN, "spots", ((0.88, 0.72, 0.48), (0.80, 0.60, 0.34), (0.26, 0.16, 0.10))),
    Body(PEBBLE, "fur", ((0.20, 0.20, 0.24), (0.42, 0.42, 0.47), (0.68, 0.68, 0.72))),
    Body(ELLIPSE, "scales", ((0.30, 0.07, 0.06), (0.62, 0.20, 0.13), (0.88, 0.52, 0.34))),
    Body(STAR, "checks", ((0.12, 0.26, 0.30), (0.20, 0.50, 0.50), (0.90, 0.90, 0.80))),
)

HEADS = (
    Head(DISC, (0.82, 0.20, 0.14), (0.98, 0.90, 0.78)),
    Head(TRIANGLE, (0.20, 0.34, 0.70), (0.92, 0.84, 0.30)),
    Head(SQUARE, (0.92, 0.80, 0.26), (0.45, 0.16, 0.10)),
    Head(BURST, (0.86, 0.40, 0.55), (0.97, 0.95, 0.92)),
    Head(CLOVER, (0.22, 0.62, 0.36), (0.95, 0.93, 0.55)),
    Head(DROP, (0.94, 0.92, 0.86), (0.80, 0.36, 0.10)),
    Head(TRIANGLE, (0.93, 0.55, 0.14), (0.20, 0.15, 0.14)),
    Head(DISC, (0.30, 0.62, 0.66), (0.16, 0.22, 0.34)),
    Head(BURST, (0.45, 0.20, 0.58), (0.92, 0.80, 0.94)),
    Head(SQUARE, (0.84, 0.26, 0.30), (0.96, 0.86, 0.60)),
    Head(DROP, (0.16, 0.42, 0.80), (0.95, 0.95, 0.98)),
    Head(CLOVER, (0.90, 0.45, 0.18), (0.35, 0.10, 0.10)),
    Head(BURST, (0.14, 0.48, 0.42), (0.90, 0.95, 0.70)),
    Head(DISC, (0.74, 0.16, 0.42), (0.98, 0.80, 0.84)),
    Head(TRIANGLE, (0.95, 0.88, 0.42), (0.30, 0.20, 0.55)),
    Head(CLOVER, (0.66, 0.18, 0.12), (0.95, 0.75, 0.40)),
    Head(SQUARE, (0.26, 0.40, 0.30), (0.86, 0.86, 0.70)),
    Head(DROP, (0.86, 0.72, 0.90), (0.38, 0.16, 0.46)),
    Head(DISC, (0.96, 0.64, 0.20), (0.20, 0.28, 0.50)),
    Head(BURST, (0.55, 0.30, 0.16), (0.98, 0.90, 0.70)),
)

NAMES = (
    *("bee", "wasp", "carp", "trout", "newt", "gecko", "hare", "rabbit", "frog", "toad"),
    *("zebra", "okapi", "lynx", "ocelot", "otter", "beaver", "crab", "shrimp", "moth", "beetle"),
)

MAX_CLASSES = len(NAMES)


def partner(class_id: int) -> int:
    """The class that shares the body of `class_id`."""
    return class_id ^ 1
