"""Reranking on a toy set: what all cues take for an object wins over what one of them sees; few photos, no objects."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from methods.base import TrainingOptions
from methods.cues.mean_of import MeanOf
from methods.cues.rerank import Rerank, RerankOptions
from methods.fusing import FusingOptions
from settings.errors import UserError
from settings.records import LabelSpace, WeakSet
from tests.methods.conftest import MemoryBank, Toy, make_photo

SIDE = 64


def rerank(**options: Any) -> Rerank:
    training = TrainingOptions(epochs=6, batch=16, learning_rate=0.1)
    return Rerank(RerankOptions(cues=["boundary", "spectral"], training=training, **options))


@pytest.fixture
def scene() -> tuple[Toy, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Photos with an object that both cues see and a blot that one of them sees; each has features of its own."""
    rng = np.random.default_rng(0)
    features, truth, maps = {}, {}, {}
    for number in range(24):
        photo_id, top = f"p{number:02d}", int(rng.integers(0, 4))
        cells = np.zeros((3, 8, 8), np.float32)
        cells[0, top : top + 4, 4:7], cells[1, 5:7, 0:2] = 1, 1
        features[photo_id] = cells + 0.05 * rng.random((3, 8, 8), np.float32)
        big = cells.repeat(8, 1).repeat(8, 2)
        truth[photo_id] = big[0].astype(np.uint8)
        maps[photo_id] = ((220 * big[0]).astype(np.uint8), (255 * np.maximum(big[0], big[1])).astype(np.uint8))
    photos = tuple(make_photo(photo_id, (), np.zeros((SIDE, SIDE, 3), np.uint8)) for photo_id in truth)
    bank = MemoryBank({4: features}, dict.fromkeys(truth, (SIDE, SIDE)))
    return Toy(WeakSet(photos, LabelSpace(("a",))), bank, truth, truth), maps


def test_what_all_cues_see_wins(scene: Any, surroundings: Callable[..., Any]) -> None:
    toy, maps = scene
    cue, context = rerank(), surroundings(bank=toy.bank, cues=maps.__getitem__)
    fit = cue.fit(toy.weak.photos, context)
    assert fit.log[-1]["order"] < 0.5 * fit.log[0]["order"] + 1e-6
    found = cue.apply(toy.weak.photos, replace(context, weights=fit.weights))
    for photo, map_HW in zip(toy.weak.photos, found, strict=True):
        mean_HW = np.mean(maps[photo.id], 0).round()
        assert np.array_equal(map_HW, mean_HW * (toy.truth[photo.id] > 0))


def test_photos_without_objects_keep_the_mean(scene: Any, surroundings: Callable[..., Any]) -> None:
    toy, _ = scene
    dim = np.full((SIDE, SIDE), 90, np.uint8)
    context = surroundings(bank=toy.bank, cues=lambda _: (dim, dim))
    weights = rerank().fit(toy.weak.photos[:3], context).weights
    (found,) = rerank().apply(toy.weak.photos[:1], replace(context, weights=weights))
    assert np.array_equal(found, dim)


def test_a_single_photo_has_nothing_to_be_held_against(scene: Any, surroundings: Callable[..., Any]) -> None:
    """All its objects win, and the mean of the cues inside their boxes is the mean."""
    toy, maps = scene
    context = surroundings(bank=toy.bank, cues=maps.__getitem__)
    fit = rerank().fit(toy.weak.photos[:1], context)
    assert fit.log == ()
    (found,) = rerank().apply(toy.weak.photos[:1], replace(context, weights=fit.weights))
    assert np.array_equal(found, np.mean(maps["p00"], 0).round())


def test_the_mean_is_rounded_and_takes_maps_of_one_size(surroundings: Callable[..., Any]) -> None:
    photo, mean = make_photo("p"), MeanOf(FusingOptions(cues=["boundary", "spectral", "c2am"]))
    maps = tuple(np.full((4, 5), value, np.uint8) for value in (0, 100, 255))
    (found,) = mean.apply([photo], surroundings(cues=lambda _: maps))
    assert np.array_equal(found, np.full((4, 5), 118))
    with pytest.raises(UserError, match=r"photo 'p': found saliency of 5×4 pixels; expected 4×5"):
        list(mean.apply([photo], surroundings(cues=lambda _: (maps[0].T, *maps))))


def test_it_uses_what_its_parts_use() -> None:
    folder = {"name": "folder", "root": "/nowhere", "supervision": "S+L"}
    cue = MeanOf(FusingOptions(cues=["boundary", {"name": "mean_of", "cues": ["c2am", folder]}]))
    assert cue.supervision == "L+S"
    assert [type(part).__name__ for part in cue.all_parts()] == ["Boundary", "C2am", "Folder", "MeanOf"]
    with pytest.raises(UserError, match=r"cue\.cues\.0: found unknown cue 'sepctral'; .* did you mean 'spectral'"):
        MeanOf(FusingOptions(cues=["sepctral"])).check_installed("cue")
