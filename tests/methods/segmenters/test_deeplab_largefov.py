"""DeepLab-LargeFOV on photos whose colours tell the classes: it learns, on crops, and segments whole photos."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from timm.models import FeatureInfo
from torch import nn

from methods.base import BackboneOptions, Fit, PseudoLabelled, TrainingOptions
from methods.networks import backbones
from methods.networks.backbones import build
from methods.networks.cross_entropy import mean_of_photos
from methods.networks.largefov import LargeFovHead, enlarged
from methods.segmenters.deeplab_largefov import DeepLabLargeFov, DeepLabLargeFovOptions
from methods.segmenting import Inference
from methods.training import part_of
from settings.errors import UserError
from settings.records import LabelSpace, Mask, Photo

SMALL = BackboneOptions(name="cells", weights="random", output_stride=16)
SPACE = LabelSpace(("red", "blue"))
QUICK = TrainingOptions(epochs=2, batch=8, learning_rate=0.02, backbone_factor=1.0)
COLOURS = np.array([[60, 120, 60], [230, 30, 30], [30, 30, 230]], np.uint8)


class Cells(nn.Module):
    """A backbone of one convolution and a batch norm: every cell of 8 × 8 pixels by itself."""

    def __init__(self, levels: Sequence[int], output_stride: int) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 16, output_stride, stride=output_stride), nn.BatchNorm2d(16)
        self.feature_info = FeatureInfo([{"num_chs": 16, "reduction": output_stride, "module": "norm"}], (0,))
        self.pretrained_cfg = {"mean": (0.2, 0.4, 0.6), "std": (0.2, 0.2, 0.2)}

    def forward(self, images_BCHW: torch.Tensor) -> list[torch.Tensor]:
        return [self.norm(self.convolution(images_BCHW)).relu()]


@pytest.fixture(autouse=True)
def _cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbones, "OWN_NETWORKS", {"cells": Cells})


@pytest.fixture(scope="module")
def truth() -> dict[str, Mask]:
    """Boxes on background, in masks of different sizes."""
    rng, masks = np.random.default_rng(0), {}
    for index in range(16):
        mask = np.zeros((40 + index, 60 - index), np.uint8)
        top, left = rng.integers(0, 12, 2)
        mask[top : top + 28, left : left + 28] = 1 + index % 2
        masks[f"p{index}"] = mask
    return masks


@pytest.fixture
def photos(truth: dict[str, Mask], photo: Callable[..., Photo]) -> tuple[Photo, ...]:
    return tuple(photo(name, (), COLOURS[mask]) for name, mask in truth.items())


def options(**changes: Any) -> DeepLabLargeFovOptions:
    return DeepLabLargeFovOptions(**({"width": 32, "crop": 49, "training": QUICK} | changes))


def fitted(options: DeepLabLargeFovOptions, photos: Any, truth: Any, context: Any) -> Fit:
    data = PseudoLabelled(photos, SPACE, truth.__getitem__)
    return DeepLabLargeFov(options).fit(data, replace(context, label_space=SPACE, backbone=SMALL))


def test_colours_are_learnt_and_masks_have_the_photos_sizes(
    truth: dict[str, Mask], photos: tuple[Photo, ...], surroundings: Callable[..., Any]
) -> None:
    chosen = options(training=QUICK.model_copy(update={"epochs": 30}))
    striped = {
        name: np.where(np.arange(mask.shape[1]) % 5 == 0, 255, mask).astype(np.uint8) for name, mask in truth.items()
    }
    fit = fitted(chosen, photos, striped, surroundings())
    losses = [row["cross_entropy"] for row in fit.log]
    assert losses[-1] < 0.5 * losses[0]
    segmenter = DeepLabLargeFov(chosen)
    masks = list(segmenter.apply(photos, surroundings(weights=fit.weights, label_space=SPACE, backbone=SMALL)))
    for mask, expected in zip(masks, truth.values(), strict=True):
        assert (mask.shape, mask.dtype) == (expected.shape, np.uint8)
        assert (mask == expected).mean() > 0.8, "in the order of the photos"
    assert max((mask == 0).mean() for mask in truth.values()) < 0.7, "background alone does not pass"


def test_batch_norms_stay_and_all_else_is_trained(
    truth: dict[str, Mask], photos: tuple[Photo, ...], surroundings: Callable[..., Any]
) -> None:
    weights = fitted(options(), photos, truth, surroundings()).weights
    before, after = build(SMALL.model_copy(update={"output_stride": 8}), (4,)).body.state_dict(), weights
    changed = {name for name, value in before.items() if not torch.equal(value, after[f"backbone.{name}"])}
    assert changed == {"convolution.weight", "convolution.bias"}
    assert set(part_of(weights, "head")) == set(LargeFovHead(16, 3, 32).state_dict())


def test_rates_are_those_of_the_released_program(
    truth: dict[str, Mask], photos: tuple[Photo, ...], surroundings: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A base rate of 1e-3: backbone × 1, the head's weights × 10, the bias of its scores × 20."""
    given: dict[str, Any] = {}

    def noted(modules: Any, groups: Any, items: int, step: Any, training: TrainingOptions, context: Any) -> Any:
        names = {id(parameter): name for name, parameter in modules.named_parameters()}
        for group in groups:
            given.update({names[id(one)]: training.learning_rate * group.factor for one in group.parameters})
        given["training"] = training
        return ()

    monkeypatch.setattr("methods.training.train", noted)
    fitted(DeepLabLargeFovOptions(width=8, crop=49), photos, truth, surroundings())
    training = given.pop("training")
    assert given == pytest.approx(
        {
            "backbone.network.body.convolution.weight": 1e-3,
            # The paper's encoder has none.
            "backbone.network.body.convolution.bias": 2e-3,
            "head.0.weight": 1e-2,
            "head.2.weight": 1e-2,
            "head.4.weight": 1e-2,
            "head.4.bias": 2e-2,
        }
    )
    assert (training.momentum, training.nesterov, training.weight_decay) == (0.9, False, 5e-4)
    assert (training.schedule, training.poly_power, training.batch) == ("poly", 0.9, 10)


