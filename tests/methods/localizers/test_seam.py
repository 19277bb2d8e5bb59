"""SEAM on features whose evidence lies at known places; its maps against the network's."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from methods.base import BackboneOptions, FeatureRequest, Fit, TrainingOptions
from methods.localizers.cam import summed_maps
from methods.localizers.seam import Seam, SeamOptions
from methods.networks.backbones import build
from methods.networks.heads import ClassMaps
from methods.networks.seam import PixelCorrelation
from methods.networks.seam import Seam as Network
from methods.training import part_of
from settings.records import Photo, WeakSet
from tests.methods.conftest import Noted

SMALL = BackboneOptions(name="test_efficientnet", weights="random", size=64, output_stride=8)
TRAINING = TrainingOptions(epochs=12, batch=8, learning_rate=0.5)
TERMS = ("classification", "equivariance", "consistency", "min_pooling")


def localizer(**changes: Any) -> Seam:
    return Seam(SeamOptions(**({"hidden": 16, "training": TRAINING} | changes)))


@pytest.fixture(scope="module")
def fitted(toy: Any, tmp_path_factory: pytest.TempPathFactory) -> Fit:
    return localizer().fit(toy.weak, Noted(bank=toy.bank, checkpoint_folder=tmp_path_factory.mktemp("fit")))


def test_the_levels_it_asks_for_are_those_compared_and_the_classifiers() -> None:
    assert {request.level for request in localizer().fit_features()} == {3, 4}
    assert {request.level for request in localizer(correlation_levels=(2, 3)).apply_features()} == {2, 3, 4}
    assert "correlation_levels" not in localizer().options.model_dump()
    with pytest.raises(ValueError, match=r"two correlation_levels, ascending, such as \[2, 3\]"):
        localizer(correlation_levels=(3, 3))


def test_losses_fall(fitted: Fit) -> None:
    assert [set(row) for row in fitted.log] == [{"epoch", "learning_rate", *TERMS}] * 12
    for name in ("classification", "consistency"):
        assert fitted.log[-1][name] < 0.8 * fitted.log[0][name], name
    assert {name.split(".")[0] for name in fitted.weights} == {"network"}


def test_maps_peak_where_the_evidence_is(toy: Any, fitted: Fit, surroundings: Callable[..., Any]) -> None:
    part, hits = localizer(), []
    records = list(part.apply(toy.weak.photos, surroundings(weights=fitted.weights, bank=toy.bank, weak=toy.weak)))
    for photo, record in zip(toy.weak.photos, records, strict=True):
        assert (record.photo_id, record.class_ids, record.image_size) == (photo.id, photo.labels, (64, 64))
        assert record.upsampling == "bilinear"
        assert record.maps_CHW.dtype == np.float32
        assert record.maps_CHW.shape == (len(photo.labels), 8, 8), "the background has no map"
        assert record.maps_CHW.min() >= 0
        assert np.allclose(record.maps_CHW.max((1, 2)), 1, atol=1e-3)
        assert (record.maps_CHW.min((1, 2)) == 0).all()
        for label, map_HW in zip(record.class_ids, record.maps_CHW, strict=True):
            hits.append(toy.small[photo.id].flat[map_HW.argmax()] == label + 1)
    assert np.mean(hits) > 0.9


def test_terms_that_are_switched_off_are_not_in_the_loss(toy: Any, surroundings: Callable[..., Any]) -> None:
    short = TRAINING.model_copy(update={"epochs": 1})
    for name in TERMS[1:]:
        fit = localizer(training=short, **{name: False}).fit(toy.weak, surroundings(bank=toy.bank))
        assert set(fit.log[0]) == {"epoch", "learning_rate", *TERMS} - {name}


def test_without_its_own_terms_the_correlation_is_not_trained(toy: Any, surroundings: Callable[..., Any]) -> None:
    """What consistency and min-pooling train is the correlation alone: the classifier does not change by them."""
    short = TrainingOptions(epochs=2, batch=8, learning_rate=0.5, weight_decay=0)
    whole = localizer(training=short).fit(toy.weak, surroundings(bank=toy.bank)).weights
    part = localizer(training=short, consistency=False, min_pooling=False)
    less = part.fit(toy.weak, surroundings(bank=toy.bank)).weights
    same = {name for name in whole if torch.equal(whole[name], less[name])}
    assert same == {name for name in whole if name.startswith("network.head.")}


def test_fits_repeat_and_depend_on_the_rng_seed(toy: Any, surroundings: Callable[..., Any]) -> None:
    part = localizer(training=TrainingOptions(epochs=1))
    one, two, other = (part.fit(toy.weak, surroundings(bank=toy.bank, rng_seed=s)).weights for s in (3, 3, 4))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["network.correlation.mixing.weight"], other["network.correlation.mixing.weight"])


def test_dropout_is_an_option_of_training(toy: Any, surroundings: Callable[..., Any]) -> None:
    short = TrainingOptions(epochs=1)
    fits = [localizer(training=short, dropout=share).fit(toy.weak, surroundings(bank=toy.bank)) for share in (0, 0.5)]
    first, second = (fit.weights["network.head.classifier.weight"] for fit in fits)
    assert not torch.equal(first, second)


def test_half_precision_trains_as_well(toy: Any, surroundings: Callable[..., Any]) -> None:
    part = localizer(training=TRAINING.model_copy(update={"epochs": 2, "learning_rate": 0.05}))
    whole, half = (
        part.fit(toy.weak, surroundings(bank=toy.bank, precision=precision)) for precision in ("float32", "bfloat16")
    )
    for name in TERMS:
        assert half.log[-1][name] == pytest.approx(whole.log[-1][name], rel=0.05, abs=0.005), name


def test_features_are_read_as_declared(toy: Any, fitted: Fit, surroundings: Callable[..., Any]) -> None:
    part = localizer(small_scale=0.25, training=TrainingOptions(epochs=1))
    toy.bank.asked.clear()
    part.fit(toy.weak, surroundings(bank=toy.bank))
    every = {FeatureRequest(scale, flip, level) for scale in (1.0, 0.25) for flip in (False, True) for level in (3, 4)}
    assert set(toy.bank.asked) == set(part.fit_features()) == every
    for applied in (part, localizer(scales=(0.5, 2.0)), localizer(flip=False)):
        toy.bank.asked.clear()
        list(applied.apply(toy.weak.photos[:1], surroundings(weights=fitted.weights, bank=toy.bank, weak=toy.weak)))
        assert tuple(toy.bank.asked) == applied.apply_features()
    assert localizer(flip=False).apply_features() == (FeatureRequest(level=3), FeatureRequest(level=4))


def test_views_are_the_classifiers_maps_and_those_of_apply(
    toy: Any, fitted: Fit, surroundings: Callable[..., Any]
) -> None:
    photo = toy.weak.photos[1]
    part, context = localizer(flip=False), surroundings(weights=fitted.weights, bank=toy.bank)
    views = part.views(photo, context)
    assert list(views) == ["cam", "refined"]
    head = ClassMaps.of_state(part_of(fitted.weights, "network.head")).eval()
    expected = summed_maps(head, photo, [FeatureRequest()], context)
    assert np.array_equal(views["cam"].maps_CHW, expected)
    (record,) = part.apply([photo], context)
    assert np.array_equal(views["refined"].maps_CHW, record.maps_CHW)
    assert not np.allclose(expected, record.maps_CHW, atol=0.05)


def test_scores_are_those_of_the_classifier(toy: Any, fitted: Fit, surroundings: Callable[..., Any]) -> None:
    scores_NK = localizer(scales=(2.0,)).scores_NK(toy.weak.photos, surroundings(weights=fitted.weights, bank=toy.bank))
    head = ClassMaps.of_state(part_of(fitted.weights, "network.head")).eval()
    both = [FeatureRequest(), FeatureRequest(flip=True)]
    with torch.no_grad():
        rows = [head(toy.bank.features_BCHW([p.id] * 2, both)).mean((0, 2, 3)).numpy() for p in toy.weak.photos]
    assert np.allclose(scores_NK, np.stack(rows), atol=1e-5)
    assert ((scores_NK > 0) == (toy.weak.labels_NK() > 0)).mean() > 0.9


class StripeBank:
    """Class maps by scale and flip, as the channels of level 4; level 3 is 0."""

    def __init__(self, maps: dict[tuple[float, bool], list[list[float]]]) -> None:
        self.maps = maps

    def features_BCHW(self, ids: Any, requests: Any) -> torch.Tensor:
        rows = [torch.tensor(self.maps[r.scale, r.flip])[:, None] for r in requests]
        return torch.stack(rows) * (requests[0].level == 4)

    def image_size(self, photo_id: str) -> tuple[int, int]:
        return (4, 4)


@pytest.fixture
def coloured(photo: Callable[..., Photo]) -> Photo:
    """Red, red, blue, blue, purple, purple, a pixel each; where black is −1, no two of the colours are alike."""
    image = np.zeros((1, 6, 3), np.uint8)
    image[0, :2], image[0, 2:4], image[0, 4:] = (255, 128, 0), (0, 128, 255), (255, 128, 255)
    return photo("p", (0,), image)


def colour_weights() -> dict[str, torch.Tensor]:
    """A classifier that passes two channels on, and a correlation that sees colours alone."""
    head, correlation = ClassMaps(2, 2, 0), PixelCorrelation((2, 2), (2, 2))
    with torch.no_grad():
        head.classifier.weight.copy_(torch.eye(2)[:, :, None, None])
        head.classifier.bias.zero_()
        correlation.mixing.weight.zero_()
        correlation.mixing.weight[:3, :3] = torch.eye(3)[:, :, None, None]
    state = Network(head, correlation).state_dict()
    return {f"network.{name}": tensor for name, tensor in state.items()}


def test_maps_are_shared_within_a_colour_and_summed_over_passes(coloured: Photo, surroundings: Any) -> None:
    """The minimum, purple's, is taken off. The mirrored pass has mirrored colours, and is turned back."""
    plain = [[4.0, 2.0, 1.0, -3.0, 1.0, -9.0], [-1.0] * 6]
    mirrored = [[0.0, 0.0, 0.0, 2.0, 0.0, 8.0], [-1.0] * 6]
    bank: Any = StripeBank({(1.0, False): plain, (1.0, True): mirrored})
    (record,) = localizer(flip=False).apply([coloured], surroundings(weights=colour_weights(), bank=bank))
    assert np.allclose(record.maps_CHW, [[[1, 1, 0, 0, 0, 0]]], atol=0.01)
    (record,) = localizer().apply([coloured], surroundings(weights=colour_weights(), bank=bank))
    red, blue, purple = 0.75 + 0.5, 0.125 + 0.125, 0.125 + 0
    between = (blue - purple) / (red - purple)
    assert np.allclose(record.maps_CHW, [[[1, 1, between, between, 0, 0]]], atol=0.01)


