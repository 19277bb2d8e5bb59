"""Pseudo labels by a background score beside the maps: a constant, or a power of what the maps leave."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from methods.base import Labeler, LocalizationMaps, Saliency
from methods.upsampling import upsample
from settings.options import Options
from settings.records import Mask, Photo


class ThresholdOptions(Options):
    """The background score: `threshold` (rule constant) or (1 − max map)^`alpha` (rule power)."""

    rule: Literal["constant", "power"] = "constant"
    threshold: float = Field(0.3, ge=0, lt=1, multiple_of=0.01, description="a step of the threshold sweep")
    alpha: float = Field(4.0, gt=0, le=100)


class Threshold(Labeler):
    """argmax over [background score, maps] at photo size; ties go to the background, then to the lower class."""

    options_model = ThresholdOptions
    options: ThresholdOptions
    chosen_option = "threshold"

    @property
    def declared_threshold(self) -> float | None:
        """The option, under the constant rule."""
        return self.options.threshold if self.options.rule == "constant" else None

    def label(self, photo: Photo, maps: LocalizationMaps | None, cue_HW: Saliency | None = None) -> Mask:
        """uint8 (H, W) without undecided pixels; a photo without labels is all background."""
        assert maps is not None
        if not maps.class_ids:
            return np.zeros(maps.image_size, np.uint8)
        maps_CHW = upsample(maps)
        score_HW = maps_CHW.max(0)
        winner_HW = np.array(maps.class_ids, np.uint8)[maps_CHW.argmax(0)] + np.uint8(1)
        return np.where(score_HW > self._background(score_HW), winner_HW, np.uint8(0))

    def _background(self, score_HW: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> object:
        if self.options.rule == "constant":
            return np.float32(self.options.threshold)
        return (1 - score_HW) ** np.float32(self.options.alpha)
