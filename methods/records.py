"""What passes between components: stored features, localization maps, weights, and what each kind learns from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from settings.records import Image, LabelSpace, Mask, Photo, WeakSet

if TYPE_CHECKING:
    import torch

__all__ = [
    "PLAIN",
    "DrawnPair",
    "FeatureRequest",
    "Fit",
    "LocalizationMaps",
    "Localized",
    "MapRecords",
    "Photos",
    "PseudoLabelled",
    "Saliency",
    "Upsampling",
    "Weights",
]

Weights: TypeAlias = "dict[str, torch.Tensor]"
"""Named tensors, as they are stored in safetensors; a fine-tuned backbone's names begin with `backbone.`."""
Saliency: TypeAlias = NDArray[np.uint8]
"""How likely each pixel belongs to any object, 0–255, (H, W); from 128 on it rather does."""
Upsampling: TypeAlias = Literal["bilinear", "bicubic", "nearest"]
"""How localization maps become as large as their photo."""
Photos: TypeAlias = Sequence[Photo]
"""Some photos; what is made of them comes in their order."""


@dataclass(frozen=True, order=True)
class FeatureRequest:
    """Which features of a photo: at `scale` times the backbone's size, mirrored or not, timm's feature `level` 0–4."""

    scale: float = 1.0
    flip: bool = False
    level: int = 4


PLAIN = FeatureRequest()
"""The features of a photo as it is, at the backbone's size, from its last level."""


@dataclass(frozen=True)
class LocalizationMaps:
    """Where the classes of one photo are: maps in [0, 1] at network resolution, the one format between stages.

    `class_ids` are 0-based, one a map; `image_size` is (height, width); masks are scored at that size after the
    maps are upsampled as `upsampling` says. `background_HW` is a score of the background beside them, in [0, 1] at the
    same resolution, where a method has one of its own.
    """

    photo_id: str
    class_ids: tuple[int, ...]
    maps_CHW: NDArray[np.float32]
    image_size: tuple[int, int]
    upsampling: Upsampling = "bilinear"
    background_HW: NDArray[np.float32] | None = None


MapRecords: TypeAlias = Iterator[LocalizationMaps]
"""One record a photo, each as soon as it is made."""


@dataclass(frozen=True)
class Fit:
    """What training gave: the weights, and one row of losses (and learning rates, scores …) an epoch."""

    weights: Weights
    log: tuple[Mapping[str, float], ...] = ()


@dataclass(frozen=True)
class Localized:
    """What refiners and pretrainings learn from: photos with image-level labels, and each one's localization maps."""

    weak: WeakSet
    maps: Callable[[str], LocalizationMaps]
    saliency: Callable[[str], Saliency] | None = None
    """The cue's of a photo, for a refiner that needs one."""
    pseudo_label: Callable[[str], Mask] | None = None
    """That of a photo, for a pretraining that draws pairs."""


class DrawnPair(NamedTuple):
    """A photo, uint8 RGB (H, W, 3), and its pseudo label, uint8 (H, W) with 255 where undecided."""

    image: Image
    mask: Mask


@dataclass(frozen=True)
class PseudoLabelled:
    """What segmenters train on: photos, and for each its pseudo label, uint8 at photo size with 255 where undecided."""

    photos: tuple[Photo, ...]
    label_space: LabelSpace
    pseudo_label: Callable[[str], Mask]

    def mask_of(self, row: int) -> Mask:
        """The pseudo label of the photo at a place of `photos`."""
        return self.pseudo_label(self.photos[row].id)
