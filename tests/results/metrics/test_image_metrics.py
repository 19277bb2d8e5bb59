"""Metrics of the sums of photos against pixels of whole masks: by size, by photo, by class."""

import numpy as np
import pytest

from results.metrics.class_iou import ClassIoU
from results.metrics.counts import count
from results.metrics.image_iou import ImageIoU
from results.metrics.image_sums import ImageSums
from results.metrics.size_iou import SizeIoU
from settings.options import Options
from settings.records import UNKNOWN

CLASSES = 5


def photos() -> list[tuple[np.ndarray, np.ndarray]]:
    """Twelve predictions and truths of 10 × 10 pixels, classes of all sizes, a tenth of the truth unknown."""
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        share = rng.dirichlet(np.full(CLASSES, 0.4))
        truth = rng.choice(CLASSES, (10, 10), p=share).astype(np.uint8)
        prediction = np.where(rng.random((10, 10)) < 0.6, truth, rng.integers(0, CLASSES, (10, 10))).astype(np.uint8)
        truth[rng.random((10, 10)) < 0.1] = UNKNOWN
        found.append((prediction, truth))
    return found


def sums(pairs: list[tuple[np.ndarray, np.ndarray]]) -> ImageSums:
    each = np.stack([count(*pair, CLASSES).confusion for pair in pairs])
    names = tuple(f"photo_{n:02}" for n in range(len(pairs)))
    return ImageSums(names, each.diagonal(axis1=1, axis2=2), each.sum(axis=1), each.sum(axis=2), each.sum(axis=0))


def iou(pairs: list[tuple[np.ndarray, np.ndarray]], c: int) -> float:
    both = either = 0
    for prediction, truth in pairs:
        known = truth != UNKNOWN
        both += (known & (prediction == c) & (truth == c)).sum()
        either += (known & ((prediction == c) | (truth == c))).sum()
    return both / either if either else np.nan


def test_sizes_are_iou_over_the_photos_where_a_class_is_so_large() -> None:
    pairs, expected = photos(), []
    for least, below in ((0, 0.05), (0.05, 0.2), (0.2, 2)):
        values = []
        for c in range(1, CLASSES):
            share = [(truth == c).sum() / (truth != UNKNOWN).sum() for _, truth in pairs]
            chosen = [pair for pair, s in zip(pairs, share, strict=True) if s > 0 and least <= s < below]
            values.append(iou(chosen, c))
        expected.append(np.nanmean(values))
    measured = SizeIoU(Options()).measures(sums(pairs))
    assert list(measured.values()) == pytest.approx(expected, abs=1e-14)
    assert [name.split(",")[1] for name in measured] == [" small", " medium", " large"]


def test_single_photos_and_the_worst_tenth_of_them() -> None:
    pairs = photos()
    each = sorted(np.nanmean([iou([pair], c) for c in range(CLASSES)]) for pair in pairs)
    measured = ImageIoU(Options()).measures(sums(pairs))
    assert list(measured.values()) == pytest.approx([np.mean(each), np.mean(each[:2])], abs=1e-14)


def test_the_worst_class_and_the_worst_quarter() -> None:
    pairs = photos()
    each = sorted(iou(pairs, c) for c in range(CLASSES))
    measured = ClassIoU(Options()).measures(sums(pairs))
    assert list(measured.values()) == pytest.approx([each[0], np.mean(each[:2])], abs=1e-14)


@pytest.mark.parametrize("metric", [SizeIoU, ImageIoU, ClassIoU])
def test_photos_without_a_known_pixel_change_nothing_and_alone_are_no_number(metric: type) -> None:
    unknown = (np.zeros((2, 2), np.uint8), np.full((2, 2), UNKNOWN, np.uint8))
    measure = metric(Options()).measures
    assert measure(sums([*photos(), unknown])) == measure(sums(photos()))
    assert all(np.isnan(value) for value in measure(sums([unknown])).values())


def test_what_is_all_right_scores_1() -> None:
    pairs = [(np.where(truth == UNKNOWN, 0, truth).astype(np.uint8), truth) for _, truth in photos()]
    for metric in (SizeIoU, ImageIoU, ClassIoU):
        assert set(metric(Options()).measures(sums(pairs)).values()) == {1.0}
