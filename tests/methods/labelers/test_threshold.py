"""Pseudo labels against loops over pixels."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from methods.base import LocalizationMaps
from methods.labelers.threshold import Threshold, ThresholdOptions
from methods.refining import on_one_scale
from settings.records import Photo
from tests.conftest import REPOSITORY

STEPS = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
"""Few values, so that ties happen."""


def naive(
    maps_CHW: np.ndarray, class_ids: tuple[int, ...], background: Callable[[np.float32], np.float32]
) -> list[list[int]]:
    """Channel 0 is the background; the first of equal scores wins."""
    rows = []
    for y in range(maps_CHW.shape[1]):
        rows.append([])
        for x in range(maps_CHW.shape[2]):
            scores = [background(maps_CHW[:, y, x].max()), *maps_CHW[:, y, x]]
            winner = scores.index(max(scores))
            rows[-1].append(class_ids[winner - 1] + 1 if winner else 0)
    return rows


def label(
    options: ThresholdOptions, maps_CHW: np.ndarray, class_ids: tuple[int, ...], size: tuple[int, int]
) -> np.ndarray:
    photo = Photo("p", class_ids, "c", lambda: np.zeros((*size, 3), np.uint8))
    return Threshold(options).label(photo, LocalizationMaps("p", class_ids, maps_CHW, size))


@given(maps_CHW=arrays(np.float32, (3, 4, 5), elements=STEPS), threshold=STEPS.filter(lambda step: step < 1))
def test_constant_rule(maps_CHW: np.ndarray, threshold: float) -> None:
    class_ids = (0, 2, 19)
    mask = label(ThresholdOptions(threshold=threshold), maps_CHW, class_ids, (4, 5))
    assert mask.dtype == np.uint8
    assert mask.tolist() == naive(maps_CHW, class_ids, lambda score: np.float32(threshold))


@given(maps_CHW=arrays(np.float32, (2, 4, 5), elements=STEPS), alpha=st.sampled_from([0.5, 1.0, 4.0, 24.0]))
def test_power_rule(maps_CHW: np.ndarray, alpha: float) -> None:
    """At alpha 1 and score 0.5 background and class tie: the background wins."""
    mask = label(ThresholdOptions(rule="power", alpha=alpha), maps_CHW, (1, 3), (4, 5))
    assert mask.tolist() == naive(maps_CHW, (1, 3), lambda score: np.float32(1 - score) ** np.float32(alpha))


@pytest.mark.parametrize(
    ("given", "has_background", "rule"),
    [
        ({}, False, "constant"),
        ({}, True, "maps"),
        ({"threshold": 0.4}, True, "constant"),
        ({"rule": "power"}, True, "power"),
        ({"rule": "maps", "threshold": 0.4}, True, "maps"),
    ],
)
def test_a_background_map_is_read_where_nothing_else_was_asked_for(
    given: dict[str, object], has_background: bool, rule: str
) -> None:
    labeler = Threshold(ThresholdOptions.model_validate(given)).reading(has_background)
    assert labeler.options.rule == rule
    assert labeler.needs_background == (rule == "maps")
    assert (labeler.declared_threshold is None) == (rule != "constant")


def test_walked_maps_are_read_as_the_released_program_reads_them() -> None:
    """PSA's read-out: walked background and maps of all classes, upsampled bilinearly, the first of the highest."""
    golden = np.load(REPOSITORY / "tests" / "golden" / "affinity_walk.npz")
    walked_SHW = torch.from_numpy(golden["walked"].reshape(golden["maps"].shape)).float()
    class_ids, size = (1, 4, 7)[: len(walked_SHW) - 1], (8 * walked_SHW.shape[1] - 3, 8 * walked_SHW.shape[2] - 5)
    all_classes_SHW = torch.zeros(21, *walked_SHW.shape[1:])
    all_classes_SHW[[0, *(class_id + 1 for class_id in class_ids)]] = walked_SHW
    large_SHW = torch.nn.functional.interpolate(all_classes_SHW[None], size=size, mode="bilinear")[0]

    scaled_SHW = on_one_scale(walked_SHW.numpy())
    record = LocalizationMaps("p", class_ids, scaled_SHW[1:], size, "bilinear", scaled_SHW[0])
    photo = Photo("p", class_ids, "c", lambda: np.zeros((*size, 3), np.uint8))
    mask = Threshold(ThresholdOptions()).reading(has_background=True).label(photo, record)
    assert np.array_equal(mask, large_SHW.argmax(0).numpy())
    assert len(np.unique(mask)) > 1


def test_ties_go_to_the_background_then_to_the_lower_class() -> None:
    maps_CHW = np.array([[[0.3, 0.6, 0.2]], [[0.3, 0.6, 0.4]]], np.float32)
    assert label(ThresholdOptions(threshold=0.3), maps_CHW, (4, 7), (1, 3)).tolist() == [[0, 5, 8]]


def test_maps_are_upsampled_before_the_argmax() -> None:
    maps_CHW = np.array([[[0.0, 1.0]]], np.float32)
    assert label(ThresholdOptions(threshold=0.3), maps_CHW, (0,), (1, 8)).tolist() == [[0, 0, 0, 1, 1, 1, 1, 1]]


def test_a_photo_without_labels_is_all_background() -> None:
    mask = label(ThresholdOptions(threshold=0.0), np.zeros((0, 2, 2), np.float32), (), (5, 6))
    assert (mask.shape, mask.dtype, mask.any()) == ((5, 6), np.uint8, np.False_)


def test_thresholds_are_steps_of_the_sweep() -> None:
    for step in range(100):
        assert ThresholdOptions(threshold=step / 100).threshold == step / 100
        assert ThresholdOptions(threshold=step * 0.01).threshold == pytest.approx(step / 100)
    for wrong in (0.355, 0.3001, 1.0, -0.01, float("nan")):
        with pytest.raises(ValidationError, match="threshold"):
            ThresholdOptions(threshold=wrong)
    for wrong in (0.0, -1.0, 101.0):
        with pytest.raises(ValidationError, match="alpha"):
            ThresholdOptions(alpha=wrong)
