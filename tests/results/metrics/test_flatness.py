"""Flatness against closed forms."""

import math

import numpy as np
import pytest

from results.metrics.flatness import Flatness, flatness, mean_flatness

MAP_HW = np.array([[0.8, 0.4, 0.2], [0.1, 0.0, 0.3]], np.float32)


def test_means_over_the_peak_inside_and_outside() -> None:
    """Class 1 is value 2; another class (1) and unknown pixels are on neither side."""
    truth_HW = np.array([[2, 2, 0], [0, 1, 255]], np.uint8)
    assert flatness(MAP_HW, truth_HW, 1) == pytest.approx((0.6 / 0.8, 0.15 / 0.8))


def test_the_peak_may_lie_outside() -> None:
    truth_HW = np.array([[0, 0, 0], [1, 1, 1]], np.uint8)
    inside, outside = flatness(MAP_HW, truth_HW, 0)
    assert inside == pytest.approx(0.4 / 3 / 0.8)
    assert outside == pytest.approx(1.4 / 3 / 0.8)


def test_what_is_not_there_is_undefined() -> None:
    object_everywhere = np.ones((2, 3), np.uint8)
    assert math.isnan(flatness(MAP_HW, object_everywhere, 0).outside)
    assert math.isnan(flatness(MAP_HW, object_everywhere, 1).inside)
    assert all(map(math.isnan, flatness(np.zeros((2, 3), np.float32), object_everywhere, 0)))


def test_means_leave_out_what_is_undefined() -> None:
    values = [Flatness(0.5, math.nan), Flatness(0.7, 0.1), Flatness(math.nan, 0.2)]
    assert mean_flatness(values) == pytest.approx((0.6, 0.15))
    assert all(map(math.isnan, mean_flatness([])))
    assert math.isnan(mean_flatness([Flatness(math.nan, 0.5)]).inside)
