"""Controlled noise: rates, what stays the same when they grow, and what photos then show."""

import pickle
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from settings.errors import UserError
from settings.noise import GRID, NoiseOptions, shuffle_tiles, with_noise
from settings.records import Image, LabelSpace, Photo
from settings.styles import STYLES

SPACE = LabelSpace(("cat", "dog", "cow"))


def picture(index: int) -> Image:
    return np.random.default_rng(index).integers(0, 256, (40, 33, 3), np.uint8)


def sample(count: int) -> list[Photo]:
    return [Photo(f"web.{i}", (i % 3,), f"{i:064x}", partial(picture, i), "web", f"cat/{i}") for i in range(count)]


PHOTOS = sample(600)


def noisy(photos: list[Photo] | None = None, **rates: float) -> dict[str, Photo]:
    changed, _ = with_noise(photos or PHOTOS, SPACE, NoiseOptions.model_validate(rates))
    return {photo.id: photo for photo in changed}


def changed(**rates: float) -> set[str]:
    now = noisy(**rates)
    return {photo.id for photo in PHOTOS if now[photo.id] != photo}


def test_without_noise_photos_are_what_they_were() -> None:
    photos, truth = with_noise(PHOTOS, SPACE, NoiseOptions())
    assert all(a is b for a, b in zip(photos, PHOTOS, strict=True))
    assert truth == {photo.id: photo.labels for photo in PHOTOS}


@pytest.mark.parametrize("noise", ["wrong_class", "off_topic", "style_shift"])
def test_rates_hold_and_photos_that_are_noisy_stay_so(noise: str) -> None:
    before: dict[str, Photo] = {}
    for rate in (0.0, 0.1, 0.2, 0.4, 0.6, 1.0):
        now = noisy(**{noise: rate})
        found = {photo.id: now[photo.id] for photo in PHOTOS if now[photo.id] != photo}
        assert before.items() <= found.items()
        # Four standard deviations of a binomial.
        assert abs(len(found) - rate * 600) <= 4 * np.sqrt(600 * rate * (1 - rate))
        before = found


def test_wrong_classes_are_the_others_alike_and_pixels_stay() -> None:
    found, truth = with_noise(PHOTOS, SPACE, NoiseOptions(wrong_class=1))
    assert all(a.labels != b.labels and len(a.labels) == 1 for a, b in zip(found, PHOTOS, strict=True))
    assert [photo.content for photo in found] == [photo.content for photo in PHOTOS]
    assert all(a.load is b.load for a, b in zip(found, PHOTOS, strict=True))
    counts = np.bincount([3 * b.labels[0] + a.labels[0] for a, b in zip(found, PHOTOS, strict=True)], minlength=9)
    assert (counts.reshape(3, 3).diagonal() == 0).all()
    assert (counts[counts > 0] > 70).all()
    assert truth == {photo.id: photo.labels for photo in PHOTOS}


def test_off_topic_photos_keep_label_and_size_and_show_nothing() -> None:
    found, truth = with_noise(PHOTOS[:5], SPACE, NoiseOptions(off_topic=1))
    assert set(truth.values()) == {()}
    for photo, before in zip(found, PHOTOS, strict=False):
        assert (photo.id, photo.labels, photo.source, photo.place) == (
            *(before.id, before.labels, before.source, before.place),
        )
        assert photo.content != before.content
        assert photo.image().shape == before.image().shape
        assert (photo.image() != before.image()).any(2).mean() > 0.9
        assert np.array_equal(pickle.loads(pickle.dumps(photo)).image(), photo.image())


def test_style_shift_uses_each_style_as_often() -> None:
    found = noisy(style_shift=1).values()
    styles = [photo.load.__self__.style for photo in found]  # type: ignore[attr-defined]
    assert {style: styles.count(style) > 110 for style in STYLES} == dict.fromkeys(STYLES, True)
    assert len({photo.content for photo in found}) == len(PHOTOS)
    grey = next(photo for photo, style in zip(found, styles, strict=True) if style == "grey")
    assert (grey.image() == grey.image()[..., :1]).all()


