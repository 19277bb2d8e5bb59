"""Training inputs: stored features or a backbone that is trained along."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from methods.base import BackboneOptions, FeatureRequest
from methods.features import FrozenBackbone, compute
from methods.inputs import FrozenInputs, Squares, TrainedInputs, training_inputs
from methods.networks import tuned
from methods.networks.backbones import Backbone, build
from methods.networks.offsets import moved, offsets
from settings.images import resize
from settings.records import Photo
from tests.methods.conftest import Noted

SMALL = BackboneOptions(name="test_efficientnet", weights="random", size=32)
ROWS = np.array([2, 0, 2])
FLIPS = np.array([True, False, False])


@pytest.fixture
def photos(photo: Callable[..., Photo]) -> list[Photo]:
    rng = np.random.default_rng(0)
    return [photo(f"p{i}", (), rng.integers(0, 256, (40 + i, 30, 3)).astype(np.uint8)) for i in range(3)]


def level_4(backbone: Any, squares: list[np.ndarray]) -> torch.Tensor:
    """Features of the squares, at their place."""
    (offset,) = offsets(backbone, 32)
    return moved(backbone(backbone.to_input(np.stack(squares)))[0], offset)


def test_stored_features_come_by_row_and_flip(toy: Any) -> None:
    stored = training_inputs(toy.weak.photos, (1, 4), Noted(bank=toy.bank))
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
    trained = training_inputs(photos, (4,), Noted(backbone=SMALL))
    assert isinstance(trained, TrainedInputs)
    trained.module.eval()
    assert trained.channels == (64,)
    (features,) = trained(ROWS, FLIPS)
    squares = [resize(photos[row].image(), 32, 32) for row in ROWS]
    squares[0] = np.ascontiguousarray(squares[0][:, ::-1])
    assert torch.allclose(features, level_4(trained.module, squares), atol=1e-5)
    assert not torch.allclose(features[0], features[2], atol=1e-3)
    assert np.array_equal(trained.squares.at(2, 1.0), squares[2]), "the kept photo is not mirrored in place"
    (group,) = trained.groups(0.25)
    assert group.factor == 0.25
    assert len(group.parameters) == len(list(trained.module.parameters()))


def test_training_does_not_change_by_how_much_features_are_moved(
    photos: list[Photo], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that goes on after a kill starts with trained weights, and must go on as it would have."""
    trained = TrainedInputs(photos, (4,), SMALL, "cpu")
    for parameter in trained.module.parameters():
        parameter.data.neg_()
    seen = []
    monkeypatch.setattr(tuned, "offsets", lambda backbone, side: seen.append((backbone, side)) or (0.25,))
    trained(ROWS, FLIPS)
    trained(ROWS, FLIPS)
    ((measured, side),) = seen
    assert side == 32
    fresh = build(SMALL, (4,)).state_dict()
    assert all(torch.equal(value, fresh[name]) for name, value in measured.state_dict().items())


class ScaledBank:
    """A bank whose features tell photo, scale, flip and level."""

    def features_BCHW(self, ids: list[str], requests: list[FeatureRequest]) -> torch.Tensor:
        rows = [
            [int(name[1:]), request.scale, request.flip, request.level]
            for name, request in zip(ids, requests, strict=True)
        ]
        return torch.tensor(rows, dtype=torch.float32)[:, :, None, None]

    def image_size(self, photo_id: str) -> tuple[int, int]:
        raise NotImplementedError


def test_stored_features_come_at_a_scale(photos: list[Photo]) -> None:
    stored = training_inputs(photos, (1, 4), Noted(bank=ScaledBank()))
    for level, features in zip((1, 4), stored(ROWS, FLIPS, 0.75), strict=True):
        assert features[:, :, 0, 0].tolist() == [[2, 0.75, 1, level], [0, 0.75, 0, level], [2, 0.75, 0, level]]
    assert stored(ROWS, FLIPS)[0][:, 1].flatten().tolist() == [1, 1, 1]


