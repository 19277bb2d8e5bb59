"""The floor of every leaderboard, as a segmentation: background everywhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from methods.base import Photos, Segmenter, Surroundings
from settings.records import Mask


class AllBackgroundSegmenter(Segmenter):
    """Predicts background for every pixel; learns nothing."""

    def apply(self, photos: Photos, surroundings: Surroundings) -> Iterator[Mask]:
        """Zeros at photo size, uint8 (H, W), one mask a photo."""
        return (np.zeros(photo.image().shape[:2], np.uint8) for photo in photos)
