"""Pixel sums of rows from tables per image: against the counts that made the tables."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from results.counted import image_sums, joined_sums, sums_of_folder
from results.metrics.counts import Counts, LabelCounts
from results.metrics.miou import mean_iou
from results.metrics.sweep import Sweep
from results.per_image import confusion_table, label_table, stacked, sweep_table, write_table
from results.rows import Row
from settings.errors import UserError

CLASSES = 3


def confusions(rng_seed: int = 0, images: int = 5) -> dict[str, Counts]:
    rng = np.random.default_rng(rng_seed)
    return {f"photo {n}": Counts(rng.integers(0, 50, (CLASSES, CLASSES))) for n in rng.permutation(images)}


def test_sums_of_confusions_by_ascending_image() -> None:
    counts = confusions()
    found = image_sums(confusion_table(counts.items()), CLASSES)
    assert found.images == tuple(sorted(counts))
    each = [counts[image].confusion for image in found.images]
    np.testing.assert_array_equal(found.hits_NC, [np.diagonal(c) for c in each])
    np.testing.assert_array_equal(found.predicted_NC, [c.sum(axis=0) for c in each])
    np.testing.assert_array_equal(found.truth_NC, [c.sum(axis=1) for c in each])


def test_undecided_pixels_of_labels_are_background() -> None:
    labels = LabelCounts(Counts(np.array([[5, 1, 0], [0, 3, 0], [0, 0, 2]])), np.array([4, 2, 1]))
    found = image_sums(label_table([("a", labels)]), CLASSES)
    whole = labels.as_background.confusion
    np.testing.assert_array_equal(found.hits_NC, [np.diagonal(whole)])
    np.testing.assert_array_equal(found.predicted_NC, [whole.sum(axis=0)])


@pytest.mark.parametrize("k", [0, 37, 99])
def test_a_sweep_is_read_at_its_rows_threshold(k: int) -> None:
    rng = np.random.default_rng(1)
    histogram = rng.integers(0, 5, (CLASSES, CLASSES, 101))
    histogram[:, 0] = 0
    sweep = Sweep(histogram)
    found = image_sums(sweep_table([("a", sweep)]), CLASSES, float(sweep.thresholds[k]))
    confusion = sweep.counts(k).confusion
    np.testing.assert_array_equal(found.hits_NC, [np.diagonal(confusion)])
    np.testing.assert_array_equal(found.predicted_NC, [confusion.sum(axis=0)])


def test_a_value_that_is_no_class_is_refused() -> None:
    with pytest.raises(ValueError, match="below 2, found 2"):
        image_sums(confusion_table(confusions().items()), 2)


def test_rng_seeds_are_joined_over_all_images() -> None:
    counts = confusions()
    empty = {**counts, "photo 9": Counts.zero(CLASSES)}
    rows = [image_sums(confusion_table(each.items()), CLASSES) for each in (counts, empty)]
    joined = joined_sums(rows)
    assert (joined.seeds, joined.images) == (2, 5)
    expected = mean_iou(sum(counts.values(), Counts.zero(CLASSES))).mean
    np.testing.assert_allclose(joined.miou(), expected)


def test_rng_seeds_on_other_masks_are_refused() -> None:
    rows = [image_sums(confusion_table(confusions(seed).items()), CLASSES) for seed in (0, 1)]
    with pytest.raises(ValueError, match="other true masks"):
        joined_sums(rows)


def scored(row: Callable[..., Row], confusions: dict[str, Counts], **fields: object) -> Row:
    result = mean_iou(sum(confusions.values(), Counts.zero(CLASSES)))
    classes = ["background", "cat", "dog"]
    return row(miou=result.mean, per_class=list(result.per_class), classes=classes, threshold=None, **fields)


def test_a_folders_rows_find_their_counts(row: Callable[..., Row], tmp_path: Path) -> None:
    one, other = confusions(0), confusions(1)
    rows = [
        scored(row, one, counts="same", stage="refined"),
        scored(row, one, counts="same", stage="pseudo_labels"),
        scored(row, other, counts="other"),
        row(rng_seed=3, status="failed", reason="no memory", miou=None, per_class=[], classes=[]),
    ]
    path = tmp_path / "counts.parquet"
    write_table(path, stacked([(0, confusion_table(one.items())), (2, confusion_table(other.items()))]))
    found = sums_of_folder(rows, path, tmp_path / "none.parquet")
    assert sorted(found) == [0, 1, 2]
    np.testing.assert_array_equal(found[1].hits_NC, found[0].hits_NC)


def test_counts_that_contradict_their_row_are_refused(row: Callable[..., Row], tmp_path: Path) -> None:
    path = tmp_path / "counts.parquet"
    write_table(path, stacked([(0, confusion_table(confusions(1).items()))]))
    with pytest.raises(UserError, match="run the suite again"):
        sums_of_folder([scored(row, confusions(0), counts="one")], path, tmp_path / "none.parquet")
