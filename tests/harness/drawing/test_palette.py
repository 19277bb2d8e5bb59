"""The colours of classes: far from each other and from grey, by CIELAB worked out here number by number."""

from itertools import combinations
from math import dist, hypot

import numpy as np
import pytest

from harness.drawing.overlays import mask_colours
from harness.drawing.palette import class_colours, to_lab


def naive_lab(red: int, green: int, blue: int) -> tuple[float, float, float]:
    linear = []
    for value in (red / 255, green / 255, blue / 255):
        linear.append(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4)
    matrix = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    roots = []
    for row, white in zip(matrix, (0.9505, 1.0, 1.089), strict=True):
        ratio = sum(weight * value for weight, value in zip(row, linear, strict=True)) / white
        roots.append(ratio ** (1 / 3) if ratio > 216 / 24389 else (24389 / 27 * ratio + 16) / 116)
    x, y, z = roots
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def test_lab_is_that_of_the_standard() -> None:
    """Red and white under D65 as tables have them; others as worked out above, the dark ones on the straight part."""
    assert to_lab(np.array([[255, 0, 0], [255, 255, 255]], np.uint8)) == pytest.approx(
        np.array([[53.24, 80.09, 67.22], [100, 0, 0]]), abs=0.02
    )
    colours = [(0, 0, 0), (3, 2, 1), (20, 200, 90), (128, 64, 255)]
    assert to_lab(np.array(colours, np.uint8)) == pytest.approx(np.array([naive_lab(*c) for c in colours]), abs=0.01)


@pytest.mark.parametrize(("classes", "least"), [(6, 80), (10, 55), (20, 38), (80, 18)])
def test_classes_are_told_apart(classes: int, least: float) -> None:
    """VOC's own colours of its 20 classes come as near as 8.8 to each other; a just visible difference is about 2."""
    lab = [naive_lab(*colour) for colour in mask_colours()[1 : classes + 1].tolist()]
    assert min(dist(one, other) for one, other in combinations(lab, 2)) >= least


def test_no_class_is_grey_black_or_white() -> None:
    for lightness, a, b in (naive_lab(*colour) for colour in class_colours(254).tolist()):
        assert hypot(a, b) >= 35 and 32 <= lightness <= 90
    assert mask_colours()[[0, 255]].tolist() == [[0] * 3, [255] * 3]


def test_a_class_keeps_its_colour_however_many_follow() -> None:
    assert (class_colours(6) == class_colours(254)[:6]).all()
    assert len({tuple(colour) for colour in class_colours(254).tolist()}) == 254