def test_kinds_of_noise_do_not_move_each_other() -> None:
    wrong, topic = changed(wrong_class=0.3), changed(off_topic=0.3)
    both, truth = with_noise(PHOTOS, SPACE, NoiseOptions(wrong_class=0.3, off_topic=0.3))
    assert not wrong & topic
    assert {photo_id for photo_id, labels in truth.items() if not labels} == topic
    assert {a.id for a, b in zip(both, PHOTOS, strict=True) if a.labels != b.labels} == wrong
    everything = noisy(wrong_class=0.5, off_topic=0.5)
    assert all(everything[photo.id] != photo for photo in PHOTOS)
    shifted = changed(style_shift=0.3)
    assert changed(wrong_class=0.3, style_shift=0.3) == wrong | shifted
    assert 20 < len(wrong & shifted) < 90


def test_neither_order_nor_other_photos_matter() -> None:
    rates = {"wrong_class": 0.3, "off_topic": 0.2, "style_shift": 0.5}
    everyone, few = noisy(**rates), noisy(PHOTOS[50:3:-2], **rates)
    assert all(everyone[photo_id] == photo for photo_id, photo in few.items())
    photos, _ = with_noise(PHOTOS[50:3:-2], SPACE, NoiseOptions(wrong_class=0.3))
    assert [photo.id for photo in photos] == [photo.id for photo in PHOTOS[50:3:-2]]


def test_another_noise_seed_makes_other_photos_noisy() -> None:
    one, other = changed(wrong_class=0.3), changed(wrong_class=0.3, noise_seed=1)
    assert 20 < len(one & other) < 90
    pixels = [noisy(off_topic=1, noise_seed=seed)["web.0"] for seed in (0, 1)]
    assert pixels[0].content != pixels[1].content
    assert not np.array_equal(pixels[0].image(), pixels[1].image())


def test_what_photos_showed_before_is_taken_over() -> None:
    before = {photo.id: () if index % 2 else (2,) for index, photo in enumerate(PHOTOS)}
    _, truth = with_noise(PHOTOS, SPACE, NoiseOptions(wrong_class=0.4, off_topic=0.2), before)
    topic = changed(off_topic=0.2)
    assert truth == {photo_id: () if photo_id in topic else shown for photo_id, shown in before.items()}


def test_there_must_be_another_class() -> None:
    with pytest.raises(UserError, match=r"noise\.wrong_class: found every class among the labels of photo 'web\.0'"):
        with_noise(PHOTOS[:1], LabelSpace(("cat",)), NoiseOptions(wrong_class=1))


@pytest.mark.parametrize(
    "rates", [{"wrong_class": 0.7, "off_topic": 0.4}, {"wrong_class": -0.1}, {"style_shift": 1.1}, {"noise_seed": -1}]
)
def test_absurd_rates_are_refused(rates: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        NoiseOptions.model_validate(rates)


def test_rates_that_add_up_to_one_are_fine() -> None:
    assert NoiseOptions(wrong_class=0.9, off_topic=0.1).off_topic == 0.1


def test_tiles_are_mixed_whole() -> None:
    """Each tile has a colour of its own: every colour is there as often as before, in squares of the grid."""
    side = 3 * GRID
    tiles = np.arange(GRID * GRID).reshape(GRID, GRID).repeat(3, 0).repeat(3, 1)
    image = np.stack([tiles, tiles, tiles], 2).astype(np.uint8)
    mixed = shuffle_tiles(image, np.random.default_rng(0))
    assert mixed.shape == (side, side, 3)
    assert (mixed == mixed[::3, ::3].repeat(3, 0).repeat(3, 1)).all()
    assert sorted(mixed[::3, ::3, 0].ravel().tolist()) == list(range(256))
    assert (mixed[::3, ::3, 0].ravel() == np.arange(256)).mean() < 0.05


@given(st.integers(1, 70), st.integers(1, 70))
def test_any_size_is_mixed(height: int, width: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    mixed = shuffle_tiles(image, np.random.default_rng(1))
    assert mixed.shape == image.shape
    colours = {tuple(colour) for colour in image.reshape(-1, 3).tolist()}
    assert {tuple(colour) for colour in mixed.reshape(-1, 3).tolist()} <= colours
    if height <= GRID and width <= GRID:
        assert sorted(mixed.reshape(-1, 3).tolist()) == sorted(image.reshape(-1, 3).tolist())
