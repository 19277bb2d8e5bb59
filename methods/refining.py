"""What refiners share: maps at another grid, labels of all photos at the grid of the loss, maps on one scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from methods.base import FeatureRequest, Fit, LocalizationMaps, Localized, Surroundings, TrainingOptions
from methods.photo_inputs import PhotoInputs
from methods.upsampling import upsample
from settings.images import resize
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


def sure_labels(data: Localized, step: LabelStep, size: int) -> list[Mask]:
    """The labels of all photos, made at photos of at most `size` pixels; raises ValueError where no pixel is sure."""
    found = [_label(photo, data, step, size) for photo in data.weak.photos]
    if all((label_HW == UNKNOWN).all() for label_HW in found):
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
    labels: Sequence[Mask],
    loss: Callable[[nn.Module, Sequence[torch.Tensor], torch.Tensor, Counted], torch.Tensor],
    options: PhotoInputs,
    training: TrainingOptions,
    surroundings: Surroundings,
) -> Fit:
    """Train a head on some levels of features at the grid of the first one, and the backbone where it sees crops.

    With a `backbone_factor` of 0 that backbone stands still, batch norms and dropout too, as IRN's. On features of the
    frozen backbone photos are mirrored at random. `head_of` makes the head for the levels' channels,
    `labels` has one mask a photo, of any size; `loss` takes the head, features a level and the labels of a batch, and
    what its means divide by as one of several processes. The weights are named `head.*`, and `backbone.*`.
    """
    import torch

    from methods.inputs import inputs_of
    from methods.training import groups_of, train

    torch.manual_seed(surroundings.rng_seed)
    inputs = inputs_of(options, data.weak.photos, levels, surroundings, labels.__getitem__)
    head, share = head_of(inputs.channels).to(surroundings.device), surroundings.share
    learns = training.backbone_factor > 0
    inputs.module.eval()

    def step(rows: NDArray[np.int64], rng: np.random.Generator) -> dict[str, torch.Tensor]:
        batch = inputs.draw(rows, rng)
        with torch.set_grad_enabled(learns):
            features = batch.levels()
        labels_BHW = batch.masks_BHW(features[0].shape[2]).byte()
        return {"affinity": loss(head, features, labels_BHW, lambda pairs: share.even(pairs, len(rows)))}

    groups = groups_of(head, bias_factor=training.bias_factor)
    modules = torch.nn.ModuleDict({"head": head})
    if learns:
        groups += inputs.groups(training.backbone_factor, training.bias_factor)
        modules["inputs"] = inputs.module
    log = train(modules, groups, len(data.weak.photos), step, training, surroundings, ahead=inputs.ahead)
    return Fit(inputs.weights_with(head=head), log)


class OnGrid(Protocol):
    """A photo as a refiner's network sees it."""

    @property
    def plain(self) -> Sequence[torch.Tensor]:
        """Its levels, (1, C, h, w) each."""
        ...

    @property
    def mirrored(self) -> Sequence[torch.Tensor]:
        """Those of its mirror image, where they were asked for."""
        ...

    def onto(self, record: LocalizationMaps) -> Scores:
        """Its maps at the grid of the first level, (C, h, w)."""
        ...

    def back(self, maps_CHW: torch.Tensor) -> Scores:
        """Maps at that grid as they are recorded, float32 (C, …)."""
        ...


@dataclass(frozen=True)
class SquareOnGrid:
    """A photo as a square: its maps' grid is that of the network."""

    plain: Sequence[torch.Tensor]
    mirrored: Sequence[torch.Tensor]

    def onto(self, record: LocalizationMaps) -> Scores:
        """The maps upsampled to the grid as they declare."""
        height, width = self.plain[0].shape[2:]
        return maps_at(record, (height, width))

    def back(self, maps_CHW: torch.Tensor) -> Scores:
        """The maps as they are."""
        found: Scores = maps_CHW.cpu().numpy()
        return found


def grids_of(
    options: PhotoInputs, levels: Sequence[int], surroundings: Surroundings, mirrored: bool = False
) -> Callable[[Photo], OnGrid]:
    """How `apply` of a refiner sees a photo: at its own size through the tuned backbone, or by stored features."""
    if options.keeps_aspect:
        from methods.whole_photos import WholePhotos

        return partial(WholePhotos(surroundings, levels).on_grid, mirrored=mirrored)

    def features(photo: Photo, flip: bool) -> list[torch.Tensor]:
        requests = [FeatureRequest(flip=flip, level=level) for level in levels]
        bank, device = surroundings.stored, surroundings.device
        return [bank.features_BCHW([photo.id], [request]).to(device) for request in requests]

    def square(photo: Photo) -> OnGrid:
        return SquareOnGrid(features(photo, flip=False), features(photo, flip=True) if mirrored else ())

    return square


def peaked(maps_CHW: Scores) -> Scores:
    """Each map divided by its maximum, in [0, 1]."""
    divided_CHW: Scores = (maps_CHW / maps_CHW.max((1, 2), keepdims=True).clip(1e-8)).clip(0, 1)
    return divided_CHW


def on_one_scale(maps_CHW: Scores) -> Scores:
    """All maps divided by the maximum of all, in [0, 1]."""
    divided_CHW: Scores = (maps_CHW / max(float(maps_CHW.max()), 1e-8)).clip(0, 1)
    return divided_CHW
