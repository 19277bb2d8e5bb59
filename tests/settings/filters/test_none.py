"""All that has a label is kept."""

import numpy as np

from settings.filters.none import KeepAll
from settings.options import Options


def test_all_that_has_a_label_is_kept() -> None:
    labels_NK = np.array([[1, 0], [0, 0], [1, 1], [0, 1]], np.float32)
    assert KeepAll(Options()).keep(None, labels_NK).tolist() == [True, False, True, True]
    assert KeepAll(Options()).keep(np.full((4, 2), np.nan), labels_NK).tolist() == [True, False, True, True]
