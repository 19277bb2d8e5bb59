"""Foreground IoU, counted by hand and by loops."""

import math

import numpy as np

from results.metrics.foreground import Overlap, foreground_iou, overlap
from settings.records import UNKNOWN


def test_classes_do_not_matter_and_unknown_pixels_do_not_count() -> None:
    truth = np.array([[0, 1, 5], [UNKNOWN, 2, 0]], np.uint8)
    saliency = np.array([[128, 255, 127], [255, 200, 0]], np.uint8)
    assert overlap(saliency, truth) == Overlap(2, 4)


def test_pixels_of_all_photos_count_together() -> None:
    rng = np.random.default_rng(0)
    pairs = [
        (rng.integers(0, 256, (7, 5), np.uint8), rng.choice([0, 1, 3, 255], (7, 5)).astype(np.uint8)) for _ in range(4)
    ]
    both = either = 0
    for saliency, truth in pairs:
        for shown, value in zip(saliency.ravel().tolist(), truth.ravel().tolist(), strict=True):
            both += value not in (0, 255) and shown > 127.5
            either += value != 255 and (value != 0 or shown > 127.5)
    assert foreground_iou(overlap(*pair) for pair in pairs) == both / either


def test_without_foreground_it_is_undefined() -> None:
    blank = np.zeros((2, 2), np.uint8)
    assert math.isnan(foreground_iou([overlap(blank, blank)]))
    assert math.isnan(foreground_iou([]))
