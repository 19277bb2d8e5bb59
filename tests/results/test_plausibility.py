"""Counts that cannot mean what they seem to, each beside its like that can."""

from collections.abc import Sequence

import numpy as np
import pytest

from results.metrics.counts import Counts
from results.plausibility import Shown, contradiction, mismatch, no_foreground, other_assignment, pooled_pixels

LABELS = [(0,), (1,), (2,), (3,), (0, 1), (2, 3), (0, 3), (1, 2), (0,), (2,)]
"""Of ten photos, four classes."""


def photos(values_of: Sequence[int], background: int = 0, labels: Sequence[tuple[int, ...]] = LABELS) -> list[Shown]:
    """Photos whose masks hold `values_of[class id]` for each label, and a background."""
    return [Shown(of, tuple(sorted({background, *(values_of[class_id] for class_id in of)}))) for of in labels]


def pixels(**of_value: int) -> np.ndarray:
    found = np.zeros(256, np.int64)
    for name, count in of_value.items():
        found[int(name[1:])] = count
    return found


def test_pixels_are_pooled_by_value() -> None:
    pooled = pooled_pixels(np.array([[0, 255], [255, 3]], np.uint8)) + pooled_pixels(np.array([[3]], np.uint8))
    assert np.flatnonzero(pooled).tolist() == [0, 3, 255] and pooled[[0, 3, 255]].tolist() == [1, 2, 2]


def test_masks_without_a_class() -> None:
    assert no_foreground(pixels(v0=3, v255=1)) == (
        "no true mask with a pixel of any class but background; 25.0% of the pixels are 255, which is void and no class"
    )
    assert no_foreground(pixels(v0=3)) == "no true mask with a pixel of any class but background"
    assert no_foreground(pixels(v0=3, v1=1, v255=8)) == no_foreground(pixels(v255=1)) == no_foreground(pixels()) == ""


@pytest.mark.parametrize(
    ("meaning", "expected"),
    [
        # Value p of a prediction is the class meaning[p].
        ([1, 2, 3, 0], {0: 1, 1: 2, 2: 3, 3: 0}),
        ([0, 2, 1, 3], {1: 2, 2: 1}),
    ],
)
def test_another_meaning_of_predicted_values(meaning: list[int], expected: dict[int, int]) -> None:
    right = np.diag([50, 20, 20, 10]) + 1
    confusion = np.zeros((4, 4), np.int64)
    for value, true in enumerate(meaning):
        confusion[:, value] = right[:, true]
    found = other_assignment(Counts(confusion))
    # By hand: hits / (row + column − hits) of the right one.
    ious = [51 / 57, 21 / 27, 21 / 27, 11 / 17]
    assert found is not None and found.values == expected
    assert found.miou == pytest.approx(sum(ious) / 4, abs=1e-12)


@pytest.mark.parametrize("confusion", [np.diag([5, 5, 5]), np.full((3, 3), 7), np.zeros((3, 3)), [[9, 0], [4, 0]]])
def test_no_other_meaning_scores_far_higher(confusion: np.ndarray) -> None:
    assert other_assignment(Counts(np.array(confusion, np.int64))) is None


def test_labels_and_masks_that_agree() -> None:
    usual = photos([1, 2, 3, 4])
    assert contradiction(usual, 4) is None and mismatch(usual) == ""
    assert contradiction([], 4) is None and mismatch([]) == ""
    # Two photos that were exchanged, and one that shows more than it is labelled, are slips.
    slips = [usual[0]._replace(values=(0, 2)), usual[1]._replace(values=(0, 1)), usual[2]._replace(values=(0, 3, 4))]
    assert contradiction([*slips, *usual[3:]], 4) is None and mismatch([*slips, *usual[3:]]) == ""


@pytest.mark.parametrize(
    ("values_of", "background", "expected"),
    [
        ([2, 3, 4, 5], 1, {1: 0, 2: 1, 3: 2, 4: 3, 5: 4}),
        ([0, 1, 2, 3], 255, {0: 1, 1: 2, 2: 3, 3: 4, 255: 0}),
        ([1, 2, 13, 17], 0, {13: 3, 17: 4}),
        ([1, 2, 4, 5], 0, {4: 3, 5: 4}),
        ([4, 3, 2, 1], 0, {1: 4, 2: 3, 3: 2, 4: 1}),
        ([1, 2, 3, 255], 0, {255: 4}),
    ],
    ids=["shifted up", "from 0", "gaps", "a gap within", "another order", "255 is a class"],
)
def test_contradictions_throughout(values_of: list[int], background: int, expected: dict[int, int]) -> None:
    found = contradiction(photos(values_of, background), 4)
    assert found is not None and found.values == expected
    class_id, value = found.example
    assert values_of[class_id] == value != class_id + 1 and found.compared == 10


def test_category_ids_with_gaps_where_few_photos_show_each_class() -> None:
    """Classes that no gap lies before are right; one class is never seen, and its value is another's."""
    labels = [(11,), (12,), (13,), (14,), (0,), (2,), (11,), (13,)]
    values = [*range(1, 12), 13, 14, 15, 16, 17]
    found = contradiction(photos(values, labels=labels), 16)
    assert found is not None and found.values == {13: 12, 14: 13, 15: 14, 16: 15}
    assert (found.photos, found.compared) == (6, 8)


def test_one_class_that_labels_every_photo_is_no_contradiction() -> None:
    assert contradiction([Shown((0,), (0, 1, 255))] * 9, 1) is None
    # Whether 0 or 255 is the class, labels do not tell.
    assert contradiction([Shown((0,), (0, 255))] * 9, 1) is None


def test_labels_of_other_photos() -> None:
    """Each class is found with every other one: no map mends it."""
    others = [Shown((n % 4,), (0, (n % 4 + 1 + n // 4) % 4 + 1)) for n in range(12)]
    assert contradiction(others, 4) is None
    assert mismatch(others) == "labels and masks of 12 of 12 photos without a class in common"
    assert mismatch([*others, *photos([1, 2, 3, 4])]) == ""


def test_labels_dealt_out_at_random() -> None:
    """Labels of one class, masks of two of four: by chance half of the photos have none in common."""
    pairs = [(a, b) for a in range(4) for b in range(a)]
    dealt = [Shown((n % 4,), tuple(class_id + 1 for class_id in pairs[n // 4 % 6])) for n in range(48)]
    assert mismatch(dealt) == "labels and masks of 24 of 48 photos without a class in common"
    # A few photos could be anything; half as many as chance gives are slips.
    assert mismatch(dealt[:24]) == ""
    right = [Shown((n % 4,), (n % 4 + 1,)) for n in range(48)]
    assert mismatch([*dealt, *right]) == ""


def test_values_between_classes_are_mended_by_no_map() -> None:
    """Smooth resizing leaves values of no class around objects."""
    smooth = [Shown((n % 2,), (0, 40 * (n % 2 + 1), *range(90 + n, 130 + n))) for n in range(12)]
    assert contradiction(smooth, 2) is None
    sharp = [Shown(photo.labels, photo.values[:2]) for photo in smooth]
    found = contradiction(sharp, 2)
    assert found is not None and found.values == {40: 1, 80: 2}
