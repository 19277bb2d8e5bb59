"""AuxSegNet's label rule: each of the four cases, and where its saliency comes from."""

import numpy as np
import pytest

from methods.base import LocalizationMaps
from methods.labelers.agreement import Agreement, AgreementOptions, agreement
from settings.records import UNKNOWN
from tests.methods.conftest import make_photo


def test_the_four_cases_and_the_strongest_class() -> None:
    """Thresholds themselves count as below."""
    maps_CHW = np.array([[[0.9, 0.3, 0.2, 0.1, 0.3]], [[0.1, 0.8, 0.1, 0.2, 0.3]]], np.float32)
    saliency_HW = np.array([[0.07, 1.0, 0.06, 0.5, 0.01]], np.float32)
    assert agreement(maps_CHW, (2, 5), saliency_HW).tolist() == [[3, 6, 0, UNKNOWN, UNKNOWN]]


def test_saliency_is_the_mean_of_the_cue_and_of_what_the_background_leaves() -> None:
    photo = make_photo("p", (1,))
    background_HW = np.array([[0.0, 1.0]], np.float32)
    record = LocalizationMaps("p", (1,), np.ones((1, 1, 2), np.float32), (1, 2), "nearest", background_HW)
    labeler = Agreement(AgreementOptions(saliency_threshold=0.4))
    assert labeler.label(photo, record, np.array([[0, 0]], np.uint8)).tolist() == [[2, UNKNOWN]]
    assert labeler.label(photo, record, np.array([[0, 255]], np.uint8)).tolist() == [[2, 2]]
    assert labeler.label(photo, record, np.array([[0, 200]], np.uint8)).tolist() == [[2, UNKNOWN]]


def test_a_cue_of_another_size_is_refused() -> None:
    record = LocalizationMaps(
        "p", (0,), np.ones((1, 1, 1), np.float32), (3, 4), background_HW=np.zeros((1, 1), np.float32)
    )
    with pytest.raises(ValueError, match=r"p: saliency \(4, 3\) of a photo \(3, 4\)"):
        Agreement(AgreementOptions()).label(make_photo("p", (0,)), record, np.zeros((4, 3), np.uint8))
