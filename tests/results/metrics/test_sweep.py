"""The one-pass sweep against thresholding and counting at every threshold."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from results.metrics.counts import count
from results.metrics.miou import mean_iou
from results.metrics.sweep import Sweep, exceeded, threshold_sweep, thresholds

CLASSES = 4


def nothing(classes: int, steps: int = 100) -> Sweep:
    return Sweep(np.zeros((classes, classes, steps + 1), np.int64))


def around(value: np.float32) -> list[float]:
    near = [np.nextafter(value, np.float32(0)), value, np.nextafter(value, np.float32(2))]
    return [float(v) for v in near if 0 <= v <= 1]


def scores(steps: int) -> st.SearchStrategy[float]:
    tricky = [v for k in range(steps + 1) for v in around(np.float32(k / steps))]
    return st.one_of(st.sampled_from(tricky), st.floats(0, 1, width=32))


@st.composite
def images(draw: Callable) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    steps = draw(st.sampled_from([1, 2, 3, 7, 100, 255]))
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=8))
    score = draw(hnp.arrays(np.float32, shape, elements=scores(steps)))
    winner = draw(hnp.arrays(np.uint8, shape, elements=st.integers(1, CLASSES - 1)))
    truth = draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([*range(CLASSES), 255])))
    return score, winner, truth, steps


@given(images())
@settings(max_examples=60, deadline=None)
def test_every_threshold_equals_thresholding_and_counting(image: tuple) -> None:
    score, winner, truth, steps = image
    sweep = threshold_sweep(score, winner, truth, CLASSES, steps)
    curve = sweep.curve()
    for k in range(steps):
        counted = count(np.where(score > np.float32(k / steps), winner, 0), truth, CLASSES)
        assert sweep.counts(k) == counted
        assert np.array_equal(curve[k], mean_iou(counted).mean, equal_nan=True)


@pytest.mark.parametrize("steps", [1, 3, 10, 49, 100, 127, 255, 1000])
def test_exceeded_is_exact_one_ulp_around_every_threshold(steps: int) -> None:
    values = np.array([v for k in range(steps + 1) for v in around(np.float32(k / steps))], np.float32)
    limits = np.array([np.float32(k / steps) for k in range(steps)])
    naive = [int((v > limits).sum()) for v in values]
    assert exceeded(values[None], steps)[0].tolist() == naive


def test_exceeded_agrees_with_a_search_on_many_scores() -> None:
    values = np.random.default_rng(0).random((400, 500), np.float32)
    assert np.array_equal(exceeded(values, 100), np.searchsorted(thresholds(100), values, side="left"))


def test_best_is_the_lowest_of_the_best_thresholds() -> None:
    score = np.array([[0.5, 0.9, 0.25]], np.float32)
    sweep = threshold_sweep(score, np.array([[1, 1, 1]], np.uint8), np.array([[0, 1, 0]], np.uint8), 2, 4)
    assert sweep.thresholds.tolist() == [0, 0.25, 0.5, 0.75]
    assert sweep.curve().tolist() == [1 / 6, (1 / 2 + 1 / 2) / 2, 1, 1]
    assert sweep.best() == (0.5, 1.0)


def test_an_image_without_known_pixels_has_no_best() -> None:
    best = nothing(3).best()
    assert np.isnan(best.threshold) and np.isnan(best.miou)


def test_sweeps_add() -> None:
    rng = np.random.default_rng(1)
    score, winner = rng.random((4, 6), np.float32), rng.integers(1, 4, (4, 6)).astype(np.uint8)
    truth = rng.integers(0, 4, (4, 6)).astype(np.uint8)
    halves = [threshold_sweep(score[i::2], winner[i::2], truth[i::2], 4, 10) for i in range(2)]
    assert sum(halves) == sum(halves, nothing(4, 10)) == threshold_sweep(score, winner, truth, 4, 10)
    assert halves[0] != halves[1] and hash(halves[0]) != hash(halves[1])
    with pytest.raises(ValueError, match="cannot be added"):
        halves[0] + nothing(4, 11)


ONE = np.ones((1, 1), np.uint8)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -0.001, 1.001])
def test_scores_outside_0_to_1_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite and within"):
        threshold_sweep(np.array([[bad]], np.float32), ONE, ONE, 2)


def test_types_sizes_and_values_are_checked() -> None:
    score = np.array([[0.5]], np.float32)
    for arguments, message in (
        ((score.astype(np.float64), ONE, ONE, 2), "float32"),
        ((score, 0 * ONE, ONE, 2), "winners must be 1..1"),
        ((score, 2 * ONE, ONE, 2), "winners must be 1..1"),
        ((score, ONE, 2 * ONE, 2), "truth must be below 2"),
        ((score, ONE, np.ones((1, 2), np.uint8), 2), "truth"),
        ((np.zeros((2, 1), np.float32), ONE, ONE, 2), "truth"),
        ((score, ONE, ONE, 2, 0), "steps must be"),
        ((score, ONE, ONE, 1), "classes must be"),
    ):
        with pytest.raises(ValueError, match=message):
            threshold_sweep(*arguments)
    with pytest.raises(IndexError, match=r"0\.\.99"):
        nothing(2).counts(100)
