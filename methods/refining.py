"""What refiners share: maps at another grid, labels of all photos at the grid of the loss, maps on one scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from methods.base import Fit, LocalizationMaps, Localized, Surroundings, TrainingOptions
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


def peaked(maps_CHW: Scores) -> Scores:
    """Each map divided by its maximum, in [0, 1]."""
    divided_CHW: Scores = (maps_CHW / maps_CHW.max((1, 2), keepdims=True).clip(1e-8)).clip(0, 1)
    return divided_CHW


def on_one_scale(maps_CHW: Scores) -> Scores:
    """All maps divided by the maximum of all, in [0, 1]."""
    divided_CHW: Scores = (maps_CHW / max(float(maps_CHW.max()), 1e-8)).clip(0, 1)
    return divided_CHW
