"""Batches of crops: what the network sees, held against photos that were cut by hand."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from methods import crop_inputs
from methods.base import BackboneOptions, TrainingOptions
from methods.crop_inputs import CropInputs
from methods.crops import Crops
from methods.networks.cross_entropy import mean_cross_entropy
from methods.photo_inputs import ColourJitterOptions, CropOptions
from methods.training import train
from settings.images import resize
from settings.records import UNKNOWN, Photo
from tests.methods.conftest import Noted

SMALL = BackboneOptions(name="test_efficientnet", weights="random", size=32)
ROWS = np.array([2, 0])
AS_IT_IS = CropOptions(scales=(1, 1), crop=40, flip=False)


class Pixels(nn.Module):
    """In place of a backbone: the normalised pixels themselves."""

    mean_C, std_C = (0.5, 0.25, 0.75), (0.5, 0.25, 0.25)
    channels = (3,)

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 3, 1)

    def to_input(self, images_BHWC: np.ndarray) -> torch.Tensor:
        images = images_BHWC.astype(np.float32) / 255
        return torch.from_numpy((images - self.mean_C) / self.std_C).permute(0, 3, 1, 2).float()


class Seen:
    """A backbone that gives back what it is given."""

    def __init__(self, *_: Any) -> None:
        self.network = Pixels()
        self.mean_colour = (128, 64, 191)

    def __call__(self, images_BCHW: torch.Tensor) -> list[torch.Tensor]:
        return [images_BCHW]


@pytest.fixture
def photos(photo: Callable[..., Photo]) -> list[Photo]:
    rng = np.random.default_rng(0)
    return [photo(f"p{i}", (), rng.integers(0, 256, (30 + i, 24, 3)).astype(np.uint8)) for i in range(3)]


@pytest.fixture
def inputs_of(photos: list[Photo], monkeypatch: pytest.MonkeyPatch) -> Callable[..., CropInputs]:
    """Makes inputs whose features are what the network sees."""
    monkeypatch.setattr(crop_inputs, "TunedBackbone", Seen)

    def make(options: CropOptions, photos: Sequence[Photo] = photos, **more: Any) -> CropInputs:
        return CropInputs(photos, (4,), options, Noted(backbone=SMALL), **more)

    return make


def test_a_crop_shows_the_photo_and_zeros_around_it(inputs_of: Callable[..., CropInputs], photos: list[Photo]) -> None:
    """All of a photo that is smaller than its crop, normalised, at one of the places where there is room."""
    (seen_BCHW,) = inputs_of(AS_IT_IS).draw(ROWS, np.random.default_rng(0)).levels()
    assert seen_BCHW.shape == (2, 3, 40, 40)
    for row, seen_CHW in zip(ROWS, seen_BCHW, strict=True):
        height, width = photos[row].image().shape[:2]
        expected_CHW = Pixels().to_input(photos[row].image()[None])[0]
        places = [(top, left) for top in range(41 - height) for left in range(41 - width)]
        found = [
            place
            for place in places
            if torch.equal(seen_CHW[:, place[0] : place[0] + height, place[1] : place[1] + width], expected_CHW)
        ]
        assert len(found) == 1
        assert int((seen_CHW != 0).any(0).sum()) <= height * width
        assert float(seen_CHW.abs().sum()) == pytest.approx(float(expected_CHW.abs().sum()), rel=1e-5)


def test_a_crop_of_a_constant_photo_is_constant_inside_and_zero_outside(
    photo: Callable[..., Photo], inputs_of: Callable[..., CropInputs]
) -> None:
    grey = photo("grey", (), np.full((50, 80, 3), 200, np.uint8))
    inputs = inputs_of(CropOptions(longer_side=(48, 48), crop=60), [grey])
    expected = ((200 / 255 - np.array(Pixels.mean_C)) / np.array(Pixels.std_C)).astype(np.float32)
    (seen_BCHW,) = inputs.draw(np.zeros(4, np.int64), np.random.default_rng(1)).levels()
    for seen_CHW in seen_BCHW.numpy():
        inside_HW = (seen_CHW != 0).all(0)
        assert inside_HW.sum() == 30 * 48, "a longer side of 48"
        assert np.allclose(seen_CHW[:, inside_HW], expected[:, None], atol=1e-6)
        assert (seen_CHW[:, ~inside_HW] == 0).all()


def test_longer_sides_fill_the_range(photo: Callable[..., Photo], inputs_of: Callable[..., CropInputs]) -> None:
    """Upright photos too; both ends come."""
    upright = photo("upright", (), np.full((60, 20, 3), 255, np.uint8))
    inputs = inputs_of(CropOptions(longer_side=(36, 39), crop=40), [upright])
    (seen_BCHW,) = inputs.draw(np.zeros(64, np.int64), np.random.default_rng(1)).levels()
    heights = (seen_BCHW != 0).all(1).any(2).sum(1)
    widths = (seen_BCHW != 0).all(1).any(1).sum(1)
    pairs = set(zip(heights.tolist(), widths.tolist(), strict=True))
    assert pairs == {(36, 12), (37, 12), (38, 13), (39, 13)}


def test_masks_follow_the_crop_and_are_unknown_outside(
    photo: Callable[..., Photo], inputs_of: Callable[..., CropInputs]
) -> None:
    """A photo whose red is ten times its mask's class: both were cut and mirrored alike."""
    mask_HW = np.random.default_rng(2).integers(0, 20, (30, 24)).astype(np.uint8)
    image = np.stack([mask_HW * 10, mask_HW, mask_HW], 2)
    inputs = inputs_of(AS_IT_IS.model_copy(update={"flip": True}), [photo("p", (), image)], mask_of=lambda row: mask_HW)
    batch = inputs.draw(np.zeros(8, np.int64), np.random.default_rng(0))
    truth_BHW = batch.masks_BHW(40)
    reds_BHW = (batch.levels()[0][:, 0] * 0.5 + 0.5) * 255
    inside = truth_BHW != UNKNOWN
    assert inside.sum((1, 2)).tolist() == [30 * 24] * 8
    assert torch.allclose(reds_BHW[inside], truth_BHW[inside] * 10.0, atol=1e-2)
    rows = {tuple(truth[mask].tolist()) for truth, mask in zip(truth_BHW, inside, strict=True)}
    assert rows == {tuple(mask_HW.ravel().tolist()), tuple(mask_HW[:, ::-1].ravel().tolist())}, "mirrored or not"


