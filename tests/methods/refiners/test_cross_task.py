"""AuxSegNet as a refiner: maps fill their objects, rounds go on from each other, and too large a grid is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from methods.base import BackboneOptions, LocalizationMaps, Localized, TrainingOptions
from methods.refiners.cross_task import CrossTask, CrossTaskOptions
from settings.errors import UserError
from settings.records import LabelSpace, WeakSet
from tests.methods.conftest import Toy
from tests.methods.refiners.test_walks import contrast, corner_maps

TRAINING = TrainingOptions(epochs=4, batch=8, optimizer="adamw", learning_rate=0.01)


def refiner(**options: Any) -> CrossTask:
    return CrossTask(CrossTaskOptions(**{"width": 16, "dilations": (1, 1, 1), "training": TRAINING} | options))


def data_of(toy: Toy) -> Localized:
    """Maps that know a corner of each object, beside a cue that knows all objects."""
    saliency = {photo_id: (mask_HW > 0) * np.uint8(255) for photo_id, mask_HW in toy.truth.items()}
    return Localized(toy.weak, corner_maps(toy).__getitem__, saliency.__getitem__)


def refined(
    part: CrossTask, toy: Toy, data: Localized, surroundings: Callable[..., Any]
) -> dict[str, LocalizationMaps]:
    fit = part.fit(data, surroundings(bank=toy.bank))
    records = part.apply(toy.weak.photos, data.maps, surroundings(weights=fit.weights, bank=toy.bank))
    return {record.photo_id: record for record in records}


def test_maps_fill_their_objects_and_the_background_leaves_them(toy: Toy, surroundings: Callable[..., Any]) -> None:
    found = refined(refiner(rounds=2), toy, data_of(toy), surroundings)
    assert contrast(toy, found) > 1.4 * contrast(toy, corner_maps(toy))
    is_object_NHW = np.stack([toy.small[photo.id] > 0 for photo in toy.weak.photos])
    background_NHW = np.stack([found[photo.id].background_HW for photo in toy.weak.photos])
    assert background_NHW[is_object_NHW].mean() < 0.4 < 0.7 < background_NHW[~is_object_NHW].mean()


def test_the_identity_leaves_maps_but_for_their_maximum(toy: Toy, surroundings: Callable[..., Any]) -> None:
    quick = TRAINING.model_copy(update={"epochs": 1})
    found = refined(refiner(affinity="identity", rounds=1, training=quick), toy, data_of(toy), surroundings)
    for photo_id, known in corner_maps(toy).items():
        peaks_C11 = known.maps_CHW.max((1, 2), keepdims=True) + 1e-5
        assert np.allclose(found[photo_id].maps_CHW, known.maps_CHW / peaks_C11, atol=1e-6)


def test_rounds_go_on_from_the_weights_before(
    toy: Toy, surroundings: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round begins with the weights that the last one ended with; the log counts epochs over all of them."""
    import methods.training as training

    train, states = training.train, list[np.ndarray]()

    def noting(network: Any, *rest: Any) -> Any:
        states.append(network.segmentation.conv1.weight.detach().numpy().copy())
        log = train(network, *rest)
        states.append(network.segmentation.conv1.weight.detach().numpy().copy())
        return log

    monkeypatch.setattr(training, "train", noting)
    quick = TRAINING.model_copy(update={"epochs": 2, "batch": 24})
    fit = refiner(rounds=2, training=quick).fit(data_of(toy), surroundings(bank=toy.bank))
    assert [(row["round"], row["epoch"]) for row in fit.log] == [(1, 0), (1, 1), (2, 2), (2, 3)]
    before, after, before_second, after_second = states
    assert not np.array_equal(before, after) and not np.array_equal(before_second, after_second)
    assert np.array_equal(after, before_second)


