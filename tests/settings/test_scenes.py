"""The embedded data set: what photos depend on, and that labels, masks and knobs say the truth."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from settings.datasets.scenes import Scenes, ScenesOptions
from settings.discovery import DATASETS
from settings.errors import UserError
from settings.rendering.backgrounds import GROUNDS
from settings.rendering.catalogue import BODIES, HEADS, NAMES, partner
from settings.rendering.layout import LENGTHS, Layout, Thing
from settings.rendering.scene import draw_photo
from settings.supervision import Gate


def scenes(**knobs: float) -> Scenes:
    """A set of 64-px photos, 300 a split, unless the knobs say otherwise."""
    return Scenes(ScenesOptions.model_validate({"size": 64, "train": 300, "dev": 300, "val": 300} | knobs))


def layouts(dataset: Scenes) -> list[Layout]:
    return [dataset.recipe(photo_id).layout() for ids in dataset.splits.values() for photo_id in ids]


def test_is_registered_under_its_file_name() -> None:
    assert DATASETS.load("scenes") is Scenes
    assert Scenes.options_model is ScenesOptions


def test_catalogue_has_a_look_for_every_class() -> None:
    assert len(HEADS) == len(set(HEADS)) == 2 * len(BODIES) == len(set(NAMES)) == 20
    assert all(partner(partner(k)) == k and partner(k) // 2 == k // 2 for k in range(20))


def test_splits_are_disjoint_and_ascending() -> None:
    dataset = scenes(train=120, dev=0, val=3)
    assert [len(dataset.splits[split]) for split in ("train", "dev", "val")] == [120, 0, 3]
    assert dataset.splits["val"] == ("val_00000", "val_00001", "val_00002")
    ids = [photo_id for part in dataset.splits.values() for photo_id in part]
    assert len(set(ids)) == 123
    assert all(a < b for part in dataset.splits.values() for a, b in pairwise(part))


@settings(max_examples=25, deadline=None)
@given(
    classes=st.integers(1, 10).map(lambda pairs: 2 * pairs),
    size=st.sampled_from([32, 33, 64, 100]),
    part_size=st.floats(0.2, 0.8),
    clutter=st.floats(0, 1),
    data_seed=st.integers(0, 2**63 - 1),
    split=st.sampled_from(["train", "dev", "val"]),
)
def test_a_photo_is_the_same_every_time_and_whatever_the_counts(
    classes: int, size: int, part_size: float, clutter: float, data_seed: int, split: str
) -> None:
    knobs = {"classes": classes, "size": size, "part_size": part_size, "clutter": clutter, "data_seed": data_seed}
    few, many = scenes(**knobs, train=2, dev=2, val=2), scenes(**knobs, train=9, dev=8, val=7)
    photo, again = few.photo(f"{split}_00001"), many.photo(f"{split}_00001")
    image, mask = photo.image(), few.read_mask(photo.id)
    assert photo == again
    assert few.mask_content(photo.id) == many.mask_content(photo.id) != photo.content
    assert np.array_equal(image, again.image())
    assert np.array_equal(mask, many.read_mask(photo.id))
    assert (image.shape, mask.shape) == ((size, size, 3), (size, size))
    assert image.dtype == mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, *(label + 1 for label in photo.labels)}
    assert image.std() > 5


def test_photos_differ_by_seed_split_index_and_knob() -> None:
    base = scenes()
    others = [scenes(data_seed=1), scenes(clutter=0.5), scenes(background_correlation=0.5), scenes(part_size=0.45)]
    photos = [base.photo(photo_id) for photo_id in ("train_00000", "train_00001", "dev_00000", "val_00000")]
    photos += [other.photo("train_00000") for other in others]
    assert len({photo.content for photo in photos}) == len(photos)
    assert len({photo.image().tobytes() for photo in photos}) == len(photos)


def test_identity_names_what_decides_the_content() -> None:
    identity = scenes(train=5).identity()
    assert identity == scenes(train=6).identity()
    assert identity["name"] == "scenes"
    assert identity != scenes(train=5, data_seed=1).identity()
    assert not {"train", "dev", "val"} & set(identity)


def test_photos_can_be_made_in_other_processes() -> None:
    dataset = scenes()
    photo = pickle.loads(pickle.dumps(dataset)).photo("dev_00007")
    assert np.array_equal(pickle.loads(pickle.dumps(photo)).image(), dataset.photo("dev_00007").image())


@pytest.mark.parametrize("knobs", [{}, {"classes": 20, "part_size": 0.2}, {"part_size": 0.8, "co_occurrence": 1.0}])
def test_labels_are_the_classes_in_the_mask(knobs: dict[str, float]) -> None:
    dataset = scenes(size=128, **knobs)
    for photo_id in dataset.splits["train"]:
        labels = dataset.photo(photo_id).labels
        areas = np.bincount(dataset.read_mask(photo_id).ravel(), minlength=22)
        assert list(np.flatnonzero(areas[1:])) == list(labels)
        assert min(areas[label + 1] for label in labels) > 0.01 * 128**2


def test_objects_are_about_as_long_as_told() -> None:
    """Along its axis an object fills `length`; boxy heads and slender snouts fall a little short of it."""
    dataset, lone = scenes(size=128, classes=20), 0
    for photo_id in dataset.splits["train"]:
        things = dataset.recipe(photo_id).layout().things
        assert all(LENGTHS[0] <= thing.length <= LENGTHS[1] for thing in things)
        if len(things) == 1:
            lone += 1
            y, x = np.nonzero(dataset.read_mask(photo_id))
            along = x * np.cos(things[0].tilt) + y * np.sin(things[0].tilt)
            assert 0.86 * things[0].length * 128 - 2 < np.ptp(along) < things[0].length * 128 + 1
    assert lone > 50


def test_scenes_have_one_to_three_objects() -> None:
    counts = np.bincount([len(layout.things) for layout in layouts(scenes())], minlength=4)
    assert counts[0] == 0
    assert min(counts[1:4]) > 100


def test_partners_appear_together_as_often_as_told() -> None:
    def share(co_occurrence: float) -> float:
        """Of the further objects, the share that are the first one's partner."""
        drawn = [layout.things for layout in layouts(scenes(co_occurrence=co_occurrence))]
        pairs = [(things[0].class_id, other.class_id) for things in drawn for other in things[1:]]
        return float(np.mean([partner(first) == second for first, second in pairs]))

    assert share(1.0) == 1
    assert abs(share(0.0) - 1 / 6) < 0.06
    assert abs(share(0.4) - (0.4 + 0.6 / 6)) < 0.06


