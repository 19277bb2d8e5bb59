"""Options that say what a network whose backbone is trained along sees of photos: squares, or the field's crops.

With crops a photo is resized at random, jittered, mirrored half the time and cut to a square; what of the square lies
outside the photo is 0 after normalisation, and unknown where the loss is one of pixels. At inference the photo keeps
its aspect: it goes through the network at its own size (times a scale), padded on the right and below to whole cells.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from settings.options import GrownOptions, Options

__all__ = [
    "SQUARE",
    "Aspect",
    "ColourJitterOptions",
    "CropOptions",
    "PhotoInputs",
    "RefinerInputs",
    "Scale",
    "Side",
]

Aspect = Literal["square", "kept"]
"""How a photo goes through a network at inference: as a square of `backbone.size`, or at its own size and aspect."""
SQUARE = "square"
"""What rows say of networks that see squares, in training and at inference."""
LONGER_SIDE = (320, 640)
"""Pixels, where no resize is named; IRN's."""

Side = Annotated[int, Field(ge=32, le=4096)]
Scale = Annotated[float, Field(gt=0, le=4)]


class ColourJitterOptions(Options):
    """Strengths of a colour jitter, as `methods.jitter.ColourJitter` has them; 0 changes nothing."""

    brightness: float = Field(0.0, ge=0, le=1)
    contrast: float = Field(0.0, ge=0, le=1)
    saturation: float = Field(0.0, ge=0, le=1)
    hue: float = Field(0.0, ge=0, le=0.5)


class CropOptions(Options):
    """Random crops; without `scales` photos are resized by their longer side."""

    longer_side: tuple[Side, Side] | None = Field(
        None, description=f"photos are resized to a longer side in this range (pixels); left out: {list(LONGER_SIDE)}"
    )
    scales: tuple[Scale, Scale] | None = Field(None, description="instead: resized by a factor in this range")
    crop: int = Field(512, ge=33, le=2049, description="side of the crops (pixels); 321, 448 and 512 are usual")
    flip: bool = Field(True, description="mirrored half the time")
    jitter: ColourJitterOptions = Field(ColourJitterOptions(), description="of the colours, before the crop is cut")

    @model_validator(mode="before")
    @classmethod
    def _has_a_resize(cls, given: Any) -> Any:
        """The usual range where none is given, so that a key says which it was."""
        if isinstance(given, dict) and given.get("longer_side") is None and given.get("scales") is None:
            return {**given, "longer_side": LONGER_SIDE}
        return given

    @model_validator(mode="after")
    def _resizes_once(self) -> CropOptions:
        if self.longer_side is not None and self.scales is not None:
            raise ValueError("longer_side or scales, not both")
        for name in ("longer_side", "scales"):
            ends = getattr(self, name)
            if ends is not None and ends[0] > ends[1]:
                raise ValueError(f"the smaller end of {name} first")
        return self


class PhotoInputs(GrownOptions):
    """What the options of a component begin with that can train its backbone on crops, and keep a photo's aspect.

    `aspect` belongs into its `apply_options`. Either is refused at planning where the backbone is frozen: stored
    features are of squares, which all recipes share.
    """

    later_options = frozenset({"inputs", "aspect"})
    inputs: CropOptions | None = Field(
        None, description="random crops in training, fine-tuned only; null: squares of backbone.size"
    )
    aspect: Aspect | None = Field(
        None, description="at inference, `kept` fine-tuned only; null: kept where inputs are crops, else square"
    )

    @property
    def keeps_aspect(self) -> bool:
        """Whether photos keep their own size and aspect at inference."""
        return self.aspect == "kept" or (self.aspect is None and self.inputs is not None)

    @property
    def needs_tuning(self) -> str:
        """The option by which photos themselves are read, not stored features; empty for squares."""
        if self.inputs is not None:
            return "inputs"
        return "aspect" if self.aspect == "kept" else ""

    @property
    def seen(self) -> str:
        """What the network sees, as rows say it; `SQUARE` where it is nothing else."""
        crops = f"crops {self.inputs.crop}" if self.inputs else SQUARE
        if bool(self.inputs) == self.keeps_aspect:
            return crops
        return f"{crops}, aspect kept" if self.keeps_aspect else f"{crops}, square at inference"

    @property
    def pixels_seen(self) -> float:
        """How many times its own pixels go through the network for a photo at inference."""
        return 1.0


class RefinerInputs(PhotoInputs):
    """What the options of a refiner begin with that trains a backbone along where `inputs` asks for crops.

    Without them it learns on features of the suite's frozen backbone, whatever the training mode is.
    """

    @model_validator(mode="after")
    def _keeps_aspect_by_its_own_backbone(self) -> RefinerInputs:
        if self.aspect == "kept" and self.inputs is None:
            raise ValueError("inputs beside aspect: kept, since the features of a frozen backbone are of squares")
        return self
