"""Boundary IoU against erosion step by step, class by class."""

import numpy as np
import pytest

from results.metrics.boundary_iou import BoundaryIoU, boundary_counts, rim_width
from settings.options import Options
from settings.records import UNKNOWN

CLASSES = 4


def naive_rim(mask_HW: np.ndarray, steps: int) -> np.ndarray:
    """The pixels of a class's mask that go when it is eroded so often by a square of 3 × 3, with 0 around it."""
    left = mask_HW.copy()
    for _ in range(steps):
        padded = np.pad(left, 1)
        height, width = left.shape
        left = np.all([padded[y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=0)
    return mask_HW & ~left


def naive_counts(prediction: np.ndarray, truth: np.ndarray, steps: int) -> np.ndarray:
    known, found = truth != UNKNOWN, np.zeros((3, CLASSES), np.int64)
    for c in range(CLASSES):
        one, other = naive_rim((prediction == c) & known, steps), naive_rim(truth == c, steps)
        found[:, c] = (one & other).sum(), one.sum(), other.sum()
    return found


def blocks(seed: int, unknown: float) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and truth of 64 × 48 pixels in squares of 8, the truth with unknown pixels."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, CLASSES, (2, 8, 6)).astype(np.uint8)
    prediction, truth = small.repeat(8, axis=1).repeat(8, axis=2)
    truth[rng.random(truth.shape) < unknown] = UNKNOWN
    return prediction, truth


@pytest.mark.parametrize(("seed", "unknown"), [(0, 0.0), (1, 0.0), (2, 0.1), (3, 0.9)])
def test_rims_are_what_erosion_takes_away(seed: int, unknown: float) -> None:
    prediction, truth = blocks(seed, unknown)
    steps = rim_width(64, 48)
    assert steps == 2, "2 % of a diagonal of 80 pixels"
    assert np.array_equal(boundary_counts(prediction, truth, CLASSES).pixels, naive_counts(prediction, truth, steps))


def test_a_shifted_square_in_closed_form() -> None:
    truth, prediction = np.zeros((60, 80), np.uint8), np.zeros((60, 80), np.uint8)
    truth[20:40, 20:40], prediction[20:40, 21:41] = 1, 1
    # Rims of 2 pixels: 20² − 16² = 144 each. Shifted by one column, rows 2 × 2 × 19 and columns 2 × 16 stay in both.
    counts = boundary_counts(prediction, truth, 2).pixels
    assert counts[:, 1].tolist() == [2 * 2 * 19 + 2 * 16, 144, 144]
    measured = BoundaryIoU(Options()).measures(boundary_counts(prediction, truth, 2))
    background = counts[0, 0] / (counts[1, 0] + counts[2, 0] - counts[0, 0])
    assert measured["boundary IoU"] == pytest.approx((108 / 180 + background) / 2, abs=1e-15)


def test_what_is_right_wherever_the_truth_is_known_scores_1() -> None:
    prediction, truth = blocks(4, 0.3)
    right = np.where(truth == UNKNOWN, prediction, truth)
    assert BoundaryIoU(Options()).measures(boundary_counts(right, truth, CLASSES)) == {"boundary IoU": 1.0}


def test_the_band_is_that_of_voc_and_at_least_a_pixel() -> None:
    assert (rim_width(375, 500), rim_width(5, 5)) == (12, 1)


def test_values_that_are_no_class_are_refused() -> None:
    mask = np.full((3, 3), 2, np.uint8)
    with pytest.raises(ValueError, match="prediction must be below 2, found 2"):
        boundary_counts(mask, np.zeros_like(mask), 2)
    with pytest.raises(ValueError, match="truth must be below 2, found 2"):
        boundary_counts(np.zeros_like(mask), mask, 2)


def test_nothing_counted_is_no_number() -> None:
    empty = np.full((3, 3), UNKNOWN, np.uint8)
    assert np.isnan(BoundaryIoU(Options()).measures(boundary_counts(empty, empty, 2))["boundary IoU"])
    assert not boundary_counts(empty[:0], empty[:0], 2).pixels.any()