def test_stored_features_cannot_be_augmented(photos: list[Photo]) -> None:
    stored = training_inputs(photos, (4,), Noted(bank=ScaledBank()))
    with pytest.raises(ValueError, match="no augmentation with a frozen backbone"):
        stored(ROWS, FLIPS, augmentation=lambda image: image)


@pytest.mark.parametrize("scale", [0.75, 2.0, 0.3])
def test_a_trained_backbone_sees_photos_at_a_scale_as_the_features_stage_does(
    photos: list[Photo], scale: float
) -> None:
    """Resized from the photo itself, not from its square; the side is rounded (0.3 of 32 is 10)."""
    trained = training_inputs(photos, (4,), Noted(backbone=SMALL))
    assert isinstance(trained, TrainedInputs)
    trained.module.eval()
    with torch.inference_mode():
        (features,) = trained(ROWS, FLIPS, scale)
    assert isinstance(trained.module, Backbone)
    frozen = FrozenBackbone(trained.module)
    for flip, row in ((False, 0), (True, 2)):
        computed = compute(frozen, [photos[row]], [FeatureRequest(scale, flip)])
        expected = computed.features[FeatureRequest(scale, flip)][0].float()
        found = features[1] if row == 0 else features[0]
        assert found.shape == expected.shape
        assert torch.allclose(found, expected, atol=2e-3 * float(expected.abs().max()))
    assert not torch.allclose(features[0], features[2], atol=1e-3)


def test_an_augmentation_changes_each_photo_for_one_call(photos: list[Photo]) -> None:
    trained = training_inputs(photos, (4,), Noted(backbone=SMALL))
    trained.module.eval()
    seen: list[np.ndarray] = []

    def darker(image: np.ndarray) -> np.ndarray:
        seen.append(image.copy())
        return image // 2

    (changed,), (plain,) = trained(ROWS, FLIPS, augmentation=darker), trained(ROWS, FLIPS)
    squares = [resize(photos[row].image(), 32, 32) for row in ROWS]
    assert all(np.array_equal(*pair) for pair in zip(seen, squares, strict=True))
    mirrored = [np.ascontiguousarray(squares[0][:, ::-1]), *squares[1:]]
    assert torch.allclose(changed, level_4(trained.module, [image // 2 for image in mirrored]), atol=1e-5)
    assert torch.allclose(plain, level_4(trained.module, mirrored), atol=1e-5)


def test_biases_of_a_backbone_have_a_rate_of_their_own(photos: list[Photo]) -> None:
    trained = training_inputs(photos, (4,), Noted(backbone=SMALL))
    weights, biases = trained.groups(0.1, 2.0)
    assert (weights.factor, biases.factor) == (0.1, 0.2)
    named = dict(trained.module.named_parameters())
    assert {id(value) for value in biases.parameters} == {id(v) for name, v in named.items() if name.endswith("bias")}
    assert len(weights.parameters) + len(biases.parameters) == len(named)


def test_squares_of_all_sides_share_the_memory(photos: list[Photo], monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []
    counted = [replace(p, load=lambda p=p: (loads.append(p.id), p.image())[1]) for p in photos]
    monkeypatch.setattr("methods.inputs.MEMORY_LIMIT", (16 * 16 + 32 * 32 + 8 * 8) * 3)
    squares = Squares(counted, 16)
    for _ in range(2):
        for row, scale, side in ((0, 1.0, 16), (0, 2.0, 32), (1, 1.0, 16), (1, 0.5, 8)):
            assert np.array_equal(squares.at(row, scale), resize(photos[row].image(), side, side))
    assert loads == ["p0", "p0", "p1", "p1", "p1"], "the second photo's large square found no room"


def test_photos_are_decoded_once_while_there_is_room(photos: list[Photo], monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []
    counted = [replace(p, load=lambda p=p: (loads.append(p.id), p.image())[1]) for p in photos]
    monkeypatch.setattr("methods.inputs.MEMORY_LIMIT", 2 * 16 * 16 * 3)
    squares = Squares(counted, 16)
    for _ in range(2):
        for row, photo in enumerate(photos):
            assert np.array_equal(squares.at(row, 1.0), resize(photo.image(), 16, 16))
    assert loads == ["p0", "p1", "p2", "p2"]
