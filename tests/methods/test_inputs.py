"""Training inputs: stored features or a backbone that is trained along."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from methods import inputs
from methods.base import BackboneOptions
from methods.inputs import FrozenInputs, Squares, TrainedInputs, training_inputs
from settings.images import resize
from settings.records import Photo

SMALL = BackboneOptions(name="test_efficientnet", weights="random", size=32)
ROWS = np.array([2, 0, 2])
FLIPS = np.array([True, False, False])


@pytest.fixture
def photos(photo: Callable[..., Photo]) -> list[Photo]:
    rng = np.random.default_rng(0)
    return [photo(f"p{i}", (), rng.integers(0, 256, (40 + i, 30, 3)).astype(np.uint8)) for i in range(3)]


def test_stored_features_come_by_row_and_flip(toy: Any) -> None:
    stored = training_inputs(toy.weak.photos, (1, 4), toy.bank, SMALL, "cpu")
    assert isinstance(stored, FrozenInputs)
    assert stored.channels == (7, 7)
    low, high = stored(ROWS, FLIPS)
    for features, level in ((low, 1), (high, 4)):
        expected = [toy.bank.features[level][toy.weak.photos[row].id] for row in ROWS]
        expected[0] = expected[0][:, :, ::-1]
        assert np.array_equal(features.numpy(), np.stack(expected))
    assert stored.groups(0.1) == []
    assert not list(stored.module.parameters())


def test_a_trained_backbone_sees_the_mirrored_photos(photos: list[Photo]) -> None:
    trained = training_inputs(photos, (4,), None, SMALL, "cpu")
    assert isinstance(trained, TrainedInputs)
    trained.module.eval()
    assert trained.channels == (64,)
    (features,) = trained(ROWS, FLIPS)
    squares = [resize(photos[row].image(), 32, 32) for row in ROWS]
    squares[0] = np.ascontiguousarray(squares[0][:, ::-1])
    backbone = trained.module
    assert torch.allclose(features, backbone(backbone.to_input(np.stack(squares)))[0], atol=1e-5)
    assert not torch.allclose(features[0], features[2], atol=1e-3)
    assert np.array_equal(trained.squares[2], squares[2]), "the kept photo is not mirrored in place"
    (group,) = trained.groups(0.25)
    assert group.factor == 0.25
    assert len(group.parameters) == len(list(backbone.parameters()))


def test_photos_are_decoded_once_while_there_is_room(photos: list[Photo], monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []
    counted = [replace(p, load=lambda p=p: (loads.append(p.id), p.image())[1]) for p in photos]
    monkeypatch.setattr(inputs, "MEMORY_LIMIT", 2 * 16 * 16 * 3)
    squares = Squares(counted, 16)
    for _ in range(2):
        for row, photo in enumerate(photos):
            assert np.array_equal(squares[row], resize(photo.image(), 16, 16))
    assert loads == ["p0", "p1", "p2", "p2"]
