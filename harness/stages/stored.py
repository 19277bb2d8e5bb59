"""What earlier stages stored of photos, by photo id: maps and masks of several shards."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from harness.store.layout import MapFiles, MaskFiles, PairFiles
from methods.base import LocalizationMaps, Saliency
from settings.images import read_photo
from settings.masks import read_mask
from settings.records import Mask, Photo
from settings.saliency import read_saliency

__all__ = ["StoredMaps", "StoredMasks", "StoredPairs", "drawn_photo", "maps_of_photos"]


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


def drawn_photo(path: Path) -> Photo:
    """The drawn photo of a PNG, whether it is there or yet to be written; no photo of a data set has such an id."""
    return Photo(f"~drawn/{path.stem}", (), path.stem, partial(read_photo, path), "drawn", file=path)


class StoredPairs:
    """Drawn photos, and the pseudo label of each by the photo's id."""

    def __init__(self, artefacts: Iterable[PairFiles]) -> None:
        self.photos: tuple[Photo, ...] = ()
        self._masks: dict[str, Path] = {}
        for files in artefacts:
            for _, path in sorted(files.masks.by_photo().items()):
                photo = drawn_photo(files.photos / path.name)
                self.photos += (photo,)
                self._masks[photo.id] = path

    def __contains__(self, photo_id: str) -> bool:
        return photo_id in self._masks

    def mask(self, photo_id: str) -> Mask:
        """The pseudo label of a drawn photo, uint8 (H, W); KeyError for any other."""
        return read_mask(self._masks[photo_id])


def maps_of_photos(shards: Iterable[MapFiles], ids: Iterable[str]) -> dict[str, LocalizationMaps]:
    """The maps of these photos by id, from shards that hold more; photos without maps are left out."""
    stored = StoredMaps(shards)
    return {photo_id: stored.of(photo_id) for photo_id in ids if photo_id in stored}
