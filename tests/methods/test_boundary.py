"""Boundary connectivity by hand: colours of reference, straight paths, a box off the border, a photo of one colour."""

import numpy as np
import pytest

from methods.boundary import background_weights, lab, saliency_of

RED = [53.24, 80.09, 67.20]
"""sRGB (255, 0, 0) in CIE Lab, D65, as colour tables have it."""


@pytest.mark.parametrize(
    ("rgb", "expected"), [((255, 0, 0), RED), ((255, 255, 255), [100, 0, 0]), ((0, 0, 0), [0, 0, 0])]
)
def test_colours_of_reference(rgb: tuple[int, int, int], expected: list[float]) -> None:
    assert np.allclose(lab(np.array([[rgb]], np.uint8))[0, 0], expected, atol=0.05)


def test_weights_of_a_grid_of_two_colours() -> None:
    """Colours 1000 apart: the box reaches itself alone, and the rest all of the border and all of itself."""
    colours = np.zeros((6, 6, 3))
    colours[2:4, 2:4] = 1000
    weights = background_weights(colours).reshape(6, 6)
    outside = 1 - np.exp(-((20 / np.sqrt(32)) ** 2) / 2)
    assert np.allclose(weights[2:4, 2:4], 0, atol=1e-6)
    assert np.allclose(np.delete(weights.ravel(), [14, 15, 20, 21]), outside, atol=1e-6)


def test_paths_add_up_small_steps() -> None:
    """A ramp of 10 a cell, ends on the border: cell k is 10·min(k, n−1−k) from it, or nearer along the border."""
    colours = np.zeros((3, 5, 1))
    colours[1] = np.array([0, 10, 20, 10, 0])[:, None]
    reach = np.exp(-(np.array([0, 10.0]) ** 2) / 200)
    centre = background_weights(colours).reshape(3, 5)[1, 2]
    # The cell in the middle has the border at 20, two neighbours at 10.
    lengths, area = 12 * np.exp(-2.0), 12 * np.exp(-2.0) + 2 * reach[1] + 1
    assert centre == pytest.approx(1 - np.exp(-(lengths**2) / area / 2), rel=1e-6)


def test_a_box_off_the_border_is_salient_and_one_colour_is_not() -> None:
    colours = np.zeros((12, 12, 3))
    colours[4:8, 4:8, 1] = 60
    found = saliency_of(colours)
    assert found[4:8, 4:8].min() > 0.75
    assert np.delete(found, np.s_[3:9], 0).max() < 0.2
    assert not saliency_of(np.full((5, 5, 3), 40.0)).any()