def test_the_ground_follows_from_the_first_class_as_often_as_told() -> None:
    def share(correlation: float) -> float:
        drawn = layouts(scenes(background_correlation=correlation))
        return float(np.mean([layout.background == layout.things[0].class_id % len(GROUNDS) for layout in drawn]))

    assert share(1.0) == 1
    assert abs(share(0.0) - 0.1) < 0.05
    assert abs(share(0.6) - (0.6 + 0.4 / 10)) < 0.06


def test_clutter_changes_the_photo_but_not_the_labels_rule() -> None:
    bare, full = scenes(clutter=0.0), scenes(clutter=1.0)
    for photo_id in bare.splits["dev"][:20]:
        for dataset in (bare, full):
            classes = {int(value) - 1 for value in np.unique(dataset.read_mask(photo_id))} - {-1}
            assert classes == set(dataset.photo(photo_id).labels)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("classes", 7), ("classes", 22), ("classes", 0), ("size", 8), ("size", 10_000), ("train", 0), ("val", -1)),
        *(("co_occurrence", 1.5), ("background_correlation", -0.1), ("part_size", 0.0), ("data_seed", -1)),
        *(("clutter", 2), ("clutter", float("nan")), ("train", 100_001), ("colour", 1)),
    ],
)
def test_absurd_options_are_refused(option: str, value: float) -> None:
    with pytest.raises(ValidationError, match=option):
        scenes(**{option: value})


def test_an_odd_number_of_classes_is_explained() -> None:
    with pytest.raises(ValidationError, match="an even number, 6 or 8: classes"):
        scenes(classes=7)


@pytest.mark.parametrize("photo_id", ["train_00300", "test_00300", "train_1", ""])
def test_unknown_ids_are_refused(photo_id: str) -> None:
    dataset = scenes()
    for read in (dataset.photo, dataset.read_mask, dataset.mask_content):
        with pytest.raises(UserError, match="300 of train"):
            read(photo_id)


@pytest.mark.parametrize("pair", range(10))
def test_partners_differ_in_the_head_alone(pair: int) -> None:
    things = [Thing(2 * pair + which, (0.5, 0.5), 0.6, 0.3, False, 0.5) for which in range(2)]
    photos = [draw_photo(Layout(0, (thing,)), 128, 0.5, np.random.default_rng(3)) for thing in things]
    y, x = np.nonzero((photos[0] != photos[1]).any(2))
    assert y.size > 50
    reach = 1.6 * things[0].head_radius * 128
    assert np.hypot(x - things[0].head_centre[0] * 128, y - things[0].head_centre[1] * 128).max() < reach


def test_the_test_set_is_as_large_as_val_and_in_no_split() -> None:
    dataset = scenes(val=3)
    assert dataset.test_ids() == ("test_00000", "test_00001", "test_00002") and "test" not in dataset.splits
    assert [(photo.id, photo.labels) for photo in dataset.eval_set("test").photos] == [
        (photo_id, ()) for photo_id in dataset.test_ids()
    ]
    with pytest.raises(UserError, match="an id of that split"):
        Gate(dataset, "test", "score").mask("test", "test_00000")
