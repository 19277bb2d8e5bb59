"""No refinement: for grids over refiners, where one of them is none."""

from __future__ import annotations

from collections.abc import Callable

from methods.base import LocalizationMaps, MapRecords, Photos, Refiner, Surroundings


class NoRefiner(Refiner):
    """The maps as they are."""

    def apply(self, photos: Photos, maps: Callable[[str], LocalizationMaps], surroundings: Surroundings) -> MapRecords:
        """Unchanged."""
        return (maps(photo.id) for photo in photos)
