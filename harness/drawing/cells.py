"""Columns of a sheet: a name and a function that draws one cell. A further kind of picture is a further column."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

import numpy as np

from harness.drawing.overlays import map_of_class, with_maps, with_mask
from harness.store.store import Artefact
from methods.base import LocalizationMaps
from settings.records import Image, Mask


class Cell(NamedTuple):
    """One picture, and the mask values in it that the legend must name."""

    image: Image
    values: frozenset[int] = frozenset()


class Column(NamedTuple):
    """What one column shows of a photo, over its (reduced) picture; None leaves a cell empty."""

    head: str
    draw: Callable[[str, Image], Cell | None]
    is_map: bool = False


def maps_column(head: str, find: Callable[[str], LocalizationMaps | None], class_id: int | None = None) -> Column:
    """Localization maps by photo id: the strongest of each place, or the map of one class."""

    def cell(photo_id: str, image_HWC: Image) -> Cell | None:
        maps = find(photo_id)
        if maps is not None and class_id is not None:
            maps = map_of_class(maps, class_id)
        return None if maps is None else Cell(with_maps(image_HWC, maps))

    return Column(head, cell, is_map=True)


def masks_column(head: str, find: Callable[[str], Mask | None]) -> Column:
    """Masks by photo id: pseudo labels, predictions, truth."""

    def cell(photo_id: str, image_HWC: Image) -> Cell | None:
        mask_HW = find(photo_id)
        if mask_HW is None:
            return None
        return Cell(with_mask(image_HWC, mask_HW), frozenset(np.unique(mask_HW).tolist()) - {0})

    return Column(head, cell)


def stored_maps(shards: Iterable[Artefact], ids: Collection[str]) -> dict[str, LocalizationMaps]:
    """The maps of these photos, from shards that hold more."""
    from methods.localization import read_maps

    records = (record for shard in shards for record in read_maps(shard.path("maps.safetensors")))
    return {record.photo_id: record for record in records if record.photo_id in ids}
