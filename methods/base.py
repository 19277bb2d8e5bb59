"""What every method is made of: one base class a kind of component. A component's file imports all it needs from here.

A component is a `fit` that returns weights, where something is trained, and an `apply` that makes its outcome for some
photos. Both get one `Surroundings` beside the photos: its fields are the weights, the stored features, the machine. A
component's file imports torch only inside its functions: options are read at planning, where torch is not wanted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, SerializerFunctionWrapHandler, model_serializer, model_validator

from methods.costs import Cost
from methods.photo_inputs import SQUARE, PhotoInputs
from methods.records import (
    PLAIN,
    DrawnPair,
    FeatureRequest,
    Fit,
    LocalizationMaps,
    Localized,
    MapRecords,
    Photos,
    PseudoLabelled,
    Saliency,
    Weights,
)
from methods.surroundings import NAMED_WEIGHTS, BackboneOptions, FeatureBank, Stopped, Surroundings
from settings.options import Options
from settings.records import LabelSpace, Mask, Photo, WeakSet

__all__ = [
    "NAMED_WEIGHTS",
    "PLAIN",
    "BackboneOptions",
    "Classifier",
    "Component",
    "Cost",
    "Cue",
    "DrawnPair",
    "FeatureBank",
    "FeatureReader",
    "FeatureRequest",
    "Field",
    "Fit",
    "LabelSpace",
    "Labeler",
    "LocalizationMaps",
    "Localized",
    "Localizer",
    "MapRecords",
    "Mask",
    "NamedCue",
    "Options",
    "PairPretraining",
    "Photo",
    "Photos",
    "Pretraining",
    "PseudoLabelled",
    "Refiner",
    "Saliency",
    "Segmenter",
    "Stopped",
    "Surroundings",
    "TrainingMode",
    "TrainingOptions",
    "WeakSet",
    "Weights",
]

TrainingMode: TypeAlias = Literal["frozen", "fine_tuned"]
"""Whether only heads are trained, on stored features, or the backbone too."""


Beta: TypeAlias = Annotated[float, Field(ge=0, lt=1)]


class TrainingOptions(Options):
    """How a network is trained; momentum and weight decay are named as they act.

    `momentum` and `nesterov` are SGD's, `betas` AdamW's, whose weight decay is usually 0.01 to 0.05 and whose learning
    rate is far below SGD's.
    """

    epochs: int = Field(8, ge=1, le=10_000)
    batch: int = Field(16, ge=2, le=4096)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = Field(0.05, gt=0, le=10)
    betas: tuple[Beta, Beta] = Field((0.9, 0.999), description="decay rates of AdamW's two running means")
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

    @model_validator(mode="after")
    def _betas_are_read(self) -> TrainingOptions:
        if self.optimizer == "sgd" and self.betas != type(self).model_fields["betas"].default:
            raise ValueError("optimizer: adamw where there are betas")
        return self

    @model_serializer(mode="wrap")
    def _without_sgd(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """SGD is in no key, so that what was trained before there was a choice is still found."""
        content: dict[str, Any] = handler(self)
        if self.optimizer == "sgd":
            content.pop("optimizer", None)
            content.pop("betas", None)
        return content


class Component(ABC):  # noqa: B024 - abstract by what its subclasses declare
    """What all kinds of component have in common: checked options, a version, and what they take from elsewhere."""

    options_model: ClassVar[type[Options]] = Options
    version: ClassVar[int] = 1
    """Raised when the outcome changes: it is part of every key."""
    bfloat16_pays: ClassVar[bool] = False
    """Whether training on frozen features was measured to be faster with products in bfloat16 on a CPU with AMX."""
    apply_options: ClassVar[frozenset[str]] = frozenset()
    """Options that only `apply` reads: changing them trains nothing anew."""
    fit_cost: ClassVar[Cost | None] = None
    """What a photo costs in one epoch of `fit`, guessed; None: as its kind usually costs."""
    apply_cost: ClassVar[Cost | None] = None
    """What a photo costs in `apply`, guessed; None: as its kind usually costs."""
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


class FeatureReader(Component):
    """A component that reads stored features of a backbone, which it names so that they are computed before it runs."""

    features: ClassVar[tuple[FeatureRequest, ...]] = ()
    """The features that it reads, where `fit_features` and `apply_features` do not tell them apart."""

    @property
    def seen(self) -> str:
        """What its network sees of photos, as rows say it; empty where it reads none."""
        if isinstance(self.options, PhotoInputs):
            return self.options.seen
        return SQUARE if self.fit_features() or self.apply_features() else ""

    def fit_features(self) -> tuple[FeatureRequest, ...]:
        """The features that `fit` reads of all its photos, where the backbone is frozen."""
        return self.features

    def apply_features(self) -> tuple[FeatureRequest, ...]:
        """The features that `apply` reads of its own photos."""
        return self.features


class Pretraining(Component):
    """Photos → a backbone that goes on from the suite's, before a localizer or a segmenter reads its features."""

    reads_labels: ClassVar[bool] = False
    """Whether its photos come with their image-level labels; else it cannot use them by mistake."""
    reads_maps: ClassVar[bool] = False
    """Whether it learns from the recipe's localization maps: only the segmenter then reads what it makes."""

    @property
    def supervision(self) -> str:
        """Empty, or `I` for one that learns from image-level labels or from maps, which are made of them."""
        return "I" if self.reads_labels or self.reads_maps else ""

    @abstractmethod
    def fit(self, data: Localized, surroundings: Surroundings) -> Fit:
        """Train on `data.weak`; its weights are named `backbone.…`, as `surroundings.backbone` has them.

        `data.maps` gives the maps of a photo where `reads_maps`; else it raises KeyError. There are no stored features.
        """

    @property
    def for_segmenter_alone(self) -> bool:
        """Whether only the segmenter reads what it makes; else localizer, refiners and cue do so too."""
        return self.reads_maps


