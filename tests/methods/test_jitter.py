"""Colour jitter against Pillow's changes of brightness, contrast and colour, and hue by hand."""

import colorsys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL import ImageEnhance

from methods.jitter import ColourJitter, jittered

PAPER = ColourJitter(0.3, 0.3, 0.3, 0.1)


class Fixed(np.random.Generator):
    """A generator whose amounts are given and whose order is the fields' order."""

    def __init__(self, *amounts: float) -> None:
        super().__init__(np.random.PCG64(0))
        self.amounts = amounts

    def uniform(self, low: object = 0.0, high: object = 1.0, size: object = None) -> np.ndarray:  # type: ignore[override]
        self.range = (low, high)
        return np.array(self.amounts)

    def permutation(self, x: object, axis: int = 0) -> np.ndarray:  # type: ignore[override]
        return np.arange(4)


def photo(seed: int = 0) -> np.ndarray:
    """Read-only, as resized photos are."""
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    pixels.setflags(write=False)
    return pixels


def changed_by(jitter: ColourJitter, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return jittered(image, jitter.draw(rng))


def test_nothing_changes_at_strength_zero() -> None:
    changed = changed_by(ColourJitter(0, 0, 0, 0), photo(), np.random.default_rng(0))
    assert np.abs(changed.astype(int) - photo()).max() <= 1, "the way to hue and back rounds"


@pytest.mark.parametrize(
    ("index", "enhance"), [(0, ImageEnhance.Brightness), (1, ImageEnhance.Contrast), (2, ImageEnhance.Color)]
)
@pytest.mark.parametrize("factor", [0.7, 1.25])
def test_each_change_is_pillows(index: int, enhance: type, factor: float) -> None:
    amounts = [1.0, 1.0, 1.0, 0.0]
    amounts[index] = factor
    changed = changed_by(PAPER, photo(), Fixed(*amounts))
    expected = np.asarray(enhance(PillowImage.fromarray(photo())).enhance(factor))
    assert np.abs(changed.astype(int) - expected).max() <= 2
    assert np.abs(changed.astype(int) - photo()).max() > 20


def test_the_hue_turns_by_a_share_of_the_circle() -> None:
    changed = changed_by(PAPER, photo(), Fixed(1.0, 1.0, 1.0, 0.1))
    for before, after in zip(photo().reshape(-1, 3), changed.reshape(-1, 3), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*(before / 255))
        expected = 255 * np.array(colorsys.hsv_to_rgb((hue + 0.1) % 1, saturation, value))
        assert np.abs(after - expected).max() <= 2


def test_amounts_lie_in_the_ranges_of_the_strengths() -> None:
    rng = Fixed(1.0, 1.0, 1.0, 0.0)
    ColourJitter(0.1, 0.2, 0.3, 0.4).draw(rng)
    assert np.allclose(rng.range, [[0.9, 0.8, 0.7, -0.4], [1.1, 1.2, 1.3, 0.4]])


@given(seed=st.integers(0, 2**32))
def test_the_generator_decides(seed: int) -> None:
    before = photo(seed)
    one, two = (changed_by(PAPER, before, np.random.default_rng(seed)) for _ in range(2))
    assert (one.shape, one.dtype) == ((9, 7, 3), np.uint8)
    assert np.array_equal(one, two)
    assert np.array_equal(before, photo(seed)), "the photo itself stays"
    assert not np.array_equal(one, changed_by(PAPER, before, np.random.default_rng(seed + 1)))