def test_each_photo_counts_the_same_however_much_of_it_is_known() -> None:
    torch.manual_seed(0)
    logits, truth_BHW = torch.randn(3, 4, 5, 6), torch.randint(0, 4, (3, 5, 6))
    truth_BHW[0, 1:], truth_BHW[2] = 255, 255
    terms = []
    for logits_CHW, truth_HW in zip(logits.double().log_softmax(1), truth_BHW, strict=True):
        known = [(y, x) for y in range(5) for x in range(6) if truth_HW[y, x] != 255]
        costs = [-float(logits_CHW[truth_HW[y, x], y, x]) for y, x in known]
        terms.append(sum(costs) / max(1, len(costs)))
    assert [len(terms), terms[2]] == [3, 0]
    assert float(mean_of_photos(logits, truth_BHW)) == pytest.approx(sum(terms) / 3, rel=1e-5)


def test_what_surrounds_a_photo_is_its_mean(
    truth: dict[str, Mask], photos: tuple[Photo, ...], surroundings: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, seen = Cells.forward, []
    monkeypatch.setattr(Cells, "forward", lambda cells, images: (seen.append(images), forward(cells, images))[1])
    fitted(options(crop=97, scales=(0.5, 0.5)), photos, truth, surroundings())
    for images_BCHW in seen:
        assert images_BCHW.shape == (8, 3, 97, 97)
        surrounding = images_BCHW.abs().amax(1) < 0.5 / 255 / 0.2 + 1e-6
        assert (surrounding.float().mean((1, 2)) > 0.8).all(), "a photo covers at most 30 × 30 of 97 × 97"
        assert (~surrounding).any()


def test_iterations_become_whole_epochs(
    truth: dict[str, Mask], photos: tuple[Photo, ...], surroundings: Callable[..., Any]
) -> None:
    for iterations, epochs in ((1, 1), (6, 3), (7, 4)):
        context = surroundings()
        assert len(fitted(options(iterations=iterations), photos, truth, context).log) == epochs
        assert context.reports[-1][:2] == (2 * epochs, 2 * epochs)
    paper = DeepLabLargeFov(DeepLabLargeFovOptions(iterations=16_000))
    assert paper._training(10_582).epochs == DeepLabLargeFovOptions().training.epochs == 15


def test_a_killed_fit_continues_to_the_same_weights(
    truth: dict[str, Mask], photos: tuple[Photo, ...], surroundings: Callable[..., Any]
) -> None:
    weights, killed = fitted(options(), photos, truth, surroundings()).weights, surroundings()

    def report(done: int, total: int, unit: str, values: object) -> None:
        if done == total - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(options(), photos, truth, replace(killed, report=report))
    context = surroundings(checkpoint_folder=killed.checkpoint_folder)
    again = fitted(options(), photos, truth, context).weights
    assert len(context.reports) == 2
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_an_encoder_of_its_own_with_weights_of_a_file(
    truth: dict[str, Mask], photos: tuple[Photo, ...], surroundings: Callable[..., Any], tmp_path: Path
) -> None:
    """Its rate is so small here that what is trained is what was read."""
    torch.manual_seed(5)
    state, path = timm.create_model("test_efficientnet").state_dict(), tmp_path / "encoder.pth"
    torch.save(state, path)
    encoder = {"name": "test_efficientnet", "weights": str(path)}
    training = QUICK.model_copy(update={"epochs": 1, "batch": 16, "backbone_factor": 0.0})
    fit = fitted(options(encoder=encoder, crop=33, training=training), photos, truth, surroundings())
    trained = part_of(fit.weights, "backbone")
    assert len(trained) > 50
    assert all(torch.equal(value, state[name]) for name, value in trained.items())
    path.unlink()
    with pytest.raises(UserError, match=r"segmenter.encoder.weights: found no file '.*encoder.pth'.*test_efficientnet"):
        DeepLabLargeFov(options(encoder=encoder)).weight_files()


def test_copies_of_a_photo_vote_by_their_probabilities(
    truth: dict[str, Mask], photos: tuple[Photo, ...], surroundings: Callable[..., Any]
) -> None:
    """Copies at their own sizes, photo by photo, written out."""
    weights = fitted(options(), photos, truth, surroundings()).weights
    network = build(SMALL.model_copy(update={"output_stride": 8}), (4,), part_of(weights, "backbone")).eval()
    head = LargeFovHead.of_state(part_of(weights, "head")).eval()
    inference = Inference(scales=(0.5, 1.0, 1.5), flip=True)
    segmenter = DeepLabLargeFov(options(inference=inference))
    masks = list(segmenter.apply(photos, surroundings(weights=weights, label_space=SPACE, backbone=SMALL)))
    for photo, mask in zip(photos, masks, strict=True):
        height, width = photo.image().shape[:2]
        total = torch.zeros(3, height, width)
        for scale in (0.5, 1.0, 1.5):
            copy = Image.fromarray(photo.image()).resize((round(width * scale), round(height * scale)), 2)
            for step in (1, -1):
                with torch.no_grad():
                    logits = head(network(network.to_input(np.array(copy)[None, :, ::step]))[-1])
                logits = enlarged(logits, (copy.height, copy.width))
                logits = logits if step == 1 else logits.flip(-1)
                total += torch.nn.functional.interpolate(logits, (height, width), mode="bilinear").softmax(1)[0]
        assert (mask == total.argmax(0).numpy()).mean() > 0.999


def test_with_mirrored_copies_a_mirrored_photo_has_the_mirrored_mask(
    truth: dict[str, Mask], photos: tuple[Photo, ...], photo: Callable[..., Photo], surroundings: Callable[..., Any]
) -> None:
    weights = fitted(options(), photos, truth, surroundings()).weights
    segmenter = DeepLabLargeFov(options(inference=Inference(flip=True)))
    mirrored = [photo(one.id, (), one.image()[:, ::-1]) for one in photos]
    context = surroundings(weights=weights, label_space=SPACE, backbone=SMALL)
    both = [segmenter.apply(of, context) for of in (photos, mirrored)]
    assert all((one == other[:, ::-1]).mean() > 0.999 for one, other in zip(*both, strict=True))


def test_torchvisions_resnet101_fits() -> None:
    with torch.device("meta"):
        ours = build_names("resnet101")
        theirs = {name: value.shape for name, value in torchvision.models.resnet101().state_dict().items()}
    assert ours.items() <= theirs.items()
    assert theirs.keys() - ours.keys() == {"fc.weight", "fc.bias"}


def build_names(name: str) -> dict[str, torch.Size]:
    body = backbones.Backbone(BackboneOptions(name=name, output_stride=8), (4,)).body
    return {key: value.shape for key, value in body.state_dict().items()}


def test_pseudo_labels_without_a_known_pixel_are_an_error(
    truth: dict[str, Mask], photos: tuple[Photo, ...], surroundings: Callable[..., Any]
) -> None:
    unknown = {name: np.full_like(mask, 255) for name, mask in truth.items()}
    with pytest.raises(ValueError, match="no pixel of the 16 pseudo labels is usable: all are 255"):
        fitted(options(), photos, unknown, surroundings())


def test_it_reads_photos_and_no_stored_features() -> None:
    segmenter = DeepLabLargeFov(options())
    assert segmenter.modes == ("fine_tuned",)
    assert segmenter.fit_features() == segmenter.apply_features() == ()
