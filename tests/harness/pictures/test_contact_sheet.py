"""Which photos a contact sheet shows: as many of each split as it has, spread evenly."""

import pytest

from harness.pictures.contact_sheet import choose
from settings.datasets.scenes import Scenes, ScenesOptions


def test_the_sheet_spreads_over_splits() -> None:
    dataset = Scenes(ScenesOptions(train=100, dev=0, val=3))
    places = choose(dataset, 10)
    sevenths = [f"train_000{i:02}" for i in (0, 14, 28, 42, 57, 71, 85)]
    assert [photo_id for split, photo_id in places if split == "train"] == sevenths
    assert [photo_id for split, photo_id in places if split == "val"] == list(dataset.splits["val"])


@pytest.mark.parametrize(("count", "expected"), [(1, (1, 0, 0)), (9, (3, 3, 3)), (30, (16, 4, 10)), (300, (40, 4, 10))])
def test_what_a_small_split_leaves_goes_to_the_larger_ones(count: int, expected: tuple[int, ...]) -> None:
    places = choose(Scenes(ScenesOptions(train=40, dev=4, val=10)), count)
    splits = [split for split, _ in places]
    assert tuple(splits.count(split) for split in ("train", "dev", "val")) == expected
    assert len(set(places)) == len(places)
