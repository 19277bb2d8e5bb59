"""AffinityNet and IRN on toy photos: maps that know a corner of an object come to know all of it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from methods.base import BackboneOptions, LocalizationMaps, Localized, TrainingOptions
from methods.refiners.affinity import Affinity, AffinityOptions
from methods.refiners.irn import Irn, IrnOptions
from settings.records import UNKNOWN, LabelSpace, WeakSet
from tests.methods.conftest import Toy

TRAINING = TrainingOptions(epochs=4, batch=16, learning_rate=0.1)
PARTS = [
    Affinity(AffinityOptions(training=TRAINING, label_refiner="none", log2_steps=4, radius=3)),
    Irn(IrnOptions(levels=(1, 4), training=TRAINING, label_refiner="none", log2_steps=4, training_radius=4)),
]


def corner_maps(toy: Toy) -> dict[str, LocalizationMaps]:
    """Maps that are 1 on a quarter of each object, 0.2 on the rest of it and near 0 elsewhere."""
    known = {}
    for photo in toy.weak.photos:
        maps = np.full((len(photo.labels), 8, 8), 0.02, np.float32)
        for map_HW, label in zip(maps, photo.labels, strict=True):
            ys, xs = np.nonzero(toy.small[photo.id] == label + 1)
            map_HW[ys, xs] = 0.2
            near = (ys < ys.min() + 2) & (xs < xs.min() + 2)
            map_HW[ys[near], xs[near]] = 1
        known[photo.id] = LocalizationMaps(photo.id, photo.labels, maps, (64, 64), "nearest")
    return known


def contrast(toy: Toy, records: dict[str, LocalizationMaps]) -> float:
    """Mean over maps of (least decile inside the object) / (mean inside), more for maps that fill their objects."""
    values = []
    for photo_id, record in records.items():
        truth = toy.truth[photo_id]
        for label, map_HW in zip(record.class_ids, record.maps_CHW, strict=True):
            side = map_HW.shape[0]
            inside = map_HW[truth[:: 64 // side, :: 64 // side] == label + 1]
            values.append(np.quantile(inside, 0.1) / inside.mean())
    return float(np.mean(values))


@pytest.mark.parametrize("part", PARTS, ids=["affinity", "irn"])
def test_maps_spread_over_their_objects(part: Any, toy: Toy, surroundings: Callable[..., Any]) -> None:
    known = corner_maps(toy)
    fit = part.fit(Localized(toy.weak, known.__getitem__), surroundings(bank=toy.bank))
    losses = [row["affinity"] for row in fit.log]
    assert losses[-1] < losses[0]
    records = part.apply(toy.weak.photos, known.__getitem__, surroundings(weights=fit.weights, bank=toy.bank))
    refined = {record.photo_id: record for record in records}
    assert contrast(toy, refined) > 1.4 * contrast(toy, known)


@pytest.mark.parametrize("part", PARTS, ids=["affinity", "irn"])
def test_the_same_rng_seed_gives_the_same_weights(part: Any, toy: Toy, surroundings: Callable[..., Any]) -> None:
    data = Localized(toy.weak, corner_maps(toy).__getitem__)
    one, two = (part.fit(data, surroundings(bank=toy.bank)).weights for _ in range(2))
    assert all(np.array_equal(one[name].numpy(), two[name].numpy()) for name in one)


def test_affinity_walks_the_background_along(toy: Toy, surroundings: Callable[..., Any]) -> None:
    known, part = corner_maps(toy), PARTS[0]
    fit = part.fit(Localized(toy.weak, known.__getitem__), surroundings(bank=toy.bank))
    (record,) = part.apply(toy.weak.photos[:1], known.__getitem__, surroundings(weights=fit.weights, bank=toy.bank))
    assert record.background_HW is not None
    assert max(record.maps_CHW.max(), record.background_HW.max()) == pytest.approx(1)


def test_maps_without_a_sure_pixel_end_the_fit_with_the_reason(toy: Toy, surroundings: Callable[..., Any]) -> None:
    flat = {
        p.id: LocalizationMaps(p.id, p.labels, np.full((len(p.labels), 8, 8), 0.2, np.float32), (64, 64))
        for p in toy.weak.photos
    }
    with pytest.raises(ValueError, match=f"no sure pixel in the maps of 48 photos: all labels are {UNKNOWN}"):
        PARTS[1].fit(Localized(toy.weak, flat.__getitem__), surroundings(bank=toy.bank))


@pytest.mark.parametrize("make", [lambda o: Affinity(AffinityOptions(**o)), lambda o: Irn(IrnOptions(**o))])
def test_crops_train_a_backbone_that_sees_photos_of_their_own_size(
    make: Callable[[dict[str, Any]], Any], surroundings: Callable[..., Any], photo: Callable[..., Any]
) -> None:
    """Maps of photos whose halves differ end as large as the photo, and are not the same everywhere."""
    rng = np.random.default_rng(0)
    photos, known = [], {}
    for index, size in enumerate(((50, 71), (44, 60))):
        image = rng.integers(0, 60, (*size, 3)).astype(np.uint8)
        image[:, size[1] // 2 :] += np.uint8(180)
        photos.append(photo(f"p{index}", (index,), image))
        maps = np.array([[[0.0, 1.0]]], np.float32)
        known[f"p{index}"] = LocalizationMaps(f"p{index}", (index,), maps, size)
    weak = WeakSet(tuple(photos), LabelSpace(("a", "b")))
    crops = {"crop": 65, "scales": (0.9, 1.1)}
    part = make({"inputs": crops, "label_refiner": "none", "training": TrainingOptions(epochs=1, batch=2)})
    backbone = BackboneOptions(name="test_efficientnet", weights="random", size=64)
    fit = part.fit(Localized(weak, known.__getitem__), surroundings(backbone=backbone))
    assert any(name.startswith("backbone.") for name in fit.weights)
    records = part.apply(photos, known.__getitem__, surroundings(backbone=backbone, weights=fit.weights))
    for record, one in zip(records, photos, strict=True):
        assert record.maps_CHW.shape == (1, *one.image().shape[:2])
        width = record.maps_CHW.shape[2]
        assert record.maps_CHW[0, :, 3 * width // 4 :].mean() > record.maps_CHW[0, :, : width // 4].mean()


@pytest.mark.parametrize("model", [AffinityOptions, IrnOptions])
def test_a_kept_aspect_needs_a_backbone_of_its_own(model: type[Any]) -> None:
    with pytest.raises(ValidationError, match="inputs beside aspect: kept"):
        model(aspect="kept")
