"""The floor beside every row that uses a saliency cue."""

import numpy as np
import pytest

from methods.labelers.label_in_saliency import LabelInSaliency, LabelInSaliencyOptions
from settings.records import UNKNOWN, Photo

SALIENCY = np.array([[0, 127], [128, 255]], np.uint8)


@pytest.mark.parametrize(
    ("labels", "several", "value"),
    [((), "first", 0), ((3,), "first", 4), ((3,), "unknown", 4), ((1, 3), "first", 2), ((1, 3), "unknown", UNKNOWN)],
)
def test_one_label_for_the_whole_salient_region(labels: tuple[int, ...], several: str, value: int) -> None:
    photo = Photo("p", labels, "c", lambda: np.zeros((2, 2, 3), np.uint8))
    mask_HW = LabelInSaliency(LabelInSaliencyOptions(several=several)).label(photo, None, SALIENCY)
    assert mask_HW.dtype == np.uint8
    assert mask_HW.tolist() == [[0, 0], [value, value]]


def test_the_threshold_is_an_option() -> None:
    photo = Photo("p", (0,), "c", lambda: np.zeros((2, 2, 3), np.uint8))
    assert LabelInSaliency(LabelInSaliencyOptions(threshold=127)).label(photo, None, SALIENCY).tolist() == [
        [0, 1],
        [1, 1],
    ]
