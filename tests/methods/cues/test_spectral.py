"""Spectral saliency: objects off the border are found, whatever the sign and the cut; flat photos show nothing."""

from typing import Any

import numpy as np
import pytest
import torch

from methods.cues.spectral import Spectral, SpectralOptions
from methods.spectral import colour_neighbours
from methods.training import flushed_denormals
from settings.records import LabelSpace
from tests.methods.conftest import MemoryBank, Noted, make_photo

SIZE = (48, 60)


def scene(inside: tuple[slice, slice], rng_seed: int = 0) -> tuple[Any, Noted, np.ndarray]:
    """A photo of a coloured box, with features that follow it, its surroundings, and the box at photo size."""
    rng = np.random.default_rng(rng_seed)
    box = np.zeros((12, 15), bool)
    box[inside] = True
    truth = box.repeat(4, 0).repeat(4, 1)
    image = np.where(truth[..., None], (200, 60, 30), (40, 90, 160)) + rng.integers(0, 30, (*SIZE, 3))
    features = np.stack([box, ~box, np.ones_like(box)]) + 0.1 * rng.random((3, 12, 15))
    photo = make_photo("p", (), image.astype(np.uint8))
    bank = MemoryBank({3: {"p": features.astype(np.float32)}}, {"p": SIZE})
    return photo, Noted(LabelSpace(("a",)), bank=bank), truth


def saliency(photo: Any, surroundings: Noted, **options: object) -> np.ndarray:
    (found,) = Spectral(SpectralOptions(grid=24, **options)).apply([photo], surroundings)
    return found


def iou(found: np.ndarray, truth: np.ndarray) -> float:
    shown = found >= 128
    return float((shown & truth).sum() / (shown | truth).sum())


@pytest.mark.parametrize("cut", ["otsu", "zero", "released"])
@pytest.mark.parametrize("sign", ["border", "smaller"])
def test_an_object_is_found(sign: str, cut: str) -> None:
    photo, surroundings, truth = scene((slice(3, 9), slice(4, 11)))
    found = saliency(photo, surroundings, sign=sign, cut=cut)
    assert (found.shape, found.dtype) == (SIZE, np.uint8)
    assert iou(found, truth) > (0.5 if cut == "released" else 0.8)


def test_a_large_object_is_found_by_the_border_alone() -> None:
    photo, surroundings, truth = scene((slice(1, 11), slice(1, 14)))
    assert iou(saliency(photo, surroundings, cut="zero"), truth) > 0.8
    assert iou(saliency(photo, surroundings, cut="zero", sign="smaller"), truth) < 0.2


def test_neighbours_are_found_in_the_arithmetic_of_ieee_754(monkeypatch: pytest.MonkeyPatch) -> None:
    photo, surroundings, _ = scene((slice(3, 9), slice(4, 11)))
    plain, smallest = saliency(photo, surroundings), []

    def noted(image: np.ndarray) -> Any:
        smallest.append(float(torch.tensor(1e-40) * 1))
        return colour_neighbours(image)

    monkeypatch.setattr("methods.spectral.colour_neighbours", noted)
    with flushed_denormals():
        np.testing.assert_array_equal(saliency(photo, surroundings), plain)
        assert smallest[0] > 0
        assert float(torch.tensor(1e-40) * 1) == 0


def test_a_flat_photo_shows_nothing() -> None:
    _, surroundings, _ = scene((slice(3, 9), slice(4, 11)))
    flat = make_photo("p", (), np.full((*SIZE, 3), 128, np.uint8))
    assert not saliency(flat, surroundings).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (500, 3)])
def test_photos_of_any_size_have_maps_of_their_size(size: tuple[int, int]) -> None:
    _, surroundings, _ = scene((slice(3, 9), slice(4, 11)))
    image = np.random.default_rng(1).integers(0, 255, (*size, 3)).astype(np.uint8)
    assert saliency(make_photo("p", (), image), surroundings).shape == size


def test_features_that_are_all_alike_leave_the_colours_to_decide() -> None:
    photo, _, truth = scene((slice(3, 9), slice(4, 11)))
    bank = MemoryBank({3: {"p": np.zeros((3, 12, 15), np.float32)}}, {"p": SIZE})
    assert iou(saliency(photo, Noted(LabelSpace(("a",)), bank=bank), cut="zero"), truth) > 0.8
