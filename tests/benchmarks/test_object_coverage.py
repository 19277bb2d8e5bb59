"""The share of object pixels that have a label, from counts written out by hand."""

import numpy as np
import pytest

from benchmarks.object_coverage import object_coverage
from results.metrics.counts import Counts
from results.per_image import confusion_table, stacked


def test_object_pixels_with_the_label_of_any_object_are_covered() -> None:
    one = Counts(np.array([[50, 3, 0], [2, 10, 4], [1, 0, 3]], np.int64))
    other = Counts(np.array([[9, 0, 0], [5, 0, 0], [0, 0, 0]], np.int64))
    table = stacked([(0, confusion_table([("a", other)])), (1, confusion_table([("a", one), ("b", other)]))])
    assert object_coverage(table, 0, 3) == 0
    assert object_coverage(table, 1, 3) == pytest.approx((10 + 4 + 3) / (16 + 4 + 5))
