"""Two lines held against each other: closed forms, and naive code over the confusions of single images."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from results.counted import ImageSums
from results.metrics.counts import Counts
from results.metrics.miou import mean_iou
from results.pair import Side, compared
from results.statistics import class_samples, difference, holm, paired_difference, pixel_sums
from settings.errors import UserError

Whole = NDArray[np.int64]
NAMES = ("background", "cat", "dog", "cow")
CLASSES, IMAGES = len(NAMES), 30


def made(share: float, seeds: int = 3) -> Whole:
    """Confusions (seeds, images, K, K): every class finds its `share` of true pixels, on every side the same truth."""
    truth_NK = np.random.default_rng(0).integers(0, 300, (IMAGES, CLASSES))
    truth_NK[:, 0] += 500
    counts = np.zeros((seeds, IMAGES, CLASSES, CLASSES), np.int64)
    diagonal = np.arange(CLASSES)
    rng = np.random.default_rng(round(share * 100))
    hits = (truth_NK * rng.normal(share, 0.05, (seeds, IMAGES, CLASSES)).clip(0, 1)).astype(np.int64)
    counts[..., diagonal, diagonal] = hits
    counts[..., diagonal, (diagonal + 1) % CLASSES] = truth_NK - hits
    return counts


def sums_of(counts_NKK: Whole, images: tuple[str, ...] = ()) -> ImageSums:
    ids = images or tuple(f"photo {n:02d}" for n in range(len(counts_NKK)))
    hits_NK = np.diagonal(counts_NKK, axis1=1, axis2=2)
    return ImageSums(ids, hits_NK, counts_NKK.sum(axis=1), counts_NKK.sum(axis=2), counts_NKK.sum(axis=0))


def side(counts_SNKK: Whole, name: str = "one", classes: tuple[str, ...] = NAMES) -> Side:
    return Side(name, classes, "same", tuple(map(sums_of, counts_SNKK)))


def test_the_whole_is_the_paired_difference_of_the_counts() -> None:
    a, b = made(0.7), made(0.5)
    found = compared(side(a), side(b, "other"))
    assert found.difference == paired_difference(a, b)
    assert found.difference.verdict == "better"
    assert not found.are_equal


def test_a_class_is_tested_as_if_there_were_no_other() -> None:
    a, b = made(0.7), made(0.5)
    found = compared(side(a), side(b))
    alone = []
    for c in range(CLASSES):
        of_class = []
        for counts in (a, b):
            sums = pixel_sums(counts)
            iou_S = sums.hits_SNC[..., c].sum(axis=1) / (
                sums.truth_NC[:, c].sum() + sums.predicted_SNC[..., c].sum(axis=1) - sums.hits_SNC[..., c].sum(axis=1)
            )
            of_class.append(iou_S.mean())
        alone.append(of_class)
    np.testing.assert_allclose([(part.a, part.b) for part in found.by_class], alone, atol=1e-12)
    apart = [part.difference for part in found.by_class if part.difference is not None]
    assert [each.mean for each in apart] == pytest.approx([a - b for a, b in alone])
    drawn = class_samples([pixel_sums(a), pixel_sums(b)])
    assert [each.p for each in apart] == pytest.approx(holm([difference(*pair).p for pair in drawn if pair]))
    assert [part.images for part in found.by_class] == (a[0].sum(axis=2) > 0).sum(axis=0).tolist()


def test_sizes_are_bounded_by_the_share_of_the_photo() -> None:
    # Of 100 pixels: 4 of cat (small), 5 of dog (medium: the bound belongs to it), 20 of cow (large).
    counts = np.zeros((1, 2, CLASSES, CLASSES), np.int64)
    counts[0, :, 0, 0], counts[0, :, 1, 1], counts[0, :, 2, 2], counts[0, :, 3, 3] = 71, 1, 4, 20
    counts[0, :, 1, 0], counts[0, :, 2, 0] = 3, 1
    found = compared(side(counts), side(counts))
    assert [(part.name, part.a, part.images) for part in found.by_size] == [
        ("small", 1 / 4, 2),
        ("medium", 4 / 5, 2),
        ("large", 1.0, 2),
    ]


def test_what_is_taken_for_a_class_in_photos_without_it_has_no_size() -> None:
    counts = np.zeros((1, 3, CLASSES, CLASSES), np.int64)
    counts[0, :, 0, 0] = 50
    counts[0, :2, 1, 1], counts[0, 2, 0, 1] = 30, 40
    found = compared(side(counts), side(counts))
    (large,) = (part for part in found.by_size if part.name == "large")
    assert (large.a, large.images) == (1.0, 2)
    small = found.by_size[0]
    assert (np.isnan(small.a), small.difference, small.images) == (True, None, 0)


def test_lost_iou_is_what_is_missed_taken_and_confused() -> None:
    confusion = np.array([[50, 3, 0, 0], [6, 20, 4, 1], [0, 5, 30, 0], [0, 0, 0, 0]])
    counts = np.stack([confusion, confusion])[None]
    cat = compared(side(counts), side(counts)).errors_a[1]
    union = 20 + 6 + 4 + 1 + 3 + 5
    assert (cat.missed, cat.taken) == pytest.approx((6 / union, 3 / union))
    assert cat.confused == (("dog", pytest.approx(9 / union)), ("cow", pytest.approx(1 / union)))
    assert cat.lost == pytest.approx(1 - 20 / union)


def test_parts_of_what_is_lost_add_up_to_it_for_every_class() -> None:
    a, b = made(0.7), made(0.5)
    found = compared(side(a), side(b))
    for splits, counts in ((found.errors_a, a), (found.errors_b, b)):
        iou_K = np.mean([mean_iou(Counts(each)).per_class for each in counts.sum(axis=1)], axis=0)
        parts = [split.missed + split.taken + sum(share for _, share in split.confused) for split in splits]
        np.testing.assert_allclose(parts, 1 - iou_K, atol=1e-12)
        np.testing.assert_allclose([split.lost for split in splits], 1 - iou_K, atol=1e-12)


def test_photos_that_changed_most_come_first_and_those_that_did_not_are_left_out() -> None:
    a, b = made(0.7, seeds=2), made(0.5, seeds=2)
    b[:, :5] = a[:, :5]
    found = compared(side(a), side(b)).changed
    own = [
        [np.mean([mean_iou(Counts(counts[s, n])).mean for s in range(2)]) for n in range(IMAGES)] for counts in (a, b)
    ]
    apart = np.abs(np.subtract(*own))
    expected = [f"photo {n:02d}" for n in np.argsort(-apart, kind="stable")[:20]]
    assert [change.image for change in found] == expected
    assert not {change.image for change in found} & {f"photo {n:02d}" for n in range(5)}


def test_equal_counts_are_no_difference_and_are_told() -> None:
    a = made(0.7)
    found = compared(side(a), side(a, "other"))
    assert found.are_equal
    assert (found.difference.mean, found.difference.low, found.difference.high, found.difference.p) == (0, 0, 0, 1)
    assert (found.difference.verdict, found.changed) == ("not separated", ())


def test_a_class_that_nobody_shows_has_no_difference() -> None:
    a, b = made(0.7), made(0.5)
    for counts in (a, b):
        counts[..., 0] += counts[..., 3]
        counts[..., 3, :], counts[..., 3] = 0, 0
    for part, other in zip(compared(side(a), side(b)).by_class, NAMES, strict=True):
        assert part.name == other
        assert (part.difference is None) == (other == "cow")
    assert np.isnan(compared(side(a), side(b)).errors_a[3].lost)


def test_a_class_of_one_photo_has_a_difference_without_an_interval() -> None:
    a, b = made(0.7), made(0.5)
    for counts in (a, b):
        counts[:, 1:, 3, :] = 0
    cow = compared(side(a), side(b)).by_class[3]
    assert (cow.difference, cow.images) == (None, 1)
    assert not np.isnan(cow.mean)


A, B = made(0.7), made(0.5)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (side(B, classes=("background", "cat", "cow", "dog")), "the same classes"),
        (side(B[:, 1:], "other"), "1 photo that one alone has, the first 'photo 29'"),
        (side(B * 2), "other true pixels for 30 photos, the first 'photo 00'"),
        (replace(side(B), evaluation="another"), "fingerprints same and another"),
    ],
)
def test_what_was_scored_otherwise_is_refused_by_name(other: Side, told: str) -> None:
    with pytest.raises(UserError, match=told):
        compared(side(A), other)


def test_one_photo_and_no_pixel_are_refused() -> None:
    with pytest.raises(UserError, match="found 1 photo; expected two photos at least"):
        compared(side(A[:, :1]), side(B[:, :1]))
    nothing = np.zeros_like(A)
    with pytest.raises(UserError, match="no pixel of any class"):
        compared(side(nothing), side(nothing))