def test_padding_gives_no_gradient(inputs_of: Callable[..., CropInputs]) -> None:
    mask_HW = np.ones((30, 24), np.uint8)
    truth_BHW = inputs_of(AS_IT_IS, mask_of=lambda row: mask_HW).draw(ROWS[1:], np.random.default_rng(0)).masks_BHW(40)
    logits_BCHW = torch.zeros(1, 3, 40, 40, requires_grad=True)
    mean_cross_entropy(logits_BCHW, truth_BHW).backward()
    assert logits_BCHW.grad is not None
    has_gradient_BHW = (logits_BCHW.grad != 0).any(1)
    assert torch.equal(has_gradient_BHW, truth_BHW != UNKNOWN)
    assert int(has_gradient_BHW.sum()) == 30 * 24


def test_colours_and_copies_are_of_the_same_crop(inputs_of: Callable[..., CropInputs], photos: list[Photo]) -> None:
    batch = inputs_of(CropOptions(longer_side=(60, 80), crop=33)).draw(ROWS, np.random.default_rng(5))
    (full_BCHW,), (half_BCHW,) = batch.levels(), batch.levels(20 / 33)
    assert half_BCHW.shape == (2, 3, 20, 20)
    assert torch.allclose(full_BCHW.mean((2, 3)), half_BCHW.mean((2, 3)), atol=0.05)
    (colours_BCHW,) = batch.colours([(33, 33)])
    mean_C, std_C = (torch.tensor(values)[:, None, None] for values in (Pixels.mean_C, Pixels.std_C))
    assert torch.allclose((colours_BCHW + 1) / 2, full_BCHW * std_C + mean_C, atol=1e-2)


