"""The refiner `none`: maps pass through unchanged, a control that has the stages of every other refiner."""

from __future__ import annotations

from collections.abc import Callable

from methods.base import LocalizationMaps, MapRecords, Photos, Refiner, Surroundings


class NoRefiner(Refiner):
    """The maps as they are."""

    def apply(self, photos: Photos, maps: Callable[[str], LocalizationMaps], surroundings: Surroundings) -> MapRecords:
        """Unchanged."""
        return (maps(photo.id) for photo in photos)
