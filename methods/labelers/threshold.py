"""Pseudo labels by a background score beside the maps: a constant, or a power of what the maps leave."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from methods.base import Labeler, LocalizationMaps, Saliency
from methods.upsampling import upsample, upsample_background
from settings.options import Options
from settings.records import Mask, Photo


class ThresholdOptions(Options):
    """The background score beside the maps.

    Rule constant: `threshold`; power: (1 − max map)^`alpha`; maps: the background map that the localizer or refiner
    made; cue: what a cue leaves, 1 − saliency / 255.
    """

    rule: Literal["constant", "power", "maps", "cue"] | None = Field(
        None, description="by default maps, where there is a background map and no threshold is given; else constant"
    )
    threshold: float = Field(0.3, ge=0, lt=1, multiple_of=0.01, description="a step of the threshold sweep")
    alpha: float = Field(4.0, gt=0, le=100)


class Threshold(Labeler):
    """argmax over [background score, maps] at photo size; ties go to the background, then to the lower class."""

    options_model: ClassVar[type[Options]] = ThresholdOptions
    options: ThresholdOptions
    chosen_option = "threshold"

    def reading(self, has_background: bool) -> Threshold:
        """The labeler with its rule decided: what a random walk made of the background is read, as its paper does."""
        if self.options.rule is not None:
            return self
        is_declared = "threshold" in self.options.model_fields_set
        rule = "maps" if has_background and not is_declared else "constant"
        return type(self)(self.options.model_copy(update={"rule": rule}))

    @property
    def needs_cue(self) -> bool:
        """Whether the background score is what a cue leaves (rule `cue`)."""
        return self.options.rule == "cue"

    @property
    def needs_background(self) -> bool:
        """Whether the background score is the map that comes beside the maps (rule `maps`)."""
        return self.options.rule == "maps"

    @property
    def declared_threshold(self) -> float | None:
        """The option, under the constant rule."""
        return self.options.threshold if self.options.rule in ("constant", None) else None

    def with_threshold(self, threshold: float) -> Threshold:
        """The rule constant, at the threshold that a policy chose."""
        return type(self)(self.options.model_copy(update={"rule": "constant", "threshold": threshold}))

    def label(self, photo: Photo, maps: LocalizationMaps | None, cue_HW: Saliency | None = None) -> Mask:
        """uint8 (H, W) without undecided pixels; a photo without labels is all background."""
        assert maps is not None
        if not maps.class_ids:
            return np.zeros(maps.image_size, np.uint8)
        maps_CHW = upsample(maps)
        score_HW = maps_CHW.max(0)
        winner_HW = np.array(maps.class_ids, np.uint8)[maps_CHW.argmax(0)] + np.uint8(1)
        return np.where(score_HW > self._background(score_HW, maps, cue_HW), winner_HW, np.uint8(0))

    def _background(
        self, score_HW: NDArray[np.float32], maps: LocalizationMaps, cue_HW: Saliency | None
    ) -> NDArray[np.float32] | np.float32:
        if self.options.rule == "maps":
            return upsample_background(maps)
        if self.options.rule == "cue":
            assert cue_HW is not None
            return np.float32(1) - cue_HW.astype(np.float32) / np.float32(255)
        if self.options.rule == "power":
            background_HW: NDArray[np.float32] = (1 - score_HW) ** np.float32(self.options.alpha)
            return background_HW
        return np.float32(self.options.threshold)
