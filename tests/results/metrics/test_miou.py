"""mIoU, precision and recall against closed forms."""

import math

import numpy as np
import pytest

from results.metrics.counts import Counts
from results.metrics.miou import mean_iou, nullable, precision_recall


def counts(confusion: list[list[int]]) -> Counts:
    return Counts(np.array(confusion, np.int64))


def test_miou_of_a_known_confusion() -> None:
    result = mean_iou(counts([[50, 10, 0], [5, 20, 5], [0, 0, 10]]))
    assert result.per_class == (50 / 65, 20 / 40, 10 / 15)
    assert result.mean == pytest.approx((50 / 65 + 20 / 40 + 10 / 15) / 3, abs=1e-15)
    assert result.undefined == ()


def test_a_class_in_neither_truth_nor_prediction_is_left_out() -> None:
    result = mean_iou(counts([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    assert result.undefined == (2,)
    assert math.isnan(result.per_class[2])
    assert result.mean == (3 / 4 + 4 / 5) / 2


def test_a_class_that_is_only_predicted_counts_as_zero() -> None:
    assert mean_iou(counts([[3, 1], [0, 0]])).per_class == (0.75, 0.0)


def test_nothing_counted_is_undefined() -> None:
    result = mean_iou(Counts.zero(3))
    assert math.isnan(result.mean) and result.undefined == (0, 1, 2)
    assert all(map(math.isnan, precision_recall(Counts.zero(3))))


def test_miou_is_not_a_mean_over_images() -> None:
    images = [counts([[9, 0], [1, 0]]), counts([[0, 0], [0, 10]])]
    assert mean_iou(sum(images, Counts.zero(2))).mean == (9 / 10 + 10 / 11) / 2


def test_macro_precision_and_recall() -> None:
    # Class 2 is true but never predicted: it has a recall (0) and no precision.
    result = precision_recall(counts([[6, 2, 0], [1, 3, 0], [1, 0, 0]]))
    assert result.precision == (6 / 8 + 3 / 5) / 2
    assert result.recall == pytest.approx((6 / 8 + 3 / 4 + 0) / 3, abs=1e-15)


def test_nan_is_null() -> None:
    assert nullable(float("nan")) is None and nullable(0.5) == 0.5
