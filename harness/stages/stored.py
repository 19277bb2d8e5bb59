"""What earlier stages stored of photos, by photo id: maps and masks of several shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.store.store import Artefact
from methods.base import LocalizationMaps, Saliency
from settings.masks import read_mask
from settings.records import Mask
from settings.saliency import read_saliency


class MapShards:
    """Localization maps of several shards by photo id; a shard is read when one of its photos is first asked for."""

    def __init__(self, artefacts: Sequence[Artefact]) -> None:
        from methods.localization import ids_of

        self._paths = [artefact.path("maps.safetensors") for artefact in artefacts]
        self._place = {photo_id: path for path in self._paths for photo_id in ids_of(path)}
        self._read: dict[Path, dict[str, LocalizationMaps]] = {}

    def __contains__(self, photo_id: str) -> bool:
        return photo_id in self._place

    def of(self, photo_id: str) -> LocalizationMaps:
        """The photo's maps; KeyError where no shard has them."""
        from methods.localization import read_maps

        path = self._place[photo_id]
        if path not in self._read:
            self._read[path] = {record.photo_id: record for record in read_maps(path)}
        return self._read[path][photo_id]


class MaskFolders:
    """Masks of several shards by photo id."""

    def __init__(self, artefacts: Sequence[Artefact]) -> None:
        self._paths = {name: artefact.path(name) for artefact in artefacts for name in artefact.record.files}

    def __contains__(self, photo_id: str) -> bool:
        return f"{photo_id}.png" in self._paths

    def read(self, photo_id: str) -> Mask:
        """uint8 (H, W)."""
        return read_mask(self._paths[f"{photo_id}.png"])

    def saliency(self, photo_id: str) -> Saliency | None:
        """The same of saliency maps; None where there is none."""
        return read_saliency(self._paths[f"{photo_id}.png"]) if photo_id in self else None