def test_a_fit_that_was_killed_goes_on_in_its_round(
    toy: Toy, surroundings: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three rounds the third fails; begun again, two are read and not trained."""
    import methods.training as training

    data, folder = data_of(toy), tmp_path / "kept"
    part = refiner(rounds=3, training=TRAINING.model_copy(update={"epochs": 1, "batch": 16}))
    whole = part.fit(data, surroundings(bank=toy.bank))
    train, calls = training.train, []

    def failing(*arguments: Any) -> Any:
        calls.append(arguments[-1].checkpoint_folder.name)
        if len(calls) == 3:
            raise OSError("killed")
        return train(*arguments)

    monkeypatch.setattr(training, "train", failing)
    with pytest.raises(OSError, match="killed"):
        part.fit(data, surroundings(bank=toy.bank, checkpoint_folder=folder))
    context = surroundings(bank=toy.bank, checkpoint_folder=folder)
    again = part.fit(data, context)
    assert calls == ["round1", "round2", "round3"] * 2
    assert len(context.reports) == 48 // 16
    assert all(np.array_equal(again.weights[name].numpy(), whole.weights[name].numpy()) for name in whole.weights)


def test_its_own_maps_may_take_the_place_of_those_that_come_in(toy: Toy, surroundings: Callable[..., Any]) -> None:
    found = refined(refiner(maps="own", rounds=1), toy, data_of(toy), surroundings)
    given = refined(refiner(maps="given", rounds=1), toy, data_of(toy), surroundings)
    inside, outside = [], []
    for photo in toy.weak.photos:
        for label, map_HW in zip(photo.labels, found[photo.id].maps_CHW, strict=True):
            inside.append(map_HW[toy.small[photo.id] == label + 1].mean())
            outside.append(map_HW[toy.small[photo.id] == 0].mean())
    assert np.mean(inside) > 1.5 * np.mean(outside)
    assert not np.allclose(found["p000"].maps_CHW, given["p000"].maps_CHW, atol=0.05)


def test_one_photo_of_one_class_is_enough(toy: Toy, surroundings: Callable[..., Any]) -> None:
    photo = replace(toy.weak.photos[0], labels=(0,))
    weak = WeakSet((photo,), LabelSpace(("only",)))
    maps_CHW = np.zeros((1, 8, 8), np.float32)
    maps_CHW[0, 2:6, 2:6] = 1
    record = LocalizationMaps(photo.id, (0,), maps_CHW, (64, 64))
    data = Localized(weak, {photo.id: record}.__getitem__, lambda _: np.full((64, 64), 255, np.uint8))
    part = refiner(rounds=2)
    context = surroundings(bank=toy.bank, label_space=weak.label_space)
    fit = part.fit(data, context)
    (found,) = part.apply((photo,), data.maps, replace(context, weights=fit.weights))
    assert found.maps_CHW.shape == (1, 8, 8)
    assert np.isfinite(found.maps_CHW).all()


def test_a_photo_of_one_colour_has_maps_like_any_other(toy: Toy, surroundings: Callable[..., Any]) -> None:
    """All its positions are alike: the map becomes the same everywhere that the border does not reach."""
    part, data = refiner(rounds=1), data_of(toy)
    fit = part.fit(data, surroundings(bank=toy.bank))
    features = {4: {"p000": np.full((7, 8, 8), 0.3, np.float32)}}
    bank = replace(toy.bank, features={**toy.bank.features, **features})
    (found,) = part.apply(toy.weak.photos[:1], data.maps, surroundings(weights=fit.weights, bank=bank))
    assert np.isfinite(found.maps_CHW).all()
    assert np.ptp(found.maps_CHW[0, 3:5, 3:5]) < 1e-5


def test_a_cue_is_needed_and_labels_too(toy: Toy, surroundings: Callable[..., Any]) -> None:
    data = data_of(toy)
    with pytest.raises(ValueError, match="no saliency: this refiner learns from a cue"):
        refiner().fit(replace(data, saliency=None), surroundings(bank=toy.bank))
    empty = replace(data, saliency=lambda _: np.full((64, 64), 255, np.uint8))
    with pytest.raises(ValueError, match="maps and saliency of 48 photos agree on no pixel: all are 255"):
        refiner(map_threshold=1.0).fit(empty, surroundings(bank=toy.bank))


@pytest.mark.parametrize(
    ("levels", "size", "stride", "side"), [((4,), 1024, 8, 128), ((2, 4), 544, 16, 68), ((1,), 288, 32, 72)]
)
def test_too_large_a_grid_is_refused_at_planning(levels: tuple[int, ...], size: int, stride: Any, side: int) -> None:
    backbone = BackboneOptions(size=size, output_stride=stride)
    with pytest.raises(UserError) as caught:
        refiner(levels=levels).check_backbone(backbone, "recipes.cross.refiners")
    assert str(caught.value).startswith(f"recipes.cross.refiners: found a grid of {side}×{side} positions")
    assert "expected at most 4,096 positions; deeper levels" in str(caught.value)
    refiner(levels=levels).check_backbone(backbone.model_copy(update={"size": size // 4}), "")


def test_inner_maps_are_shown(toy: Toy, surroundings: Callable[..., Any]) -> None:
    part, data, photo = refiner(rounds=1), data_of(toy), toy.weak.photos[1]
    fit = part.fit(data, surroundings(bank=toy.bank))
    views = part.views(photo, data.maps(photo.id), surroundings(weights=fit.weights, bank=toy.bank))
    assert list(views) == ["segmentation, first", "segmentation, refined", "saliency, first", "saliency, refined"]
    (record,) = part.apply((photo,), data.maps, surroundings(weights=fit.weights, bank=toy.bank))
    assert record.background_HW is not None
    for view in views.values():
        assert view.maps_CHW.shape == (len(photo.labels), 8, 8)
        assert 0 <= view.maps_CHW.min() <= view.maps_CHW.max() <= 1
    assert np.allclose(views["saliency, refined"].maps_CHW[0], 1 - record.background_HW, atol=1e-6)
