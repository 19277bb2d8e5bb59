"""DeepLabV3+ on features that tell the classes apart, and its parts against loops."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from methods.base import BackboneOptions, FeatureRequest, PseudoLabelled, TrainingOptions
from methods.networks.backbones import build
from methods.networks.cross_entropy import mean_cross_entropy
from methods.networks.deeplab import Decoded, DeepLabHead
from methods.segmenters.deeplab import DeepLab, DeepLabOptions
from methods.segmenting import Inference, argmax_at
from methods.training import part_of
from tests.methods.conftest import Noted

SMALL = BackboneOptions(name="test_efficientnet", weights="random", size=64, output_stride=8)
TRAINING = TrainingOptions(epochs=8, batch=8, learning_rate=0.1)


def options(**changes: Any) -> DeepLabOptions:
    return DeepLabOptions(**({"width": 16, "atrous_rates": (1, 2, 3), "training": TRAINING} | changes))


def labelled(toy: Any, unknown: float = 0.0) -> PseudoLabelled:
    """The truth as pseudo labels, a share of whose pixels is 255."""
    rng = np.random.default_rng(0)
    masks = {
        name: np.where(rng.random(mask.shape) < unknown, 255, mask).astype(np.uint8) for name, mask in toy.truth.items()
    }
    return PseudoLabelled(toy.weak.photos, toy.weak.label_space, masks.__getitem__)


def test_cross_entropy_is_the_mean_over_known_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, generator=generator)
    truth = torch.randint(0, 3, (2, 4, 5), generator=generator)
    truth[0, :2] = 255
    terms = []
    for b, y, x in np.argwhere(truth.numpy() != 255):
        scores = logits[b, :, y, x].double().exp()
        terms.append(-float(torch.log(scores[truth[b, y, x]] / scores.sum())))
    assert float(mean_cross_entropy(logits, truth)) == pytest.approx(np.mean(terms), rel=1e-5)


def test_a_batch_without_known_pixels_costs_nothing() -> None:
    logits = torch.randn(2, 3, 4, 5, requires_grad=True)
    loss = mean_cross_entropy(logits, torch.full((2, 4, 5), 255))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_argmax_at_photo_size() -> None:
    logits = torch.tensor([[[2.0, 0.0]], [[0.0, 1.0]]])
    mask = argmax_at(logits, (3, 8))
    assert mask.dtype == np.uint8
    assert mask.tolist() == [[0, 0, 0, 0, 0, 1, 1, 1]] * 3, "lines cross at two thirds of the way"


@pytest.mark.parametrize("small", [(5, 3), (10, 6), (20, 12)])
def test_levels_are_fused_as_if_they_were_joined(small: tuple[int, int]) -> None:
    """On the small grid where it has less than a ninth of the positions, and on the large one."""
    torch.manual_seed(0)
    separable = DeepLabHead(6, 40, 3, 16, (1, 2, 3)).decoder.block2[0]
    deep, shallow = torch.randn(2, 16, *small), torch.randn(2, 48, 20, 12)
    enlarged = torch.nn.functional.interpolate(deep, (20, 12), mode="bilinear", align_corners=True)
    expected = torch.nn.Sequential.forward(separable, torch.cat([enlarged, shallow], 1))
    found = separable.of_levels(deep, shallow)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    slope = torch.randn(found.shape)
    gradients = (torch.autograd.grad(one, list(separable.parameters()), slope) for one in (found, expected))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5 * float(other.abs().max()), rtol=1e-4)


def test_pseudo_labels_without_a_known_pixel_are_an_error(toy: Any, surroundings: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="no pixel of the 48 pseudo labels is usable: all are 255"):
        DeepLab(options()).fit(labelled(toy, 1.0), surroundings(bank=toy.bank))


def test_a_toy_is_learnt_from_partly_unknown_labels(toy: Any, surroundings: Callable[..., Any]) -> None:
    segmenter = DeepLab(options())
    fit = segmenter.fit(labelled(toy, 0.3), surroundings(bank=toy.bank))
    losses = [row["cross_entropy"] for row in fit.log]
    assert losses[-1] < 0.5 * losses[0]
    photos = [photo.without_labels() for photo in toy.weak.photos[::-1]]
    masks = list(segmenter.apply(photos, surroundings(weights=fit.weights, bank=toy.bank)))
    assert len(masks) == len(photos)
    correct = []
    for photo, mask in zip(photos, masks, strict=True):
        assert (mask.shape, mask.dtype) == ((64, 64), np.uint8)
        assert mask.max() <= 3
        correct.append((mask == toy.truth[photo.id]).mean())
    background = np.mean([(mask == 0).mean() for mask in toy.truth.values()])
    assert np.mean(correct) > 0.9 > background + 0.1
    assert min(correct) > 0.7, "masks come in the order of the photos"


def test_masks_have_the_photos_own_size(toy: Any, memory_bank: Any, surroundings: Callable[..., Any]) -> None:
    segmenter = DeepLab(options(training=TrainingOptions(epochs=1)))
    weights = segmenter.fit(labelled(toy), surroundings(bank=toy.bank)).weights
    sizes = {photo.id: (20 + index, 41) for index, photo in enumerate(toy.weak.photos)}
    bank = memory_bank(toy.bank.features, sizes)
    masks = segmenter.apply(toy.weak.photos[:10], surroundings(weights=weights, bank=bank))
    assert [mask.shape for mask in masks] == [(20 + index, 41) for index in range(10)]
    assert set(bank.asked) == set(segmenter.apply_features())


@dataclass
class ScaledBank:
    """Features of any request: at other scales other noise on other grids, mirrored exactly where asked to be.

    `mirrored`: those of the mirrored photos.
    """

    sizes: Mapping[str, tuple[int, int]]
    mirrored: bool = False

    def features_BCHW(self, ids: Sequence[str], requests: Sequence[FeatureRequest]) -> torch.Tensor:
        rows = [self._features(photo_id, request) for photo_id, request in zip(ids, requests, strict=True)]
        return torch.from_numpy(np.stack(rows)).float()

    def _features(self, photo_id: str, request: FeatureRequest) -> np.ndarray:
        side = round(64 * request.scale) // (4 if request.level == 1 else 8)
        rng = np.random.default_rng([*photo_id.encode(), round(100 * request.scale), request.level])
        features_CHW = rng.standard_normal((7, side, side))
        return features_CHW[:, :, ::-1] if request.flip != self.mirrored else features_CHW

    def image_size(self, photo_id: str) -> tuple[int, int]:
        return self.sizes[photo_id]


@pytest.fixture(scope="module")
def trained(toy: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    surroundings = Noted(bank=toy.bank, checkpoint_folder=tmp_path_factory.mktemp("deeplab"))
    return DeepLab(options(training=TrainingOptions(epochs=1))).fit(labelled(toy), surroundings).weights


def masks_of(
    inference: Inference, trained: Any, toy: Any, context: Any, mirrored: bool = False, photos: int = 10
) -> list[np.ndarray]:
    bank = ScaledBank({photo.id: (30 + index, 41) for index, photo in enumerate(toy.weak.photos)}, mirrored)
    segmenter = DeepLab(options(inference=inference))
    return list(segmenter.apply(toy.weak.photos[:photos], replace(context, weights=trained, bank=bank)))


def test_a_shallow_level_as_coarse_as_the_deep_one_is_enlarged(toy: Any, surroundings: Callable[..., Any]) -> None:
    """As of a plain transformer: the network still learns and scores at stride 4."""
    deep = toy.bank.features[4]
    coarse = replace(toy.bank, features={1: deep, 4: deep})
    context = surroundings(bank=coarse)
    segmenter = DeepLab(options())
    fitted = segmenter.fit(labelled(toy), context)
    state = part_of(fitted.weights, "head")
    head = DeepLabHead.of_state(state, (1, 2, 3)).eval()
    (found,) = segmenter.apply(toy.weak.photos[:1], replace(context, weights=fitted.weights))
    deep_BCHW = torch.from_numpy(deep[toy.weak.photos[0].id])[None].float()
    low_BCHW = nn.functional.interpolate(deep_BCHW, (16, 16), mode="bilinear")
    with torch.inference_mode():
        logits_CHW = head(low_BCHW, deep_BCHW)[0]
    assert logits_CHW.shape[1:] == (16, 16)
    assert (found == argmax_at(logits_CHW, (64, 64))).all()
    assert (found == toy.truth[toy.weak.photos[0].id]).mean() > 0.8


def test_passes_vote_by_their_probabilities(trained: Any, toy: Any, surroundings: Callable[..., Any]) -> None:
    """Photo by photo and pass by pass, written out."""
    scales, context = (0.5, 1.0, 1.25), surroundings()
    head = DeepLabHead.of_state(part_of(trained, "head"), (1, 2, 3)).eval()
    bank = ScaledBank({})
    found = masks_of(Inference(scales=scales, flip=True), trained, toy, context)
    for index, (photo, mask) in enumerate(zip(toy.weak.photos, found, strict=False)):
        total = torch.zeros(4, 30 + index, 41)
        for scale in scales:
            for flip in (False, True):
                both = [bank.features_BCHW([photo.id], [FeatureRequest(scale, flip, level)]) for level in (1, 4)]
                with torch.no_grad():
                    logits = head(*both)
                logits = logits.flip(-1) if flip else logits
                total += torch.nn.functional.interpolate(logits, (30 + index, 41), mode="bilinear").softmax(1)[0]
        assert (mask == total.argmax(0).numpy()).mean() > 0.999
    plain = masks_of(Inference(), trained, toy, context)
    assert any((one != other).any() for one, other in zip(found, plain, strict=True))


def test_with_mirrored_passes_a_mirrored_photo_has_the_mirrored_mask(
    trained: Any, toy: Any, surroundings: Callable[..., Any]
) -> None:
    def agreement(inference: Inference) -> float:
        as_is, mirrored = (masks_of(inference, trained, toy, surroundings(), m) for m in (False, True))
        return float(np.mean([(one[:, ::-1] == other).mean() for one, other in zip(mirrored, as_is, strict=True)]))

    assert agreement(Inference(scales=(0.5, 1), flip=True)) > 0.999
    assert agreement(Inference(scales=(0.5, 1))) < 0.99


def test_a_killed_fit_continues_to_the_same_weights(toy: Any, surroundings: Callable[..., Any]) -> None:
    segmenter = DeepLab(options(training=TrainingOptions(epochs=2)))
    weights = segmenter.fit(labelled(toy), surroundings(bank=toy.bank)).weights

    def report(done: int, total: int, unit: str, values: object) -> None:
        if done == total - 1:
            raise KeyboardInterrupt

    killed = surroundings(bank=toy.bank, report=report)
    with pytest.raises(KeyboardInterrupt):
        segmenter.fit(labelled(toy), killed)
    context = surroundings(bank=toy.bank, checkpoint_folder=killed.checkpoint_folder)
    again = segmenter.fit(labelled(toy), context).weights
    assert len(context.reports) == 3
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_mirrored_photos_get_mirrored_labels(
    toy: Any, surroundings: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each label that the loss sees lies where the features of its photo have the evidence."""
    decoded, seen, agreed = DeepLabHead.decoded, [], []

    def noted(head: DeepLabHead, low: torch.Tensor, high: torch.Tensor) -> Decoded:
        seen.append(low)
        return decoded(head, low, high)

    def compared(logits: torch.Tensor, truth: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        agreed.append(float(((seen[-1][:, :3].max(1).values > 0.5) == (truth > 0)).float().mean()))
        assert known == truth.numel()
        return logits.sum() * 0

    monkeypatch.setattr(DeepLabHead, "decoded", noted)
    monkeypatch.setattr("methods.networks.cross_entropy.mean_cross_entropy", compared)
    toy.bank.asked.clear()
    DeepLab(options(training=TrainingOptions(epochs=1))).fit(labelled(toy), surroundings(bank=toy.bank))
    assert {request.flip for request in toy.bank.asked} == {False, True}
    assert agreed == [1.0] * 3


def test_a_fine_tuned_fit_returns_its_backbone(toy: Any, surroundings: Callable[..., Any]) -> None:
    segmenter = DeepLab(options(training=TrainingOptions(epochs=1, batch=16)))
    fit = segmenter.fit(labelled(toy), surroundings(backbone=SMALL))
    trained = part_of(fit.weights, "backbone")
    state = build(SMALL, (1, 4), trained).body.state_dict()
    assert all(torch.equal(state[name], trained[name]) for name in state)
    assert not torch.equal(trained["conv_stem.weight"], build(SMALL, (1, 4)).body.state_dict()["conv_stem.weight"])


@pytest.mark.parametrize(
    "further",
    [
        {"pixel_contrast": {"samples": 8, "scales": (1, 2), "length": 8}},
        {"pixel_contrast": {"samples": 8, "length": 8, "classes": "shuffled"}},
        {"edges": {}},
        {"edges": {"targets": "noise"}},
    ],
)
def test_contrast_and_edges_are_further_losses_of_a_network_that_still_segments(
    toy: Any, surroundings: Callable[..., Noted], further: dict[str, Any]
) -> None:
    segmenter = DeepLab(options(**further))
    fit = segmenter.fit(labelled(toy), surroundings(bank=toy.bank))
    assert set(fit.log[-1]) == {"epoch", "learning_rate", "cross_entropy", *further}
    assert fit.log[-1]["cross_entropy"] < fit.log[0]["cross_entropy"]
    context = surroundings(bank=toy.bank, weights=fit.weights)
    masks = list(segmenter.apply(toy.weak.photos[:4], context))
    found = [(mask == toy.truth[photo.id]).mean() for photo, mask in zip(toy.weak.photos, masks, strict=False)]
    assert np.mean(found) > 0.85


def test_what_is_left_out_is_in_no_key() -> None:
    assert {"pixel_contrast", "edges"}.isdisjoint(DeepLabOptions().model_dump(mode="json"))
    assert DeepLabOptions(edges={}).model_dump(mode="json")["edges"]["targets"] == "labels"  # type: ignore[arg-type]
