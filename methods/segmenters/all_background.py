"""The floor of every leaderboard, as a segmentation: background everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from methods.base import BackboneOptions, FeatureBank, Fit, PseudoLabelled, Segmenter, StageContext
from settings.records import LabelSpace, Mask, Photo

if TYPE_CHECKING:
    from methods.base import Weights


class AllBackgroundSegmenter(Segmenter):
    """Predicts background for every pixel; learns nothing."""

    trained = False

    def fit(
        self, data: PseudoLabelled, bank: FeatureBank | None, backbone: BackboneOptions, context: StageContext
    ) -> Fit:
        """There is nothing to fit."""
        return Fit({}, ())

    def apply(
        self,
        photos: Sequence[Photo],
        label_space: LabelSpace,
        weights: Weights,
        bank: FeatureBank,
        backbone: BackboneOptions,
        context: StageContext,
    ) -> Iterator[Mask]:
        """Zeros at photo size."""
        return (np.zeros(photo.image().shape[:2], np.uint8) for photo in photos)
