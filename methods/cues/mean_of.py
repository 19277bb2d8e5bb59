"""The plain mean of several cues: the floor of whatever fuses them more cleverly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from methods.base import Cost, Photos, Saliency, Surroundings
from methods.fusing import FusingCue, FusingOptions, mean_map


class MeanOf(FusingCue):
    """Each pixel's mean over the cues, rounded to a grey level."""

    options_model = FusingOptions
    computes = False
    apply_cost = Cost(0.005, power=0)

    def apply(self, photos: Photos, surroundings: Surroundings) -> Iterator[Saliency]:
        """One saliency map a photo, uint8 at photo size, in the order of `photos`."""
        for photo in photos:
            maps = surroundings.cues(photo.id)
            saliency_HW: Saliency = mean_map(f"photo '{photo.id}'", maps, maps[0].shape).round().astype(np.uint8)
            yield saliency_HW
