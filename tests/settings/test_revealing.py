"""Which masks a ceiling may see."""

from collections import Counter

import pytest

from settings.datasets.scenes import Scenes, ScenesOptions
from settings.errors import UserError
from settings.records import Photo
from settings.revealing import revealed_ids

SET = Scenes(ScenesOptions(classes=4, size=48, train=20, dev=40, val=5))


def test_full_supervision_sees_train_and_dev() -> None:
    assert revealed_ids(SET, "all", 0) == tuple(sorted((*SET.splits["train"], *SET.splits["dev"])))


def test_clusters_are_named_by_all_of_dev() -> None:
    assert revealed_ids(SET, "dev", 0) == revealed_ids(SET, "dev", 1) == tuple(SET.splits["dev"])


@pytest.mark.parametrize("count", [1, 4, 9, 40])
def test_few_shot_sees_so_many_of_dev(count: int) -> None:
    ids = revealed_ids(SET, count, 0)
    assert len(set(ids)) == count
    assert set(ids) <= set(SET.splits["dev"])


def test_more_shots_keep_the_first_ones_and_seeds_differ() -> None:
    assert revealed_ids(SET, 12, 0)[:5] == revealed_ids(SET, 5, 0)
    assert revealed_ids(SET, 12, 0) != revealed_ids(SET, 12, 1)


def test_classes_come_in_turn() -> None:
    for rng_seed in range(5):
        shown = Counter(label for i in revealed_ids(SET, 8, rng_seed) for label in SET.photo(i).labels)
        assert min(shown[label] for label in range(4)) >= 2


def test_photos_without_a_class_come_last() -> None:
    class Sparse(Scenes):
        def photo(self, photo_id: str) -> Photo:
            photo = super().photo(photo_id)
            return photo.without_labels() if photo_id < "dev_00020" else photo

    sparse = Sparse(SET.options)
    assert min(revealed_ids(sparse, 20, 0)) == "dev_00020"
    assert set(revealed_ids(sparse, 40, 0)) == set(SET.splits["dev"])


def test_more_than_dev_has_is_refused() -> None:
    with pytest.raises(UserError, match="found 41 masks; expected at most the 40 that scenes/dev has"):
        revealed_ids(SET, 41, 0)


def test_a_dev_without_masks_names_no_clusters() -> None:
    class Bare(Scenes):
        def has_mask(self, photo_id: str) -> bool:
            return photo_id not in self.splits["dev"]

    with pytest.raises(UserError, match=r"the masks of dev; expected scenes/dev with at least one; name clusters by"):
        revealed_ids(Bare(SET.options), "dev", 0)