class PairPretraining(Pretraining):
    """Photos and their pseudo labels → further photos with pseudo labels, for segmentation training.

    The backbone stays the suite's. Pseudo labels are what the recipe's other components made: they add no supervision.
    """

    @property
    @abstractmethod
    def pairs(self) -> int:
        """How many pairs `draw` gives; known before anything is drawn."""

    @property
    def trained(self) -> bool:
        """Whether it has a `fit` of its own; else nothing is trained here, and its weights are empty."""
        return type(self).fit is not PairPretraining.fit

    @property
    def for_segmenter_alone(self) -> bool:
        """Always: pairs are drawn from pseudo labels."""
        return True

    def fit(self, data: Localized, surroundings: Surroundings) -> Fit:
        """Train on photos that have a pseudo label, `data.pseudo_label` of their ids; there are no stored features."""
        return Fit({})

    @abstractmethod
    def draw(self, data: Localized, surroundings: Surroundings) -> Iterator[DrawnPair]:
        """So many pairs, from the data of `fit` and what it returned in `surroundings.weights`."""


class Localizer(FeatureReader):
    """Photos with image-level labels → localization maps (the field's "seeds")."""

    features: ClassVar[tuple[FeatureRequest, ...]] = (PLAIN, FeatureRequest(flip=True))
    modes: ClassVar[tuple[TrainingMode, ...]] = ("frozen", "fine_tuned")
    """The ways of training that it knows; a recipe that asks for another is refused."""
    gives_background: ClassVar[bool] = False
    """True for maps with a background map beside them, where the photo has labels."""

    @property
    def supervision(self) -> str:
        """`I`: it learns from image-level labels."""
        return "I"

    def reference_features(self) -> tuple[FeatureRequest, ...]:
        """The features that `apply` reads of any photo of the setting."""
        return ()

    @property
    def draws_references(self) -> bool:
        """Whether `apply` reads other photos of the setting, which it draws."""
        return bool(self.reference_features())

    @property
    def trained(self) -> bool:
        """Whether it has a `fit` of its own; else nothing is trained here, and its weights are empty."""
        return type(self).fit is not Localizer.fit

    @property
    def needs_negatives(self) -> bool:
        """Whether it learns a class from photos that lack it beside those that show it, as every classifier does."""
        return self.trained

    def fit(self, weak: WeakSet, surroundings: Surroundings) -> Fit:
        """Train on photos with image-level labels; a localizer that trains nothing leaves this out.

        `surroundings.bank` holds the frozen features of `fit_features`, or is None where the backbone is fine-tuned.
        """
        return Fit({})

    @abstractmethod
    def apply(self, photos: Photos, surroundings: Surroundings) -> MapRecords:
        """One record a photo, in the order of `photos`, with maps of the photo's own labels only.

        `surroundings` holds the weights, the features of `apply_features` and `reference_features`, and in `weak` what
        was trained on.
        """

    def views(self, photo: Photo, surroundings: Surroundings) -> Mapping[str, LocalizationMaps]:
        """The maps that are fused into those of `apply`, or stand beside them, by name, to be looked at.

        `surroundings` are those of `apply`.
        """
        return {}

    def scores_NK(self, photos: Photos, surroundings: Surroundings) -> NDArray[np.float32] | None:
        """The classifier's logits, (photos, K), from the features of `fit_features`; None where there is none."""
        return None

    def measures(self, photos: Photos, surroundings: Surroundings) -> Mapping[str, float]:
        """What is worth watching of a trained localizer on some photos, by name.

        `surroundings.weak` is these photos, so that references are found among them.
        """
        return {}


