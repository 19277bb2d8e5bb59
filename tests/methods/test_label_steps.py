"""Labels of sure pixels: the scores at which a class or background is believed, by hand; what refiners change."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from methods.label_steps import LabelRefiner, affinity_labels, irn_labels
from settings.records import Image, Mask

Labels = Callable[..., Mask]
Floats = NDArray[np.float32]


def flat(height: int, width: int) -> Image:
    return np.full((height, width, 3), 90, np.uint8)


def row(*scores: float) -> Floats:
    return np.array([[scores]], np.float32)


def turning_point(power: float) -> float:
    """The score m at which m = (1 − m)^power, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if middle < (1 - middle) ** power else (low, middle)
    return low


def test_affinity_labels_change_where_map_and_background_are_equal() -> None:
    wide, sure = turning_point(24), turning_point(4)
    assert 0.08 < wide < 0.1 < 0.27 < sure < 0.28
    maps = row(0, wide - 1e-3, wide + 1e-3, sure - 1e-3, sure + 1e-3, 1)
    assert affinity_labels(maps, [4], flat(1, 6), refiner="none").tolist() == [[0, 0, 255, 255, 5, 5]]


def test_affinity_labels_of_one_power_have_no_unknown() -> None:
    maps = np.random.default_rng(0).random((2, 9, 7)).astype(np.float32) ** 3
    labels = affinity_labels(maps, [1, 6], flat(9, 7), low=8, high=8, refiner="none")
    background = (1 - maps.max(0)) ** 8
    expected = np.where(background >= maps.max(0), 0, np.where(maps[0] >= maps[1], 2, 7))
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, expected)


def test_irn_labels_by_hand() -> None:
    maps = np.concatenate([row(0, 0.04, 0.06, 0.29, 0.31, 0.5), row(0, 0, 0, 0, 0, 0.9)])
    assert irn_labels(maps, [0, 2], flat(1, 6), refiner="none").tolist() == [[0, 0, 255, 255, 1, 3]]
    other = irn_labels(maps, [0, 2], flat(1, 6), foreground=0.6, background=0.3, refiner="none")
    assert other.tolist() == [[0, 0, 0, 0, 255, 3]]


@pytest.mark.parametrize("labels", [affinity_labels, irn_labels])
@pytest.mark.parametrize("refiner", ["none", "pamr", "dense_crf"])
def test_a_photo_without_labels_is_background(labels: Labels, refiner: LabelRefiner) -> None:
    found = labels(np.zeros((0, 3, 4), np.float32), [], flat(3, 4), refiner=refiner)
    assert np.array_equal(found, np.zeros((3, 4), np.uint8))


def two_halves() -> tuple[Floats, Image, Mask]:
    """A bright object in the right half; its map spills over two columns of the dark left."""
    rng = np.random.default_rng(0)
    image = np.full((32, 32, 3), 40, np.uint8) + rng.integers(0, 6, (32, 32, 3), np.uint8)
    image[:, 16:] += 150
    maps = np.zeros((1, 32, 32), np.float32)
    maps[:, :, 14:] = 0.6
    truth = np.zeros((32, 32), np.uint8)
    truth[:, 16:] = 1
    return maps, image, truth


@pytest.mark.parametrize("labels", [affinity_labels, irn_labels])
@pytest.mark.parametrize("refiner", ["pamr", "dense_crf"])
def test_refiners_follow_the_photo(labels: Labels, refiner: LabelRefiner) -> None:
    if refiner == "dense_crf":
        pytest.importorskip("pydensecrf", reason="pydensecrf2 is not installed (extra crf)")
    maps, image, truth = two_halves()
    as_they_are = labels(maps, [0], image, refiner="none")
    refined = labels(maps, [0], image, refiner=refiner)
    assert set(np.unique(refined)) <= {0, 1, 255}
    assert (as_they_are != truth).sum() == 2 * 32
    wrong = (refined != truth) & (refined != 255)
    assert wrong.sum() <= 0.25 * 2 * 32


def test_contradictions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refiner that calls background what was a class, and a class what was background."""
    turned = lambda both, image: [scores[::-1] for scores in both]  # noqa: E731
    monkeypatch.setattr("methods.label_steps._pamr", turned)
    assert affinity_labels(row(0.2), [0], flat(1, 1)).tolist() == [[0]]
    assert irn_labels(row(0.2), [0], flat(1, 1)).tolist() == [[1]]


@pytest.mark.parametrize("labels", [affinity_labels, irn_labels])
def test_sizes_that_differ_are_refused(labels: Labels) -> None:
    with pytest.raises(ValueError, match="another size"):
        labels(np.zeros((1, 3, 4), np.float32), [0], flat(4, 3))
