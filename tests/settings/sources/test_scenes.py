"""Rendered extra photos: what they depend on, that they show what the truth says, rates, and what rates leave alone."""

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from settings.aliases import Aliases
from settings.datasets import scenes as dataset
from settings.discovery import SOURCES
from settings.errors import UserError
from settings.records import LabelSpace, Photo
from settings.rendering.backgrounds import BACKDROPS, EVERY_GROUND, GROUNDS
from settings.rendering.catalogue import NAMES
from settings.rendering.scene import draw_mask
from settings.source import Kind
from settings.sources.scenes import ExtraRecipe, Scenes, ScenesOptions
from settings.styles import STYLES

SPACE = LabelSpace(NAMES[:6])
Options = dict[str, Any]


def source(**options: Any) -> Scenes:
    return Scenes(ScenesOptions.model_validate({"size": 48, "photos_per_class": 100} | options))


def photos(kind: Kind = "web", **options: Any) -> tuple[Photo, ...]:
    return source(**options).photos(kind, SPACE, Aliases())


def truth(kind: Kind = "web", **options: Any) -> dict[str, tuple[int, ...]]:
    return dict(source(**options).truth(kind, SPACE, Aliases()))


def recipe(photo: Photo) -> ExtraRecipe:
    made: ExtraRecipe = photo.load.__self__  # type: ignore[attr-defined]
    return made


def test_is_registered_under_its_file_name() -> None:
    assert SOURCES.load("scenes") is Scenes


def test_photos_of_each_class() -> None:
    found = photos("single_label", photos_per_class=3)
    assert [photo.id for photo in found[:4]] == [
        *("single_label.bee.00000", "single_label.bee.00001", "single_label.bee.00002", "single_label.carp.00000")
    ]
    assert len(found) == 18 and {photo.source for photo in found} == {"single_label"}
    assert all(photo.labels == (NAMES.index(photo.id.split(".")[1]),) for photo in found)
    assert found[0].image().shape == (48, 48, 3)
    assert np.array_equal(pickle.loads(pickle.dumps(found[0])).image(), found[0].image())


@pytest.mark.parametrize("kind", ["single_label", "web"])
def test_photos_show_what_the_truth_says(kind: Kind) -> None:
    shown = truth(kind)
    for photo in photos(kind):
        mask_HW = draw_mask(recipe(photo).layout(), 48)
        assert set(np.unique(mask_HW).tolist()) - {0} == {label + 1 for label in shown[photo.id]}
        assert recipe(photo).layout().labels == shown[photo.id]


def test_single_photos_are_large_in_the_middle_of_a_plain_backdrop_and_right() -> None:
    assert truth("single_label") == {photo.id: photo.labels for photo in photos("single_label")}
    backgrounds = set()
    for photo in photos("single_label", size=64)[::7]:
        layout = recipe(photo).layout()
        mask_HW = draw_mask(layout, 64)
        y, x = np.nonzero(mask_HW)
        assert 0.1 < (mask_HW > 0).mean() < 0.5
        assert mask_HW[[0, -1]].max() == mask_HW[:, [0, -1]].max() == 0
        assert abs((y.min() + y.max()) / 2 - 31.5) < 8 and abs((x.min() + x.max()) / 2 - 31.5) < 8
        # Away from object and shadow there is little to see.
        assert photo.image()[:6].std((0, 1)).max() < 16
        backgrounds.add(layout.background)
    assert backgrounds == set(range(len(GROUNDS), len(EVERY_GROUND))) and len(backgrounds) == len(BACKDROPS)


def test_web_photos_lie_on_the_grounds_of_the_data_set_which_follow_what_is_shown() -> None:
    made = [recipe(photo).layout() for photo in photos(off_topic=0, wrong_class=0.5)]
    assert all(len(layout.things) == 1 and layout.background < len(GROUNDS) for layout in made)
    follows = np.mean([layout.background == layout.things[0].class_id for layout in made])
    assert abs(follows - (0.6 + 0.4 / 10)) < 0.08


@pytest.mark.parametrize("count", [10, 37, 100, 250])
@pytest.mark.parametrize("rate", [0.1, 0.2, 0.4, 0.6])
def test_rates_hold_in_each_class_to_within_three_photos(count: int, rate: float) -> None:
    options = {"photos_per_class": count, "wrong_class": rate, "off_topic": 0.3, "style_shift": rate}
    shown, found = truth(**options), photos(**options)
    for label in range(6):
        own = [photo for photo in found if photo.labels == (label,)]
        wrong = sum(shown[photo.id] not in ((), (label,)) for photo in own)
        topic = sum(shown[photo.id] == () for photo in own)
        shifted = sum(recipe(photo).style is not None for photo in own)
        assert abs(wrong - rate * count) <= 3 and abs(topic - 0.3 * count) <= 3 and abs(shifted - rate * count) <= 3


def test_the_defaults_are_those_of_the_setting() -> None:
    assert truth() == truth(look="web", wrong_class=0.2, off_topic=0.1, style_shift=0.3)
    shown = truth(photos_per_class=500)
    assert sum(not labels for labels in shown.values()) == pytest.approx(300, abs=12)
    assert photos("web", look="single") != photos("web")
    assert [recipe(photo).look for photo in photos("single_label", look="web")[:2]] == ["web", "web"]
    clean = photos("single_label", look="web", wrong_class=0, off_topic=0, style_shift=0)
    assert all(recipe(photo).shown == recipe(photo).query and recipe(photo).style is None for photo in clean)


