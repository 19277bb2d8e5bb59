"""How localization maps are stored: one safetensors file a shard, its header as JSON beside the tensors."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save

from methods.base import LocalizationMaps
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


def ids_of(path: Path) -> list[str]:
    """The photos of one shard, in the order they were written; the maps themselves are not read."""
    return [photo["id"] for photo in _photos(path)]


def _photos(path: Path) -> list[dict[str, Any]]:
    """The header's records; raises UserError for another format."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            header = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise UserError(path, f"no readable maps ({error})", FORMAT) from None
    if header.get("format") != FORMAT:
        raise UserError(path, f"format {header.get('format')!r}", FORMAT)
    photos: list[dict[str, Any]] = json.loads(header["photos"])
    return photos


def read_maps(path: Path) -> list[LocalizationMaps]:
    """The records of one shard, in the order they were written; raises UserError for another format."""
    photos = _photos(path)
    tensors = load_file(path)
    return [
        LocalizationMaps(
            photo["id"],
            tuple(photo["class_ids"]),
            tensors[photo["id"]],
            tuple(photo["image_size"]),
            photo["upsampling"],
            tensors.get(_background(photo["id"])),
        )
        for photo in photos
    ]


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
    if not np.isfinite(maps).all() or (maps.size and (maps.min() < 0 or maps.max() > 1)):
        raise ValueError(f"{record.photo_id}: maps outside [0, 1] or not finite")
