"""What components are handed: quiet where nothing is given, and short ways to stored features and records."""

from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import methods.base
from methods.base import PLAIN, BackboneOptions, FeatureRequest, Surroundings, TrainingOptions
from methods.sharing import ALONE
from methods.surroundings import POOLED_AT_ONCE
from methods.training import Group, train
from settings.discovery import CUES, LOCALIZERS, REFINERS, SEGMENTERS
from settings.records import LabelSpace, Photo
from tests.methods.conftest import MemoryBank, Toy, make_photo

SPACE = LabelSpace(("cat", "dog"))
MIRRORED = FeatureRequest(flip=True)


def test_what_is_left_out_is_a_quiet_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    alone = Surroundings(SPACE)
    assert (alone.device, alone.precision, alone.rng_seed, alone.share) == ("cpu", "float32", 0, ALONE)
    assert (alone.weights, alone.bank, alone.weak, alone.checkpoint_folder) == ({}, None, None, None)
    assert alone.backbone == BackboneOptions()
    alone.progress(1, 2, "steps", loss=0.5)
    assert not alone.is_stopping()
    assert capsys.readouterr() == ("", "")
    with pytest.raises(FrozenInstanceError):
        alone.device = "cuda"  # type: ignore[misc]


def test_callbacks_are_behind_its_methods() -> None:
    told: list[tuple[int, int, str, Mapping[str, float]]] = []
    heard = Surroundings(SPACE, report=lambda *what: told.append(what), stop_asked=lambda: bool(told))
    assert not heard.is_stopping()
    heard.progress(3, 9, "photos", miou=0.25)
    assert told == [(3, 9, "photos", {"miou": 0.25})]
    assert heard.is_stopping()


@pytest.mark.parametrize(("halvings", "expected"), [(0, 12), (1, 6), (2, 3), (3, 1), (9, 1)])
def test_batches_are_halved_down_to_one_photo(halvings: int, expected: int) -> None:
    assert Surroundings(SPACE, halvings=halvings).batch(12) == expected


def many(count: int) -> tuple[list[Photo], MemoryBank]:
    rng = np.random.default_rng(0)
    photos = [make_photo(f"p{index}", (index % 2,)) for index in range(count)]
    features = {4: {photo.id: rng.random((5, 3, 4)).astype(np.float32) for photo in photos}}
    return photos, MemoryBank(features, {photo.id: (30, 40 + index) for index, photo in enumerate(photos)})


def test_features_of_one_photo_and_its_size() -> None:
    photos, bank = many(2)
    surroundings = Surroundings(SPACE, bank=bank)
    plain = surroundings.features_CHW(photos[1])
    assert np.array_equal(plain.numpy(), bank.features[4]["p1"])
    assert np.array_equal(surroundings.features_CHW(photos[1], MIRRORED).numpy(), plain.numpy()[:, :, ::-1])
    assert bank.asked == [PLAIN, MIRRORED]
    assert surroundings.image_size(photos[1]) == (30, 41)


@pytest.mark.parametrize("count", [1, POOLED_AT_ONCE, 2 * POOLED_AT_ONCE + 3])
def test_pooled_features_are_means_over_positions(count: int) -> None:
    photos, bank = many(count)
    pooled_NC = Surroundings(SPACE, bank=bank).pooled_NC(photos)
    expected = np.stack([bank.features[4][photo.id].astype(np.float64).mean((1, 2)) for photo in photos])
    assert (tuple(pooled_NC.shape), pooled_NC.dtype) == ((count, 5), torch.float32)
    assert np.allclose(pooled_NC.numpy(), expected, atol=1e-6)


def test_without_a_bank_or_a_photo_nothing_is_read() -> None:
    photos, bank = many(1)
    for ask in (
        lambda one: one.stored,
        lambda one: one.features_CHW(photos[0]),
        lambda one: one.pooled_NC(photos),
        lambda one: one.image_size(photos[0]),
    ):
        with pytest.raises(ValueError, match="no stored features"):
            ask(Surroundings(SPACE))
    with pytest.raises(ValueError, match="no photos to pool"):
        Surroundings(SPACE, bank=bank).pooled_NC([])


def test_a_record_is_the_photos_labels_with_its_size() -> None:
    photos, bank = many(2)
    surroundings, maps_CHW = Surroundings(SPACE, bank=bank), np.full((1, 3, 4), 0.5, np.float32)
    for given in (maps_CHW, torch.from_numpy(maps_CHW), torch.from_numpy(maps_CHW).bfloat16()):
        record = surroundings.record(photos[1], given)
        assert (record.photo_id, record.class_ids, record.image_size) == ("p1", (1,), (30, 41))
        assert record.maps_CHW.dtype == np.float32
        assert np.array_equal(record.maps_CHW, maps_CHW)
        assert (record.upsampling, record.background_HW) == ("bilinear", None)
    assert surroundings.record(photos[0], maps_CHW, "bicubic").upsampling == "bicubic"


def test_training_without_a_checkpoint_folder_keeps_nothing(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    weight = nn.Parameter(torch.ones(1))
    options = TrainingOptions(epochs=2, batch=2, learning_rate=0.1)
    for _ in range(2):
        log = train(
            nn.Module(), [Group([weight])], 2, lambda rows, rng: {"w": weight.sum()}, options, Surroundings(SPACE)
        )
        assert [row["epoch"] for row in log] == [0, 1], "from the beginning each time"
    assert list(tmp_path.iterdir()) == []


def test_what_has_a_fit_of_its_own_is_trained() -> None:
    trained = set()
    for registry in (LOCALIZERS, REFINERS, CUES, SEGMENTERS):
        for name in registry.names():
            kind = registry.load(name)
            part = kind.__new__(kind)  # without options: some have none by default
            trained |= {(registry.kind, name)} if part.trained else set()
    assert trained == {
        ("localizers", "cam"),
        ("localizers", "coattention"),
        ("localizers", "lpcam"),
        ("localizers", "seam"),
        ("localizers", "untrained"),
        ("refiners", "affinity"),
        ("refiners", "cross_task"),
        ("refiners", "irn"),
        ("cues", "c2am"),
        ("cues", "rerank"),
        ("segmenters", "deeplab"),
        ("segmenters", "deeplab_largefov"),
        ("segmenters", "superpixel_clusters"),
        ("segmenters", "few_shot_matching"),
    }


@pytest.mark.parametrize(("registry", "name"), [(LOCALIZERS, "centre_prior"), (SEGMENTERS, "all_background")])
def test_a_component_without_a_fit_has_no_weights(registry: Any, name: str, toy: Toy) -> None:
    kind = registry.load(name)
    fit = kind(kind.options_model()).fit(toy.weak, Surroundings(SPACE))
    assert (fit.weights, fit.log) == ({}, ())


def test_the_declared_surface_is_there() -> None:
    assert all(hasattr(methods.base, name) for name in methods.base.__all__)
