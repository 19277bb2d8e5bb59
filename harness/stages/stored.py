"""What earlier stages stored of photos, by photo id: maps and masks of several shards."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.store.layout import MapFiles, MaskFiles
from methods.base import LocalizationMaps, Saliency
from settings.masks import read_mask
from settings.records import Mask
from settings.saliency import read_saliency

__all__ = ["StoredMaps", "StoredMasks", "maps_of_photos"]


class StoredMaps:
    """Localization maps of several shards by photo id; a photo's are read when they are asked for."""

    def __init__(self, shards: Iterable[MapFiles]) -> None:
        from methods.localization import MapShard

        self._shard_of: dict[str, MapShard] = {}
        for files in shards:
            shard = MapShard(files.maps)
            self._shard_of |= dict.fromkeys(shard.ids, shard)

    def __contains__(self, photo_id: str) -> bool:
        return photo_id in self._shard_of

    def of(self, photo_id: str) -> LocalizationMaps:
        """The photo's localization maps at network resolution; KeyError where no shard has them."""
        return self._shard_of[photo_id].of(photo_id)


class StoredMasks:
    """Masks, or saliency maps, of several shards by photo id; each is read from its PNG when it is asked for."""

    def __init__(self, shards: Iterable[MaskFiles]) -> None:
        self._paths: dict[str, Path] = {}
        for files in shards:
            self._paths |= files.by_photo()

    def __contains__(self, photo_id: str) -> bool:
        return photo_id in self._paths

    def mask(self, photo_id: str) -> Mask:
        """The photo's mask, uint8 (H, W); KeyError where no shard has it."""
        return read_mask(self._paths[photo_id])

    def saliency(self, photo_id: str) -> Saliency | None:
        """The photo's saliency map, uint8 (H, W); None where no shard has it."""
        if photo_id not in self._paths:
            return None
        return self.saliency_of(photo_id)

    def saliency_of(self, photo_id: str) -> Saliency:
        """The photo's saliency map, uint8 (H, W); KeyError where no shard has it."""
        return read_saliency(self._paths[photo_id])


def maps_of_photos(shards: Iterable[MapFiles], ids: Iterable[str]) -> dict[str, LocalizationMaps]:
    """The maps of these photos by id, from shards that hold more; photos without maps are left out."""
    stored = StoredMaps(shards)
    return {photo_id: stored.of(photo_id) for photo_id in ids if photo_id in stored}