class Refiner(FeatureReader):
    """Localization maps → localization maps that follow the photo better. Features are those of the frozen backbone."""

    gives_background: ClassVar[bool | None] = None
    """Whether its maps have a background map beside them; None: where the maps that it gets have one."""
    needs_cue: ClassVar[bool] = False
    """Whether its `fit` reads a cue's saliency: its recipe then has a cue."""

    @property
    def trained(self) -> bool:
        """Whether it has a `fit` of its own; else nothing is trained here, and its weights are empty."""
        return type(self).fit is not Refiner.fit

    def check_backbone(self, backbone: BackboneOptions, where: str) -> None:
        """Raise UserError, naming `where`, for a suite's backbone that it cannot work on; asked at planning."""

    def fit(self, data: Localized, surroundings: Surroundings) -> Fit:
        """Train on localization maps; a refiner that trains nothing leaves this out."""
        return Fit({})

    @abstractmethod
    def apply(self, photos: Photos, maps: Callable[[str], LocalizationMaps], surroundings: Surroundings) -> MapRecords:
        """One record a photo, of the same classes, in the order of `photos`; `maps` gives those of a photo's id."""

    def views(self, photo: Photo, maps: LocalizationMaps, surroundings: Surroundings) -> Mapping[str, LocalizationMaps]:
        """Inner maps of a photo by name, to be looked at; `maps` are those that it refines.

        `surroundings` are those of `apply`.
        """
        return {}


class Cue(FeatureReader):
    """Photos → where they show objects at all, without saying which (saliency). Features are the frozen backbone's."""

    reads_masks: ClassVar[bool] = False
    """True for a cue that is simulated from true masks, which the harness then hands to `simulate`."""
    computes: ClassVar[bool] = True
    """False for a cue whose maps depend on no arithmetic of this machine: it takes over or averages finished ones."""

    @property
    def supervision(self) -> str:
        """A supervised salient-object network, unless a cue says otherwise."""
        return "S"

    @property
    def parts(self) -> tuple[NamedCue, ...]:
        """The cues that it fuses: their maps are made first, and found in `surroundings.cues`; none for most."""
        return ()

    def all_parts(self) -> tuple[Cue, ...]:
        """The cues that it fuses, and those that these fuse, innermost first."""
        found: list[Cue] = []
        for part in self.parts:
            found += [*part.cue.all_parts(), part.cue]
        return tuple(found)

    @property
    def trained(self) -> bool:
        """Whether it has a `fit` of its own; else nothing is trained here, and its weights are empty."""
        return type(self).fit is not Cue.fit

    def fit(self, photos: Photos, surroundings: Surroundings) -> Fit:
        """Train on photos without labels; a cue that trains nothing leaves this out."""
        return Fit({})

    def apply(self, photos: Photos, surroundings: Surroundings) -> Iterator[Saliency]:
        """One saliency map a photo at photo size, in the order of `photos`; not called where `reads_masks`."""
        raise NotImplementedError

    def simulate(self, photo_id: str, truth_HW: Mask) -> Saliency:
        """The saliency map of a photo from its true mask; called only where `reads_masks`."""
        raise NotImplementedError


