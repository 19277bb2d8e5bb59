"""Styles against what they are defined by: luma, flat areas, mass and spread of a point, share of ink."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings.records import Image
from settings.styles import LETTERS, STYLES, blur, grey, sketch, watermark


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def noise(height: int = 48, width: int = 64) -> Image:
    return rng(1).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("name", STYLES)
@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 9))
def test_any_size_and_the_same_every_time(name: str, height: int, width: int, seed: int) -> None:
    image = noise(height, width)
    before = image.copy()
    styled = STYLES[name](image, rng(seed))
    assert (styled.shape, styled.dtype) == (image.shape, np.uint8)
    assert styled.flags.c_contiguous and styled.flags.writeable
    assert np.array_equal(styled, STYLES[name](image, rng(seed)))
    assert np.array_equal(image, before)


def test_grey_is_the_luma() -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [7, 7, 7], [0, 0, 0]]], np.uint8)
    assert grey(colours, rng()).tolist() == [[[v, v, v] for v in (76, 150, 29, 255, 7, 0)]]
    luma_HW = noise() @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey(noise(), rng()) - luma_HW[..., None]).max() <= 0.5 + 1e-9


def test_a_sketch_keeps_edges_alone() -> None:
    image = np.full((100, 100, 3), 60, np.uint8)
    image[:, 50:] = 200
    drawn = sketch(image, rng())
    assert (drawn[:, :30] == 255).all() and (drawn[:, 70:] == 255).all()
    assert drawn[:, 49].max() < 128
    assert (drawn == drawn[..., :1]).all()


def test_blur_spreads_a_point_and_keeps_its_light() -> None:
    point = np.zeros((101, 101, 3), np.uint8)
    point[40:61, 40:61] = 255
    blurred = blur(point, rng()).astype(float)
    assert abs(blurred.sum() / point.sum() - 1) < 0.01
    y = np.arange(101)
    # Variances add: that of the box, and that of a Gaussian of 1.5 to 3 pixels.
    variance = np.average((y - 50) ** 2, weights=blurred.sum((1, 2)))
    assert (21**2 - 1) / 12 + 1.4**2 < variance < (21**2 - 1) / 12 + 3.2**2


def test_a_watermark_is_white_ink_of_one_opacity() -> None:
    black, white = np.zeros((300, 300, 3), np.uint8), np.full((300, 300, 3), 255, np.uint8)
    assert np.array_equal(watermark(white, rng()), white)
    marked = watermark(black, rng())
    paper, ink = np.unique(marked)
    assert paper == 0 and 0.35 * 255 <= ink <= 0.6 * 255 + 0.5
    letters = sum(line.count("1") for line in LETTERS)
    share = letters / (2 * len(LETTERS) * (len(LETTERS[0]) + 4))
    assert abs((marked[..., 0] == ink).mean() - share) < 0.25 * share


def test_watermarks_differ() -> None:
    assert len({watermark(noise(), rng(seed)).tobytes() for seed in range(5)}) == 5