def test_noise_changes_the_photos_that_it_is_about_and_no_other() -> None:
    clean = {photo.id: photo for photo in photos(wrong_class=0, off_topic=0, style_shift=0)}
    for noise in ("wrong_class", "off_topic", "style_shift"):
        before: dict[str, Photo] = {}
        for rate in (0.1, 0.2, 0.4, 0.6, 1.0):
            rates = {"wrong_class": 0, "off_topic": 0, "style_shift": 0} | {noise: rate}
            noisy = {photo.id: photo for photo in photos(**rates) if photo != clean[photo.id]}
            assert before.items() <= noisy.items()
            assert len(noisy) == pytest.approx(600 * rate, abs=12)
            before = noisy
    mixed = photos(wrong_class=0.2, off_topic=0.1, style_shift=0)
    one = {photo.id: photo for photo in photos(wrong_class=0.2, off_topic=0, style_shift=0)}
    other = {photo.id: photo for photo in photos(wrong_class=0, off_topic=0.1, style_shift=0)}
    assert all(photo in (one[photo.id], other[photo.id]) for photo in mixed)


def test_a_wrong_class_changes_object_and_ground_alone() -> None:
    clean = {photo.id: recipe(photo) for photo in photos(wrong_class=0)}
    shown = truth(wrong_class=0.5)
    wrong = [photo for photo in photos(wrong_class=0.5) if shown[photo.id] not in ((), photo.labels)]
    assert len(wrong) == pytest.approx(300, abs=12)
    for photo in wrong:
        (thing,), (before,) = recipe(photo).layout().things, clean[photo.id].layout().things
        assert (thing.centre, thing.length, thing.tilt) == (before.centre, before.length, before.tilt)
    pairs = [(photo.labels[0], shown[photo.id][0]) for photo in wrong]
    assert len(set(pairs)) == 30 and max(map(pairs.count, pairs)) < 25


def test_styles_are_used_alike() -> None:
    styles = [recipe(photo).style for photo in photos(style_shift=1)]
    assert {style: 110 < styles.count(style) < 190 for style in STYLES} == dict.fromkeys(STYLES, True)


@hypothesis_settings(max_examples=15)
@given(
    size=st.sampled_from([32, 33, 64]),
    part_size=st.floats(0.2, 0.8),
    data_seed=st.integers(0, 2**63 - 1),
    kind=st.sampled_from(["single_label", "web"]),
    classes=st.sampled_from([NAMES[:2], NAMES[4:8], ("toad", "bee")]),
)
def test_a_photo_is_the_same_every_time_and_whatever_the_count(
    size: int, part_size: float, data_seed: int, kind: Kind, classes: tuple[str, ...]
) -> None:
    knobs = {"size": size, "part_size": part_size, "data_seed": data_seed}
    space = LabelSpace(classes)
    few = source(**knobs, photos_per_class=3).photos(kind, space, Aliases())
    many = {photo.id: photo for photo in source(**knobs, photos_per_class=8).photos(kind, space, Aliases())}
    for photo in few:
        assert many[photo.id] == photo
        image = photo.image()
        assert (image.shape, image.dtype) == ((size, size, 3), np.uint8)
        assert np.array_equal(image, many[photo.id].image())
        assert image.std() > 2


def test_photos_differ_by_look_knob_class_and_number_and_from_the_data_set() -> None:
    made = [photos(**options)[:2] for options in ({}, {"data_seed": 1}, {"part_size": 0.5}, {"look": "single"})]
    made.append(photos()[100:102])
    embedded = dataset.Scenes(dataset.ScenesOptions(size=48))
    made.append(tuple(embedded.photo(photo_id) for photo_id in embedded.splits["train"][:5]))
    every = [photo for group in made for photo in group]
    assert len({photo.content for photo in every}) == len({photo.image().tobytes() for photo in every}) == len(every)
    assert not {photo.content for photo in photos()} & {photo.content for photo in photos(size=49)}


def test_clean_photos_do_not_depend_on_the_label_space() -> None:
    few = source(wrong_class=0).photos("web", LabelSpace(("toad", "bee")), Aliases())
    many = {photo.id: photo.content for photo in source(wrong_class=0).photos("web", LabelSpace(NAMES), Aliases())}
    assert all(many[photo.id] == photo.content for photo in few)
    assert {photo.labels for photo in few if photo.id.startswith("web.bee")} == {(1,)}


@pytest.mark.parametrize(
    ("options", "kind", "names", "message"),
    [
        ({}, "web", ("bee", "wsap"), r"found unknown class 'wsap'; expected one of beaver, .*did you mean 'wasp'\?"),
        ({"wrong_class": 0.1}, "single_label", ("bee", "wasp"), r"wrong_class: found 0\.1 beside the look 'single'"),
        ({"style_shift": 0.5, "look": "single"}, "web", ("bee", "wasp"), r"style_shift: found 0\.5 beside"),
        ({"wrong_class": 1, "off_topic": 0}, "web", ("bee",), r"wrong_class: found a label space of one class"),
    ],
)
def test_what_does_not_fit_is_refused(options: Options, kind: Kind, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        source(**options).photos(kind, LabelSpace(names), Aliases())


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("look", "both"), ("photos_per_class", 0), ("size", 8), ("part_size", 0.9), ("data_seed", -1)),
        *(("wrong_class", 0.95), ("off_topic", -0.1), ("style_shift", 2), ("colour", 1)),
    ],
)
def test_absurd_options_are_refused(option: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=option):
        source(**{option: value})
