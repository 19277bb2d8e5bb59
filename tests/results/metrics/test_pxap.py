"""Pixel average precision against ranking every pixel of every class by itself."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from results.metrics.pxap import PxAP, pixel_average_precision
from results.metrics.sweep import Sweep, threshold_sweep
from settings.options import Options
from settings.records import UNKNOWN

CLASSES, STEPS = 4, 10


def image(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Score in steps, winner and truth of 12 × 9 pixels, some of the truth unknown, some scores 0."""
    rng = np.random.default_rng(seed)
    score = (rng.integers(0, STEPS + 1, (12, 9)) / STEPS).astype(np.float32)
    truth = rng.integers(0, CLASSES, (12, 9)).astype(np.uint8)
    truth[rng.random(truth.shape) < 0.2] = UNKNOWN
    return score, rng.integers(1, CLASSES, (12, 9)).astype(np.uint8), truth


def naive(images: list[tuple[np.ndarray, np.ndarray, np.ndarray]], class_value: int) -> float:
    """Precision at each threshold, weighted by the recall that it adds; a pixel that is never found adds none."""
    recalls, precisions = [0.0], []
    for k in reversed(range(STEPS)):
        found = hits = positives = 0
        for score, winner, truth in images:
            is_found = (score > np.float32(k / STEPS)) & (winner == class_value) & (truth != UNKNOWN)
            found += is_found.sum()
            hits += (is_found & (truth == class_value)).sum()
            positives += (truth == class_value).sum()
        precisions.append(hits / found if found else 0.0)
        recalls.append(hits / positives)
    return sum(p * (b - a) for p, a, b in zip(precisions, recalls[:-1], recalls[1:], strict=True))


def test_every_class_is_what_ranking_its_pixels_gives() -> None:
    images = [image(seed) for seed in range(3)]
    sweep = sum(threshold_sweep(*one, CLASSES, STEPS) for one in images)
    expected = [naive(images, value) for value in range(1, CLASSES)]
    assert pixel_average_precision(sweep) == pytest.approx(expected, abs=1e-14)
    assert PxAP(Options()).measures(sweep)["PxAP"] == pytest.approx(np.mean(expected), abs=1e-14)


def test_one_class_agrees_with_scikit_learn_where_all_positives_are_found() -> None:
    rng = np.random.default_rng(7)
    score = (rng.integers(0, STEPS + 1, (20, 20)) / STEPS).astype(np.float32)
    truth = (rng.random((20, 20)) < score * 0.8).astype(np.uint8)
    sweep = threshold_sweep(score, np.ones_like(truth), truth, 2, STEPS)
    expected = average_precision_score(truth.ravel(), score.ravel())
    assert PxAP(Options()).measures(sweep)["PxAP"] == pytest.approx(expected, abs=1e-14)


def test_perfect_maps_score_1_and_half_found_ones_one_half() -> None:
    truth, winner = np.array([[1, 1, 0, 0]], np.uint8), np.ones((1, 4), np.uint8)
    perfect = threshold_sweep(np.array([[0.9, 0.4, 0.2, 0]], np.float32), winner, truth, 3, STEPS)
    assert pixel_average_precision(perfect).tolist() == pytest.approx([1, np.nan], nan_ok=True)
    half = threshold_sweep(np.array([[0.9, 0, 0, 0]], np.float32), winner, truth, 3, STEPS)
    assert PxAP(Options()).measures(half) == {"PxAP": 0.5}


def test_no_truth_is_no_number() -> None:
    assert np.isnan(PxAP(Options()).measures(Sweep(np.zeros((3, 3, 11), np.int64)))["PxAP"])
