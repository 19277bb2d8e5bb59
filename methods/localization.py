"""How localization maps are stored: one safetensors file a shard, its header as JSON beside the tensors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from methods.base import LocalizationMaps
from methods.npz import MAX_VALUES
from settings.errors import UserError

FORMAT = "seedbed-localization-maps/1"


def write_maps(path: Path, records: Iterable[LocalizationMaps]) -> None:
    """Write the records of one shard; maps must be finite and in [0, 1], a photo's given once (ValueError names it)."""
    tensors, header = {}, []
    for record in records:
        check_record(record)
        if record.photo_id in tensors:
            raise ValueError(f"{record.photo_id}: maps twice")
        tensors[record.photo_id] = np.ascontiguousarray(record.maps_CHW, np.float32)
        if record.background_HW is not None:
            tensors[_background(record.photo_id)] = np.ascontiguousarray(record.background_HW, np.float32)
        header.append(
            {
                "id": record.photo_id,
                "class_ids": list(record.class_ids),
                "image_size": list(record.image_size),
                "upsampling": record.upsampling,
            }
        )
    entries = {"format": FORMAT, "value_range": "[0, 1]", "photos": json.dumps(header)}
    path.write_bytes(_in_order(save(tensors, entries)))


def _in_order(content: bytes) -> bytes:
    """A safetensors file with its header's entries sorted: the library has those beside tensors in random order."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    # Tensors begin at a multiple of 8 bytes; where each lies is counted from there.
    text = text.ljust(-(-len(text) // 8) * 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


class MapShard:
    """The records of one shard, of which each photo's maps are read when they are asked for.

    Raises UserError for another format, and for maps of other sizes or types than those of the records, or of more than
    MAX_VALUES values: before any of them is read.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = _opened(path)
            header = self._file.metadata() or {}
            if header.get("format") != FORMAT:
                raise UserError(path, f"format {header.get('format')!r}", FORMAT)
            self._photos: dict[str, dict[str, Any]] = {photo["id"]: photo for photo in json.loads(header["photos"])}
            self._names = frozenset(self._file.keys())
            for photo_id in self._photos:
                self._check(path, photo_id)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise UserError(path, f"no readable maps ({error})", FORMAT) from None

    @property
    def ids(self) -> tuple[str, ...]:
        """The photos, in the order they were written."""
        return tuple(self._photos)

    def __iter__(self) -> Iterator[LocalizationMaps]:
        """The records, in that order."""
        return map(self.of, self._photos)

    def of(self, photo_id: str) -> LocalizationMaps:
        """The record of one photo; raises KeyError where the shard has none of it."""
        photo, background = self._photos[photo_id], _background(photo_id)
        return LocalizationMaps(
            photo_id,
            tuple(photo["class_ids"]),
            self._file.get_tensor(photo_id),
            tuple(photo["image_size"]),
            photo["upsampling"],
            self._file.get_tensor(background) if background in self._names else None,
        )

    def _check(self, path: Path, photo_id: str) -> None:
        """Raise UserError where a photo's maps are not there, or not such as its record says."""
        if photo_id not in self._names:
            raise UserError(path, f"no maps of {photo_id}", FORMAT)
        classes, background = len(self._photos[photo_id]["class_ids"]), _background(photo_id)
        type_, shape = self._declared(photo_id)
        fits = type_ == "F32" and len(shape) == 3 and shape[0] == classes
        if background in self._names:
            fits = fits and self._declared(background) == ("F32", shape[1:])
        if not fits:
            found = f"{photo_id}: maps of type {type_} and shape {tuple(shape)}, or a background of another one"
            raise UserError(path, found, f"{classes} maps of 32 bits a value")
        if prod(shape) > MAX_VALUES:
            raise UserError(path, f"{photo_id}: maps of shape {tuple(shape)}", f"at most {MAX_VALUES} values a photo")

    def _declared(self, name: str) -> _Declared:
        tensor = self._file.get_slice(name)
        return _Declared(tensor.get_dtype(), tensor.get_shape())


# Any: the methods of what safetensors opens have no types.
def _opened(path: Path) -> Any:
    return safe_open(path, framework="np")


class _Declared(NamedTuple):
    """What a shard's header says of a tensor."""

    type: str
    shape: list[int]


def read_maps(path: Path) -> list[LocalizationMaps]:
    """All records of one shard, in the order they were written; raises what `MapShard` raises."""
    return list(MapShard(path))


def _background(photo_id: str) -> str:
    """The name of a photo's background map; no id has a space."""
    return f"background of {photo_id}"


def check_record(record: LocalizationMaps) -> None:
    """Raise ValueError, naming the photo, for maps of another shape than the record says, or outside [0, 1]."""
    maps, background = record.maps_CHW, record.background_HW
    if background is not None and (
        background.shape != maps.shape[1:] or not ((background >= 0) & (background <= 1)).all()
    ):
        raise ValueError(f"{record.photo_id}: a background map of another shape than the maps, or outside [0, 1]")
    if maps.ndim != 3 or maps.shape[0] != len(record.class_ids):
        raise ValueError(f"{record.photo_id}: maps of shape {maps.shape} for {len(record.class_ids)} classes")
    if maps.size > MAX_VALUES:
        raise ValueError(f"{record.photo_id}: maps of shape {maps.shape}, more than {MAX_VALUES} values")
    if not np.isfinite(maps).all() or (maps.size and (maps.min() < 0 or maps.max() > 1)):
        raise ValueError(f"{record.photo_id}: maps outside [0, 1] or not finite")