def test_batches_drawn_ahead_are_those_of_their_steps(inputs_of: Callable[..., CropInputs]) -> None:
    """With or without workers that run ahead, the same generator gives the same crops."""
    options = CropOptions(longer_side=(40, 60), crop=33, jitter=ColourJitterOptions(brightness=0.5, hue=0.2))
    batches = [np.array(rows) for rows in ([0, 1], [2, 0], [1, 2])]
    rng = np.random.default_rng(3)
    plain, early = inputs_of(options), inputs_of(options)
    one_by_one = [plain.draw(rows, rng).levels()[0] for rows in batches]
    rng = np.random.default_rng(3)
    for rows in batches:
        early.ahead(rows, rng)
    for rows, expected in zip(batches, one_by_one, strict=True):
        assert torch.equal(early.draw(rows, rng).levels()[0], expected)
    assert not torch.equal(one_by_one[0][0], one_by_one[1][1]), "the same photo, drawn anew"


def test_jitter_changes_colours_alone(photo: Callable[..., Photo], inputs_of: Callable[..., CropInputs]) -> None:
    """A dark and a bright half stay where they are; what is around the photo stays 0."""
    image = np.full((40, 40, 3), 60, np.uint8)
    image[20:] = 180
    still = AS_IT_IS.model_copy(update={"jitter": ColourJitterOptions(brightness=0.5)})
    (seen_BCHW,) = (
        inputs_of(still, [photo("p", (), image)]).draw(np.zeros(6, np.int64), np.random.default_rng(0)).levels()
    )
    greens_BHW = (seen_BCHW[:, 1] * 0.25 + 0.25) * 255
    factors = greens_BHW[:, 0, 0] / 60
    assert len(set(factors.tolist())) > 3
    assert float(factors.min()) >= 0.49
    assert float(factors.max()) <= 1.51
    ratio_B = greens_BHW[:, -1, -1].clamp_max(254) / greens_BHW[:, 0, 0]
    assert torch.allclose(ratio_B[factors < 1.4], torch.tensor(3.0), atol=0.1)


def test_crops_are_resized_as_the_factor_says() -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (20, 30, 3)).astype(np.uint8)
    crops = Crops(15, None, (0, 0, 0), longer_side=(15, 15), flip=False)
    place = crops.place((20, 30), rng)
    assert (place.height, place.width, place.mirrored) == (10, 15, False)
    assert np.array_equal(crops.photo(image, place)[crops.inside(place)].reshape(10, 15, 3), resize(image, 10, 15))


def test_training_announces_each_batch_before_its_step() -> None:
    """Two steps ahead, in order, and with the generator that the steps have."""
    told: list[tuple[str, tuple[int, ...]]] = []
    parameter = nn.Linear(1, 1)

    def step(rows: np.ndarray, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        told.append(("step", tuple(rows.tolist())))
        return {"loss": parameter.weight.sum()}

    def ahead(rows: np.ndarray, rng: np.random.Generator) -> None:
        told.append(("ahead", tuple(rows.tolist())))

    groups = [crop_inputs_group(parameter)]
    train(parameter, groups, 10, step, TrainingOptions(epochs=2, batch=2), Noted(), ahead=ahead)
    kinds = "".join(kind[0] for kind, _ in told)
    assert kinds == 2 * "aaasasassss"[: len(kinds) // 2]
    for epoch in (told[:10], told[10:]):
        steps = [rows for kind, rows in epoch if kind == "step"]
        assert steps == [rows for kind, rows in epoch if kind == "ahead"]


def crop_inputs_group(module: nn.Module) -> Any:
    from methods.training import groups_of

    return groups_of(module)[0]
