"""No refinement: for grids over refiners, where one of them is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from methods.base import LocalizationMaps, Refiner, Surroundings
from settings.records import Photo


class NoRefiner(Refiner):
    """The maps as they are."""

    def apply(
        self, photos: Sequence[Photo], maps: Callable[[str], LocalizationMaps], surroundings: Surroundings
    ) -> Iterator[LocalizationMaps]:
        """Unchanged."""
        return (maps(photo.id) for photo in photos)
