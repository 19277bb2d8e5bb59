"""CAM on features whose evidence lies at known places."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from methods.base import BackboneOptions, FeatureRequest, Fit, LocalizationMaps, TrainingOptions
from methods.localizers.cam import Cam, CamOptions, summed_maps
from methods.networks.backbones import build
from methods.networks.heads import ClassMaps
from methods.training import part_of
from settings.records import Photo, WeakSet
from tests.methods.conftest import Noted

SMALL = BackboneOptions(name="test_efficientnet", weights="random", size=64)
TRAINING = TrainingOptions(epochs=12, batch=8, learning_rate=0.5)


def options(**changes: Any) -> CamOptions:
    return CamOptions(**({"hidden": 16, "training": TRAINING} | changes))


def fit_and_apply(toy: Any, cam: Cam, context: Any) -> tuple[Fit, list[LocalizationMaps]]:
    fit = cam.fit(toy.weak, context)
    return fit, list(cam.apply(toy.weak.photos, replace(context, weights=fit.weights)))


@pytest.mark.parametrize("hidden", [0, 16])
def test_maps_peak_where_the_evidence_is(toy: Any, surroundings: Callable[..., Any], hidden: int) -> None:
    rate = 0.5 if hidden else 5.0
    cam = Cam(options(hidden=hidden, training=TRAINING.model_copy(update={"learning_rate": rate})))
    fit, records = fit_and_apply(toy, cam, surroundings(bank=toy.bank))
    losses = [row["classification"] for row in fit.log]
    assert len(losses) == 12
    assert losses[-1] < 0.5 * losses[0]
    shared, united = 0, 0
    for photo, record in zip(toy.weak.photos, records, strict=True):
        assert (record.photo_id, record.class_ids, record.image_size) == (photo.id, photo.labels, (64, 64))
        assert record.maps_CHW.dtype == np.float32
        assert record.maps_CHW.shape == (len(photo.labels), 8, 8)
        assert record.maps_CHW.min() >= 0
        assert np.allclose(record.maps_CHW.max((1, 2)), 1, atol=1e-6)
        for label, map_HW in zip(record.class_ids, record.maps_CHW, strict=True):
            truth_HW = toy.small[photo.id] == label + 1
            shared += ((map_HW > 0.5) & truth_HW).sum()
            united += ((map_HW > 0.5) | truth_HW).sum()
    assert shared / united > (0.8 if hidden == 0 else 0.5)


def test_fits_repeat_and_depend_on_the_rng_seed(toy: Any, surroundings: Callable[..., Any]) -> None:
    cam = Cam(options(training=TrainingOptions(epochs=1)))
    one, two, other = (cam.fit(toy.weak, surroundings(bank=toy.bank, rng_seed=s)).weights for s in (3, 3, 4))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["head.classifier.weight"], other["head.classifier.weight"])


def test_a_killed_fit_continues_to_the_same_weights(toy: Any, surroundings: Callable[..., Any]) -> None:
    cam, whole = Cam(options()), surroundings(bank=toy.bank)
    weights = cam.fit(toy.weak, whole).weights

    def report(done: int, total: int, unit: str, values: object) -> None:
        if done == total // 2 + 1:
            raise KeyboardInterrupt

    killed = surroundings(bank=toy.bank, report=report)
    with pytest.raises(KeyboardInterrupt):
        cam.fit(toy.weak, killed)
    resumed = surroundings(bank=toy.bank, checkpoint_folder=killed.checkpoint_folder)
    again = cam.fit(toy.weak, resumed)
    assert len(resumed.reports) == len(whole.reports) // 2
    assert all(torch.equal(weights[name], again.weights[name]) for name in weights)


def test_features_are_read_as_declared(toy: Any, surroundings: Callable[..., Any]) -> None:
    cam = Cam(options(training=TrainingOptions(epochs=1)))
    toy.bank.asked.clear()
    weights = cam.fit(toy.weak, surroundings(bank=toy.bank)).weights
    assert set(toy.bank.asked) == set(cam.fit_features()) == {FeatureRequest(), FeatureRequest(flip=True)}
    toy.bank.asked.clear()
    list(cam.apply(toy.weak.photos[:1], surroundings(weights=weights, bank=toy.bank, weak=toy.weak)))
    assert tuple(toy.bank.asked) == cam.apply_features()
    many = Cam(options(scales=(0.5, 2.0))).apply_features()
    assert many == tuple(FeatureRequest(scale, flip) for scale in (0.5, 2.0) for flip in (False, True))
    assert Cam(options(flip=False)).apply_features() == (FeatureRequest(),)


def test_the_mirrored_pass_is_turned_back(toy: Any) -> None:
    """A head that looks at each place by itself sees in mirrored features the mirrored map."""
    torch.manual_seed(0)
    head, photo = ClassMaps(7, 3, 0).eval(), toy.weak.photos[1]
    plain, flipped = FeatureRequest(), FeatureRequest(flip=True)
    one = summed_maps(head, photo, [plain], Noted(bank=toy.bank))
    assert not np.allclose(one, one[:, :, ::-1])
    for requests in ([flipped], [plain, flipped], [flipped, plain]):
        assert np.allclose(summed_maps(head, photo, requests, Noted(bank=toy.bank)), one, atol=1e-6)


class ScaledBank:
    """Class 0's map by scale and flip, as the only channel."""

    def __init__(self, maps: dict[tuple[float, bool], list[list[float]]]) -> None:
        self.maps = maps

    def features_BCHW(self, ids: Any, requests: Any) -> torch.Tensor:
        return torch.tensor([[self.maps[request.scale, request.flip]] for request in requests])

    def image_size(self, photo_id: str) -> tuple[int, int]:
        return (4, 4)


