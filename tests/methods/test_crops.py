"""Crops whose every pixel is traced back to the photo."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from methods.crops import Crops
from settings.images import resize

FILL = (1, 2, 3)


def coded(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A photo whose pixel (y, x) is (y + 10, x + 10, 99), and a mask of (y + x) mod 200."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y + 10, x + 10, np.full_like(x, 99)], 2).astype(np.uint8), ((y + x) % 200).astype(np.uint8)


def drawn(crops: Crops, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A photo and its mask, cut at the next place."""
    return crops.cut(image, mask, crops.place((mask.shape[0], mask.shape[1]), rng))


@given(height=st.integers(1, 30), width=st.integers(1, 30), side=st.integers(1, 40), seed=st.integers(0, 1000))
def test_a_crop_is_a_window_on_the_photo(height: int, width: int, side: int, seed: int) -> None:
    image, mask = coded(height, width)
    crop, labels = drawn(Crops(side, (1.0, 1.0), FILL), image, mask, np.random.default_rng(seed))
    assert (crop.shape, labels.shape, crop.dtype, labels.dtype) == ((side, side, 3), (side, side), np.uint8, np.uint8)
    inside = crop[:, :, 2] == 99
    assert inside.sum() == min(height, side) * min(width, side), "as much of the photo as there is room for"
    assert (labels[~inside] == 255).all()
    assert (crop[~inside] == FILL).all()
    rows, columns = crop[inside][:, 0].astype(int) - 10, crop[inside][:, 1].astype(int) - 10
    assert np.array_equal(labels[inside], mask[rows, columns])
    steps = np.diff(crop[:, :, 1].astype(int), axis=1)[inside[:, 1:] & inside[:, :-1]]
    assert len(set(steps.tolist()) - {1, -1}) == 0
    assert len(set(steps.tolist())) <= 1, "mirrored as a whole or not at all"
    down = np.diff(crop[:, :, 0].astype(int), axis=0)[inside[1:] & inside[:-1]]
    assert set(down.tolist()) <= {1}


def test_every_window_and_both_directions_are_drawn() -> None:
    image, mask = coded(6, 5)
    rng = np.random.default_rng(0)
    cut = [drawn(Crops(4, (1.0, 1.0), FILL), image, mask, rng)[0] for _ in range(200)]
    corners = {(int(crop[0, 0, 0]), int(crop[0, :, 1].min()), bool(crop[0, 0, 1] < crop[0, 1, 1])) for crop in cut}
    assert corners == {(10 + y, 10 + x, plain) for y in range(3) for x in range(2) for plain in (False, True)}
    padded = [drawn(Crops(8, (1.0, 1.0), FILL), image, mask, rng)[0] for _ in range(200)]
    places = {tuple(int(i[0]) for i in np.nonzero(crop[:, :, 2] == 99)) for crop in padded}
    assert places == {(y, x) for y in range(3) for x in range(4)}


def test_photo_and_mask_are_resized_by_one_factor() -> None:
    """At a fixed factor of one half, a crop as large as the photo shows all of it."""
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (20, 30, 3)).astype(np.uint8)
    mask = rng.integers(0, 21, (20, 30)).astype(np.uint8)
    seen = set()
    for _ in range(20):
        crop, labels = drawn(Crops(15, (0.5, 0.5), FILL), image, mask, rng)
        plain = np.array_equal(labels[labels != 255].reshape(10, 15), mask[1::2, 1::2])
        seen.add(plain)
        small = resize(image, 10, 15)
        expected = small if plain else small[:, ::-1]
        assert np.array_equal(crop[labels != 255].reshape(10, 15, 3), expected)
    assert seen == {True, False}


def test_factors_fill_the_range() -> None:
    """A photo of 100 pixels a side, surrounded: its size in the crop tells the factor."""
    rng, sizes = np.random.default_rng(1), []
    image, mask = np.zeros((100, 100, 3), np.uint8), np.zeros((100, 100), np.uint8)
    for _ in range(100):
        _, labels = drawn(Crops(140, (0.7, 1.3), FILL), image, mask, rng)
        sizes.append(int((labels != 255).any(0).sum()))
    assert 70 <= min(sizes) < 75
    assert 125 < max(sizes) <= 130
