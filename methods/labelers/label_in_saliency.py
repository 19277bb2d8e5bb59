"""What saliency alone gives: the photo's label painted over the whole salient region, the floor beside every row that
uses a saliency cue."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from methods.base import Labeler, LocalizationMaps, Saliency
from settings.options import Options
from settings.records import UNKNOWN, Mask, Photo


class LabelInSaliencyOptions(Options):
    """Where saliency begins, and what a photo with several labels gets."""

    threshold: int = Field(128, ge=1, le=255, description="saliency from which a pixel is an object's")
    several: Literal["first", "unknown"] = Field("first", description="the label of lowest class id, or 255")


class LabelInSaliency(Labeler):
    """One label for the whole saliency mask, background elsewhere; it looks at no map."""

    options_model = LabelInSaliencyOptions
    options: LabelInSaliencyOptions
    needs_maps = False

    @property
    def needs_cue(self) -> bool:
        """True: the cue's saliency gives the shape."""
        return True

    @property
    def supervision(self) -> str:
        """`I`: the photo's labels; what the cue was made with is the cue's to tell."""
        return "I"

    def label(self, photo: Photo, maps: LocalizationMaps | None, cue_HW: Saliency | None = None) -> Mask:
        """uint8 (H, W); a photo without labels is all background."""
        assert cue_HW is not None
        if not photo.labels:
            return np.zeros(cue_HW.shape, np.uint8)
        is_clear = len(photo.labels) == 1 or self.options.several == "first"
        value = np.uint8(photo.labels[0] + 1 if is_clear else UNKNOWN)
        return np.where(cue_HW >= self.options.threshold, value, np.uint8(0))