def test_maps_are_summed_over_scales_after_relu_then_divided(photo: Callable[..., Photo]) -> None:
    """1×2 grid at scale 1; scale 2 has 1×4, halved by bilinear means; negative values count as 0."""
    head = ClassMaps(1, 1, 0)
    head.load_state_dict({"classifier.weight": torch.ones(1, 1, 1, 1), "classifier.bias": torch.zeros(1)})
    bank = ScaledBank({(1.0, False): [[2.0, -9.0]], (1.0, True): [[4.0, 6.0]], (2.0, False): [[1.0, 3.0, 8.0, 0.0]]})
    requests = [FeatureRequest(), FeatureRequest(flip=True), FeatureRequest(2.0)]
    total = np.array([2 + 6 + (1 + 3) / 2, 0 + 4 + (8 + 0) / 2])
    maps_CHW = summed_maps(head, photo("p", (0,)), requests, Noted(bank=bank))
    assert np.allclose(maps_CHW, (total / total.max())[None, None], atol=1e-6)


def test_a_class_without_evidence_and_a_photo_without_labels(photo: Callable[..., Photo]) -> None:
    head = ClassMaps(1, 2, 0)
    head.load_state_dict({"classifier.weight": torch.ones(2, 1, 1, 1), "classifier.bias": torch.tensor([-5.0, 0.0])})
    bank = ScaledBank({(1.0, False): [[1.0, 2.0], [3.0, 4.0]]})
    maps_CHW = summed_maps(head, photo("p", (0, 1)), [FeatureRequest()], Noted(bank=bank))
    assert maps_CHW.tolist() == [[[0, 0], [0, 0]], [[0.25, 0.5], [0.75, 1]]]
    for requests in ([FeatureRequest()], [FeatureRequest()] * 3):
        empty = summed_maps(head, photo("p"), requests, Noted(bank=bank))
        assert (empty.shape, empty.dtype) == ((0, 2, 2), np.float32)


def test_scores_are_the_means_of_plain_and_mirrored_class_maps(photo: Callable[..., Photo], surroundings: Any) -> None:
    """Raw maps: what is negative counts. Neither scales nor flips of inference change them."""
    head = ClassMaps(1, 2, 0)
    head.load_state_dict(
        {"classifier.weight": torch.tensor([[[[1.0]]], [[[-2.0]]]]), "classifier.bias": torch.tensor([0.0, 1.0])}
    )
    weights = {f"head.{name}": tensor for name, tensor in head.state_dict().items()}
    bank = ScaledBank({(1.0, False): [[2.0, -8.0]], (1.0, True): [[4.0, 6.0]]})
    for cam in (Cam(options()), Cam(options(scales=(0.5,), flip=False))):
        scores_NK = cam.scores_NK([photo("p"), photo("q")], surroundings(weights=weights, bank=bank))
        assert scores_NK.dtype == np.float32
        assert scores_NK.tolist() == [[(-3 + 5) / 2, 1 - 2 * (-3 + 5) / 2]] * 2


def test_a_fine_tuned_fit_returns_its_backbone(striped: WeakSet, surroundings: Callable[..., Any]) -> None:
    cam = Cam(options(training=TrainingOptions(epochs=2, batch=4, backbone_factor=0.5)))
    fit = cam.fit(striped, surroundings(backbone=SMALL))
    start = build(SMALL, (4,)).body.state_dict()
    trained = part_of(fit.weights, "backbone")
    assert set(trained) == set(start)
    moved = [name for name in start if name.endswith("weight") and not torch.equal(trained[name], start[name])]
    assert len(moved) == sum(name.endswith("weight") for name in start)
    state = build(SMALL, (1, 4), trained).body.state_dict()
    assert all(torch.equal(state[name], trained[name]) for name in trained)
    assert {name.split(".")[0] for name in fit.weights} == {"head", "backbone"}


def test_a_frozen_fit_returns_its_head_alone(toy: Any, surroundings: Callable[..., Any]) -> None:
    fit = Cam(options(training=TrainingOptions(epochs=1))).fit(toy.weak, surroundings(bank=toy.bank))
    assert {name.split(".")[0] for name in fit.weights} == {"head"}


def test_a_fine_tuned_fit_continues_to_the_same_weights(striped: WeakSet, surroundings: Callable[..., Any]) -> None:
    cam = Cam(options(training=TrainingOptions(epochs=2, batch=4)))
    weights = cam.fit(striped, surroundings(backbone=SMALL)).weights

    def report(done: int, total: int, unit: str, values: object) -> None:
        if done == 3:
            raise KeyboardInterrupt

    killed = surroundings(backbone=SMALL, report=report)
    with pytest.raises(KeyboardInterrupt):
        cam.fit(striped, killed)
    again = cam.fit(striped, surroundings(backbone=SMALL, checkpoint_folder=killed.checkpoint_folder)).weights
    assert all(torch.equal(weights[name], again[name]) for name in weights)
