"""Counts against a triple loop, and what is refused."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from results.metrics.counts import Counts, LabelCounts, count, count_labels, fill_void
from results.metrics.miou import mean_iou

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


def test_undecided_pixels_of_a_pseudo_label_are_counted_by_themselves() -> None:
    counted = count_labels(PSEUDO, TRUE, 3)
    assert counted.decided.confusion.tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert counted.undecided.tolist() == [0, 1, 0]
    assert counted.as_background == count(*fill_void(PSEUDO, TRUE, "background"), 3)
    assert counted.coverage == 2 / 3
    assert (counted + counted).coverage == 4 / 6
    assert np.isnan(count_labels(PSEUDO, np.full_like(TRUE, 255), 3).coverage)


def test_both_scores_of_a_pseudo_label_in_closed_form() -> None:
    """Half the object is undecided: as background it is missed, and of the decided pixels all are right.

    4 of background and 4 of the object, 2 of these undecided. As background: IoU 4/6 and 2/4. Covered only: 4/4, 2/2.
    """
    truth = np.array([[0, 0, 0, 0], [1, 1, 1, 1]])
    counted = count_labels(np.array([[0, 0, 0, 0], [1, 1, 255, 255]]), truth, 2)
    assert mean_iou(counted.as_background).per_class == (4 / 6, 2 / 4)
    assert mean_iou(counted.decided).per_class == (1.0, 1.0)
    assert counted.coverage == 6 / 8
    decided = count_labels(np.array([[0, 0, 0, 0], [1, 1, 0, 0]]), truth, 2)
    assert decided.coverage == 1.0 and decided.as_background == decided.decided


@given(pairs(), st.data())
@settings(max_examples=40, deadline=None)
def test_counts_of_labels_equal_those_of_either_rule(pair: tuple[np.ndarray, np.ndarray], data: st.DataObject) -> None:
    label, truth = pair
    undecided = data.draw(hnp.arrays(np.bool_, label.shape))
    label = np.where(undecided, np.uint8(255), label)
    counted = count_labels(label, truth, CLASSES)
    assert counted.as_background == count(*fill_void(label, truth, "background"), CLASSES)
    assert counted.decided == count(*fill_void(label, truth, "covered-only"), CLASSES)
    assert counted.undecided.sum() == ((label == 255) & (truth != 255)).sum()


def test_counts_of_labels_are_checked() -> None:
    with pytest.raises(ValueError, match="prediction must be below 3 or 255, found 4"):
        count_labels(np.array([[4]]), np.array([[0]]), 3)
    with pytest.raises(ValueError, match="one number for each true class"):
        LabelCounts(Counts.zero(2), np.zeros(3, np.int64))
