"""The refiner that changes nothing, for a recipe that has to name one."""

from __future__ import annotations

from collections.abc import Callable

from methods.base import LocalizationMaps, MapRecords, Photos, Refiner, Surroundings


class NoRefiner(Refiner):
    """The maps as they are."""

    def apply(self, photos: Photos, maps: Callable[[str], LocalizationMaps], surroundings: Surroundings) -> MapRecords:
        """The records that `maps` gives, one a photo."""
        return (maps(photo.id) for photo in photos)
