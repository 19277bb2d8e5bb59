"""What every method has to keep, by being there."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from methods.base import BackboneOptions, FeatureRequest, LocalizationMaps, PseudoLabelled
from settings.discovery import LABELERS, LOCALIZERS, SEGMENTERS, Registry
from settings.options import Options
from settings.records import UNKNOWN

REGISTRIES = (LOCALIZERS, LABELERS, SEGMENTERS)
COMPONENTS = [(registry, name) for registry in REGISTRIES for name in registry.names()]
SMALL = BackboneOptions(name="test_efficientnet", weights="random", size=64, output_stride=8)
MODES = {"frozen", "fine_tuned"}


def of(registry: Registry) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", registry.names())


def component(registry: Registry, name: str) -> Any:
    """With default options, but for one short epoch where there is training."""
    kind = registry.load(name)
    options = kind.options_model()
    if "training" in kind.options_model.model_fields:
        quick = options.training.model_copy(update={"epochs": 1, "batch": 16})
        options = options.model_copy(update={"training": quick})
    return kind(options)


def test_options_are_read_without_torch() -> None:
    """Planning imports every component; one fresh process shows that none of them brings torch along."""
    code = (
        "import sys\n"
        "from settings.discovery import LOCALIZERS, REFINERS, LABELERS, SEGMENTERS\n"
        "for registry in (LOCALIZERS, REFINERS, LABELERS, SEGMENTERS):\n"
        "    for name in registry.names():\n"
        "        kind = registry.load(name)\n"
        "        kind(kind.options_model()).options.model_dump(mode='json')\n"
        "        found = {'torch', 'timm', 'segmentation_models_pytorch', 'matplotlib', 'ray'} & set(sys.modules)\n"
        "        assert not found, (name, found)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("registry", "name"), COMPONENTS, ids=lambda value: getattr(value, "kind", value))
def test_every_component(registry: Registry, name: str) -> None:
    kind = registry.load(name)
    assert isinstance(kind.version, int)
    assert kind.version >= 1
    assert kind.__doc__
    assert kind.__doc__.strip().endswith(".")
    assert issubclass(kind.options_model, Options)
    assert isinstance(kind(kind.options_model()).options, kind.options_model)
    with pytest.raises(ValueError, match="no_such_option"):
        kind.options_model.model_validate({"no_such_option": 1})
    dumped = kind.options_model().model_dump(mode="json")
    assert kind.options_model.model_validate(dumped) == kind.options_model()


@pytest.mark.parametrize("registry", [LOCALIZERS, SEGMENTERS], ids=lambda registry: registry.kind)
def test_declared_modes_and_features(registry: Registry) -> None:
    for name in registry.names():
        part = component(registry, name)
        assert set(part.modes) <= MODES
        assert part.modes
        for request in (*part.fit_features(), *part.apply_features()):
            assert isinstance(request, FeatureRequest)
            assert 0 <= request.level <= 4
            assert request.scale > 0


@of(LOCALIZERS)
def test_localizers_give_maps_of_the_photos_own_labels(name: str, toy: Any, surroundings: Callable[..., Any]) -> None:
    localizer, context = component(LOCALIZERS, name), surroundings()
    fit = localizer.fit(toy.weak, toy.bank, SMALL, context)
    assert all(np.isfinite(list(row.values())).all() for row in fit.log)
    photos = (*toy.weak.photos[:3], toy.weak.photos[3].without_labels())
    records = list(localizer.apply(photos, fit.weights, toy.bank, context))
    assert [record.photo_id for record in records] == [photo.id for photo in photos]
    for photo, record in zip(photos, records, strict=True):
        assert record.class_ids == photo.labels
        assert record.maps_CHW.dtype == np.float32
        assert record.maps_CHW.shape[0] == len(photo.labels)
        assert record.image_size == (64, 64)
        if photo.labels:
            assert 0 <= record.maps_CHW.min() <= record.maps_CHW.max() <= 1


@of(LABELERS)
def test_labelers_give_masks_of_the_photos_own_labels(name: str, photo: Callable[..., Any]) -> None:
    labeler = component(LABELERS, name)
    rng = np.random.default_rng(0)
    for class_ids in ((), (1,), (0, 4, 7)):
        one = photo("p", class_ids, np.zeros((21, 30, 3), np.uint8))
        maps_CHW = rng.random((len(class_ids), 5, 7)).astype(np.float32)
        maps = LocalizationMaps("p", class_ids, maps_CHW, (21, 30))
        mask = labeler.label(one, maps)
        assert (mask.shape, mask.dtype) == ((21, 30), np.uint8)
        assert set(np.unique(mask).tolist()) <= {0, UNKNOWN, *(k + 1 for k in class_ids)}
        assert np.array_equal(mask, labeler.label(one, maps))
        if not labeler.needs_maps:
            assert np.array_equal(mask, labeler.label(one, None))


@of(LABELERS)
def test_a_threshold_that_can_be_chosen_is_an_option(name: str) -> None:
    labeler = component(LABELERS, name)
    if labeler.chosen_option is None:
        assert labeler.declared_threshold is None
    else:
        assert getattr(labeler.with_threshold(0.45).options, labeler.chosen_option) == 0.45
        assert labeler.with_threshold(0.45).declared_threshold == 0.45


@of(SEGMENTERS)
def test_segmenters_give_masks_at_photo_size(name: str, toy: Any, surroundings: Callable[..., Any]) -> None:
    segmenter, context, space = component(SEGMENTERS, name), surroundings(), toy.weak.label_space
    weights = {}
    if segmenter.trained:
        data = PseudoLabelled(toy.weak.photos, space, toy.truth.__getitem__)
        weights = segmenter.fit(data, toy.bank, SMALL, context).weights
    photos = [photo.without_labels() for photo in toy.weak.photos[:9]]
    masks = list(segmenter.apply(photos, space, weights, toy.bank, SMALL, context))
    assert len(masks) == 9
    for mask in masks:
        assert (mask.shape, mask.dtype) == ((64, 64), np.uint8)
        assert mask.max() <= space.foreground
