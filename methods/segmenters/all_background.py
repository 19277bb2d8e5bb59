"""The floor of every leaderboard, as a segmentation: background everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from methods.base import Segmenter, Surroundings
from settings.records import Mask, Photo


class AllBackgroundSegmenter(Segmenter):
    """Predicts background for every pixel; learns nothing."""

    def apply(self, photos: Sequence[Photo], surroundings: Surroundings) -> Iterator[Mask]:
        """Zeros at photo size."""
        return (np.zeros(photo.image().shape[:2], np.uint8) for photo in photos)