@pytest.mark.parametrize(("rivals", "blue"), [("all", 1), ("labels", 2 / 3)])
def test_classes_that_compete_for_a_position(coloured: Photo, surroundings: Any, rivals: str, blue: float) -> None:
    """A class without label, of peak 1, takes the first position of [0.5, 1, 0.5, 0.5, 0, 0], or does not."""
    bank: Any = StripeBank({(1.0, False): [[2.0, 4.0, 2.0, 2.0, 0.0, 0.0], [9.0, 0.0, 0.0, 0.0, 0.0, 0.0]]})
    part = localizer(flip=False, rivals=rivals)
    (record,) = part.apply([coloured], surroundings(weights=colour_weights(), bank=bank))
    assert record.class_ids == (0,)
    assert np.allclose(record.maps_CHW, [[[1, 1, blue, blue, 0, 0]]], atol=0.02)


def test_a_fine_tuned_fit_returns_its_backbone(striped: WeakSet, surroundings: Callable[..., Any]) -> None:
    part = localizer(training=TrainingOptions(epochs=1, batch=4, backbone_factor=0.5))
    fit = part.fit(striped, surroundings(backbone=SMALL))
    start = build(SMALL, (3, 4)).body.state_dict()
    trained = part_of(fit.weights, "backbone")
    assert set(trained) == set(start)
    moved = [name for name in start if name.endswith("weight") and not torch.equal(trained[name], start[name])]
    assert len(moved) == sum(name.endswith("weight") for name in start)
    assert {name.split(".")[0] for name in fit.weights} == {"network", "backbone"}
