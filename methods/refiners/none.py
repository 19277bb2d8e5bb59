"""The refiner `none`: maps pass through unchanged, a control that has the stages of every other refiner."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from methods.base import FeatureBank, LocalizationMaps, Refiner, StageContext
from settings.records import Photo

if TYPE_CHECKING:
    from methods.base import Weights


class NoRefiner(Refiner):
    """The maps as they are."""

    def apply(
        self,
        photos: Sequence[Photo],
        maps: Callable[[str], LocalizationMaps],
        weights: Weights,
        bank: FeatureBank,
        context: StageContext,
    ) -> Iterator[LocalizationMaps]:
        """Unchanged."""
        return (maps(photo.id) for photo in photos)