class NamedCue(NamedTuple):
    """A cue with the name of its component."""

    name: str
    cue: Cue


class Labeler(Component):
    """Localization maps → pseudo labels."""

    needs_maps: ClassVar[bool] = True
    """False for a rule that looks at no map: its recipe has no localizer."""
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

    def reading(self, has_background: bool) -> Labeler:
        """A labeler with these options for maps with or without a background map; asked once, at planning."""
        return self

    def with_threshold(self, threshold: float) -> Labeler:
        """A labeler with these options, but for the threshold that a selection policy chose."""
        assert self.chosen_option is not None
        return type(self)(self.options.model_copy(update={self.chosen_option: threshold}))

    @abstractmethod
    def label(self, photo: Photo, maps: LocalizationMaps | None, cue_HW: Saliency | None = None) -> Mask:
        """The pseudo label at photo size, uint8 (H, W), 255 where undecided; None is what is not needed."""


class Classifier(Component):
    """Photos with image-level labels → how likely extra photos show each class; web filters judge by that."""

    @property
    def supervision(self) -> str:
        """`I`: it learns from image-level labels."""
        return "I"

    def fit_features(self) -> tuple[FeatureRequest, ...]:
        """The features of target and extra photos that `out_of_fold` reads."""
        return (PLAIN, FeatureRequest(flip=True))

    @abstractmethod
    def out_of_fold(self, target: Photos, extra: Photos, surroundings: Surroundings) -> NDArray[np.float32]:
        """probabilities_NK of the extra photos in [0, 1], each from a fit that did not train on that photo.

        K is the number of classes of `surroundings.label_space`; an extra photo's labels may be wrong.
        """


class Segmenter(FeatureReader):
    """Pseudo labels → a segmentation network, which is then run on photos without labels."""

    modes: ClassVar[tuple[TrainingMode, ...]] = ("frozen", "fine_tuned")
    """The ways of training that it knows; a recipe that asks for another is refused."""
    knows_scored_photos_alone: ClassVar[bool] = False
    """True where it cannot be run on the photos that it was trained on: pictures of these then lack predictions."""

    @property
    def needs_pseudo_labels(self) -> bool:
        """Whether its `fit` learns from masks; else it has the photos of `surroundings.weak`, and no labeler."""
        return True

    @property
    def trained(self) -> bool:
        """Whether it has a `fit` of its own; else nothing is trained here, and its weights are empty."""
        return type(self).fit is not Segmenter.fit

    def check_backbone(self, backbone: BackboneOptions, where: str) -> None:
        """Raise UserError, naming `where`, for a suite's backbone that it cannot build on; asked at planning."""

    def fit(self, data: PseudoLabelled, surroundings: Surroundings) -> Fit:
        """Train on pseudo labels, ignoring pixels of value 255; a segmenter that learns nothing leaves this out.

        `surroundings.bank` holds the frozen features of `fit_features`, or is None where the backbone is fine-tuned.
        """
        return Fit({})

    @abstractmethod
    def apply(self, photos: Photos, surroundings: Surroundings) -> Iterator[Mask]:
        """One mask a photo at photo size, uint8 values 0..K, in the order of `photos`, which have no labels."""
