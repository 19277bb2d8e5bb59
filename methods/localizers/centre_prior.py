"""A floor: one centred ellipse for each label, whatever the photo shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from methods.base import LocalizationMaps, Localizer, MapRecords, Photos, Surroundings
from settings.options import Options

GRID = 64


class CentrePriorOptions(Options):
    """How large objects are taken to be."""

    share: float = Field(0.5, gt=0, le=1, description="the ellipse's axes, in the photo's sides, where the map is ½")


class CentrePrior(Localizer):
    """Maps that fall off from the centre, 1 − ½ (distance / axis)², the same for every label."""

    options_model = CentrePriorOptions
    options: CentrePriorOptions
    features = ()

    def apply(self, photos: Photos, surroundings: Surroundings) -> MapRecords:
        """One and the same map for each label, (C, 64, 64); the photo is read for its size alone."""
        map_HW = self._map()
        for photo in photos:
            height, width = photo.image().shape[:2]
            maps_CHW = np.repeat(map_HW[None], len(photo.labels), 0)
            yield LocalizationMaps(photo.id, photo.labels, maps_CHW, (height, width))

    def _map(self) -> NDArray[np.float32]:
        places = (np.arange(GRID) + 0.5) / GRID - 0.5
        axis = self.options.share / 2
        squares_HW = (places[:, None] / axis) ** 2 + (places[None] / axis) ** 2
        map_HW: NDArray[np.float32] = (1 - squares_HW / 2).clip(0, 1).astype(np.float32)
        return map_HW
