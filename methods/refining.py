"""What refiners share: maps at another grid, labels of all photos at the grid of the loss, maps on one scale."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from methods.base import Fit, LocalizationMaps, Localized, Surroundings, TrainingOptions
from methods.photo_inputs import CropOptions, PhotoInputs
from methods.upsampling import upsample
from settings.images import resize
from settings.masks import resize_mask
from settings.records import UNKNOWN, Image, Mask, Photo

if TYPE_CHECKING:
    import torch
    from torch import nn

    from methods.networks.random_walk import Counted

Scores = NDArray[np.float32]
LabelStep = Callable[[Scores, Sequence[int], Image], Mask]
"""(maps at photo size, class ids, photo) → the label of each pixel, 255 where it is not sure."""


class RefinerInputs(PhotoInputs):
    """What the options of a refiner begin with that can be trained on crops: it then reads whole photos in `apply`."""

    @model_validator(mode="after")
    def _sees_the_same_twice(self) -> RefinerInputs:
        if self.aspect is not None and self.keeps_aspect != (self.inputs is not None):
            raise ValueError("no aspect: a refiner keeps it where its inputs are crops, and else sees squares")
        return self


def shrunk(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """(height, width) with the longer side at most `longest` pixels."""
    factor = min(1.0, longest / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def maps_at(record: LocalizationMaps, grid: tuple[int, int]) -> Scores:
    """The maps at (height, width), float32 (C, h, w), upsampled as they declare."""
    return upsample(replace(record, image_size=grid, background_HW=None))


def labels_NHW(data: Localized, step: LabelStep, size: int, grid: tuple[int, int]) -> NDArray[np.uint8]:
    """Labels of all photos, made at photos of at most `size` pixels and sampled at the grid, uint8 (N, h, w).

    Raises ValueError where no photo has a sure pixel.
    """
    found = np.stack([resize_mask(_label(photo, data, step, size), *grid) for photo in data.weak.photos])
    if (found == UNKNOWN).all():
        raise ValueError(f"no sure pixel in the maps of {len(found)} photos: all labels are {UNKNOWN}")
    return found


def _label(photo: Photo, data: Localized, step: LabelStep, size: int) -> Mask:
    record = data.maps(photo.id)
    small = shrunk(record.image_size, size)
    return step(maps_at(record, small), record.class_ids, np.array(resize(photo.image(), *small)))


def fit_on_pairs(
    data: Localized,
    levels: Sequence[int],
    head_of: Callable[[tuple[int, ...]], nn.Module],
    labels_at: Callable[[tuple[int, int]], NDArray[np.uint8]],
    loss: Callable[[nn.Module, Sequence[torch.Tensor], torch.Tensor, Counted], torch.Tensor],
    training: TrainingOptions,
    surroundings: Surroundings,
) -> Fit:
    """Train a head on some levels of frozen features, photos mirrored at random, at the grid of the first level.

    `head_of` makes it for the levels' channels, `labels_at` gives labels (N, h, w) at the grid, `loss` takes the head,
    features a level and the labels of a batch, and what its means divide by as one of several processes. The weights
    are named `head.*`.
    """
    import torch

    from methods.inputs import FrozenInputs
    from methods.training import groups_of, named_tensors, train

    torch.manual_seed(surroundings.rng_seed)
    inputs = FrozenInputs(data.weak.photos, levels, surroundings.stored, surroundings.device)
    head = head_of(inputs.channels).to(surroundings.device)
    height, width = inputs(np.zeros(1, np.int64), np.zeros(1, np.bool_))[0].shape[2:]
    labels, share = torch.from_numpy(labels_at((height, width))).to(surroundings.device), surroundings.share

    def step(rows: NDArray[np.int64], rng: np.random.Generator) -> dict[str, torch.Tensor]:
        flips, items = rng.random(len(rows)) < 0.5, len(rows)
        rows, flips = share.of(rows), share.of(flips)
        labels_BHW = labels[rows]
        labels_BHW[flips] = labels_BHW[flips].flip(2)
        return {"affinity": loss(head, inputs(rows, flips), labels_BHW, lambda pairs: share.even(pairs, items))}

    groups = groups_of(head, bias_factor=training.bias_factor)
    log = train(head, groups, len(data.weak.photos), step, training, surroundings)
    return Fit(named_tensors(head=head), log)


def fit_on_crops(
    data: Localized,
    levels: Sequence[int],
    head_of: Callable[[tuple[int, ...]], nn.Module],
    labels: Callable[[int], Mask],
    loss: Callable[[nn.Module, Sequence[torch.Tensor], torch.Tensor, Counted], torch.Tensor],
    crops: CropOptions,
    training: TrainingOptions,
    surroundings: Surroundings,
    *,
    backbone_learns: bool,
) -> Fit:
    """As `fit_on_pairs`, on crops that go through the suite's backbone, which learns along or stays as it is.

    `labels` gives those of a row's whole photo, which are sampled at the grid of each crop's first level; outside the
    photo they are unknown. Beside `head.*` the weights have `backbone.*`, for `apply`.
    """
    import torch

    from methods.crop_inputs import CropInputs
    from methods.training import groups_of, train

    torch.manual_seed(surroundings.rng_seed)
    inputs = CropInputs(data.weak.photos, levels, crops, surroundings, labels)
    head = head_of(inputs.channels).to(surroundings.device)
    inputs.module.eval()

    def step(rows: NDArray[np.int64], rng: np.random.Generator) -> dict[str, torch.Tensor]:
        batch, items = inputs.draw(rows, rng), len(rows)
        with torch.set_grad_enabled(backbone_learns):
            levels_BCHW = batch.levels()
        labels_BHW = batch.masks_BHW(levels_BCHW[0].shape[2]).to(torch.uint8)
        share = surroundings.share
        return {"affinity": loss(head, levels_BCHW, labels_BHW, lambda pairs: share.even(pairs, items))}

    groups = groups_of(head, bias_factor=training.bias_factor)
    modules = torch.nn.ModuleDict({"head": head})
    if backbone_learns:
        groups += inputs.groups(training.backbone_factor, training.bias_factor)
        modules["inputs"] = inputs.module
    log = train(modules, groups, len(data.weak.photos), step, training, surroundings, ahead=inputs.ahead)
    return Fit(inputs.weights_with(head=head), log)


class KeptLabels:
    """The labels of all photos by their rows, uint8 at photo size; compressed, since there are thousands.

    Raises ValueError where no photo has a sure pixel.
    """

    def __init__(self, data: Localized, step: LabelStep, size: int) -> None:
        masks = (_label(photo, data, step, size) for photo in data.weak.photos)
        found = [(zlib.compress(mask_HW.tobytes(), 1), mask_HW.shape, (mask_HW != UNKNOWN).any()) for mask_HW in masks]
        if not any(sure for _, _, sure in found):
            raise ValueError(f"no sure pixel in the maps of {len(found)} photos: all labels are {UNKNOWN}")
        self._kept = [(content, shape) for content, shape, _ in found]
        self._sizes = [data.maps(photo.id).image_size for photo in data.weak.photos]

    def __call__(self, row: int) -> Mask:
        """Those of the photo at a place of the weak set."""
        content, shape = self._kept[row]
        return resize_mask(np.frombuffer(zlib.decompress(content), np.uint8).reshape(shape), *self._sizes[row])


def pooled(scores_CHW: Scores, size: tuple[int, int], stride: int) -> torch.Tensor:
    """Means over cells of `stride` pixels, (C, h, w), of scores padded with 0 on the right and below to `size`."""
    import torch
    from torch.nn.functional import avg_pool2d, pad

    height, width = scores_CHW.shape[1:]
    padded_CHW = pad(torch.from_numpy(scores_CHW), (0, size[1] - width, 0, size[0] - height))
    return avg_pool2d(padded_CHW, stride)


def unpooled(scores_CHW: torch.Tensor, size: tuple[int, int], stride: int) -> Scores:
    """Scores of cells of `stride` pixels at `size` (height, width): bilinear, cut on the right and below."""
    from torch.nn.functional import interpolate

    large_BCHW = interpolate(scores_CHW[None], scale_factor=stride, mode="bilinear", align_corners=False)
    large_CHW: Scores = large_BCHW[0, :, : size[0], : size[1]].float().cpu().numpy()
    return large_CHW


def peaked(maps_CHW: Scores) -> Scores:
    """Each map divided by its maximum, in [0, 1]."""
    divided_CHW: Scores = (maps_CHW / maps_CHW.max((1, 2), keepdims=True).clip(1e-8)).clip(0, 1)
    return divided_CHW


def on_one_scale(maps_CHW: Scores) -> Scores:
    """All maps divided by the maximum of all, in [0, 1]."""
    divided_CHW: Scores = (maps_CHW / max(float(maps_CHW.max()), 1e-8)).clip(0, 1)
    return divided_CHW
