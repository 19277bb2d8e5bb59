"""Counts against a triple loop, and what is refused."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from results.metrics.counts import Counts, count, coverage, fill_void

CLASSES = 5
SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=7)


def naive_confusion(prediction: np.ndarray, truth: np.ndarray, classes: int) -> list[list[int]]:
    confusion = [[0] * classes for _ in range(classes)]
    for y in range(truth.shape[0]):
        for x in range(truth.shape[1]):
            if truth[y, x] != 255:
                confusion[truth[y, x]][prediction[y, x]] += 1
    return confusion


@st.composite
def pairs(draw: Callable) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(SHAPES)
    prediction = draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, CLASSES - 1)))
    truth = draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([*range(CLASSES), 255])))
    return prediction, truth


@given(pairs())
@settings(max_examples=60, deadline=None)
def test_counts_equal_a_loop_over_pixels(pair: tuple[np.ndarray, np.ndarray]) -> None:
    counted = count(*pair, CLASSES)
    assert counted.confusion.dtype == np.int64
    assert counted.confusion.tolist() == naive_confusion(*pair, CLASSES)
    assert int(counted.confusion.sum()) == int((pair[1] != 255).sum())


def test_truth_is_the_row_and_prediction_the_column() -> None:
    assert count(np.array([[1, 1, 0]]), np.array([[0, 1, 255]]), 2).confusion.tolist() == [[0, 1], [0, 1]]


def test_counts_add_as_one_image_would() -> None:
    prediction, truth = np.array([[0, 1], [2, 2]]), np.array([[0, 2], [255, 2]])
    halves = [count(prediction[i : i + 1], truth[i : i + 1], 3) for i in range(2)]
    assert sum(halves) == sum(halves, Counts.zero(3)) == count(prediction, truth, 3)
    assert len({*halves, count(prediction[:1], truth[:1], 3)}) == 2
    assert halves[0] != halves[1] and halves[0] != 3


def test_counts_of_other_classes_do_not_add() -> None:
    with pytest.raises(ValueError, match="2 and of 3 classes"):
        Counts.zero(2) + Counts.zero(3)
    with pytest.raises(TypeError):
        Counts.zero(2) + 1  # type: ignore[operator]
    with pytest.raises(TypeError):
        1 + Counts.zero(2)


def test_the_most_classes_and_all_other_integer_types() -> None:
    values = np.array([[0, 254]], np.int64)
    assert count(values, values.astype(np.uint16), 255).confusion[254, 254] == 1


@pytest.mark.parametrize(
    ("prediction", "truth", "classes", "message"),
    [
        ([[3]], [[0]], 3, "prediction must be below 3, found 3"),
        ([[255]], [[255]], 3, "prediction must be below 3, found 255"),
        ([[0]], [[4]], 3, "truth must be below 3 or 255, found 4"),
        ([[-1]], [[0]], 3, "outside 0..255"),
        ([[0]], [[256]], 3, "outside 0..255"),
        ([[0.0]], [[0]], 3, "integer"),
        ([0], [0], 3, "2-D"),
        ([[0, 0]], [[0], [0]], 3, r"\(1, 2\), its truth \(2, 1\)"),
        ([[0]], [[0]], 1, "classes must be 2..255"),
        ([[0]], [[0]], 256, "classes must be 2..255"),
    ],
)
def test_what_is_refused(prediction: list, truth: list, classes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        count(np.array(prediction), np.array(truth), classes)


@pytest.mark.parametrize("confusion", [np.zeros((2, 3), np.int64), np.zeros(4, np.int64), np.zeros((2, 2))])
def test_a_confusion_is_square_and_whole(confusion: np.ndarray) -> None:
    with pytest.raises(ValueError, match="square int64"):
        Counts(confusion)


PSEUDO, TRUE = np.array([[255, 1], [2, 255]], np.uint8), np.array([[1, 1], [0, 255]], np.uint8)


def test_void_as_background() -> None:
    filled = fill_void(PSEUDO, TRUE, "background")
    assert filled.prediction.tolist() == [[0, 1], [2, 0]]
    assert filled.truth.tolist() == TRUE.tolist()


def test_void_left_out() -> None:
    filled = fill_void(PSEUDO, TRUE, "covered-only")
    assert filled.truth.tolist() == [[255, 1], [0, 255]]
    assert count(*filled, 3).confusion.sum() == 2


def test_void_rules_and_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match="'all'"):
        fill_void(PSEUDO, TRUE, "all")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="truth"):
        fill_void(PSEUDO, TRUE[:1], "background")


def test_coverage_is_the_decided_share_of_known_pixels() -> None:
    covered = coverage(PSEUDO, TRUE)
    assert covered == (2, 3) and covered.share == 2 / 3
    assert covered.merged(covered).share == 4 / 6
    assert np.isnan(coverage(PSEUDO, np.full_like(TRUE, 255)).share)
