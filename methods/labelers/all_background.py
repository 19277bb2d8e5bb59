"""The floor of every leaderboard, as pseudo labels: background everywhere."""

from __future__ import annotations

import numpy as np

from methods.base import Labeler, LocalizationMaps, Saliency
from settings.records import Mask, Photo


class AllBackgroundLabeler(Labeler):
    """Predicts background for every pixel."""

    needs_maps = False

    def label(self, photo: Photo, maps: LocalizationMaps | None, cue_HW: Saliency | None = None) -> Mask:
        """Zeros at photo size, uint8 (H, W)."""
        return np.zeros(photo.image().shape[:2], np.uint8)
