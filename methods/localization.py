"""How localization maps are stored: one safetensors file a shard, its header as JSON beside the tensors."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from methods.base import LocalizationMaps
from settings.errors import UserError

FORMAT = "seedbed-localization-maps/1"


def write_maps(path: Path, records: Iterable[LocalizationMaps]) -> None:
    """Write the records of one shard; maps must be finite and in [0, 1], a photo's given once (ValueError names it)."""
    tensors, header = {}, []
    for record in records:
        _check(record)
        if record.photo_id in tensors:
            raise ValueError(f"{record.photo_id}: maps twice")
        tensors[record.photo_id] = np.ascontiguousarray(record.maps_CHW, np.float32)
        header.append(
            {
                "id": record.photo_id,
                "class_ids": list(record.class_ids),
                "image_size": list(record.image_size),
                "upsampling": record.upsampling,
            }
        )
    save_file(tensors, path, {"format": FORMAT, "value_range": "[0, 1]", "photos": json.dumps(header)})


def read_maps(path: Path) -> list[LocalizationMaps]:
    """The records of one shard, in the order they were written; raises UserError for another format."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            header = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise UserError(path, f"no readable maps ({error})", FORMAT) from None
    if header.get("format") != FORMAT:
        raise UserError(path, f"format {header.get('format')!r}", FORMAT)
    tensors = load_file(path)
    return [
        LocalizationMaps(
            photo["id"],
            tuple(photo["class_ids"]),
            tensors[photo["id"]],
            tuple(photo["image_size"]),
            photo["upsampling"],
        )
        for photo in json.loads(header["photos"])
    ]


def _check(record: LocalizationMaps) -> None:
    maps = record.maps_CHW
    if maps.ndim != 3 or maps.shape[0] != len(record.class_ids):
        raise ValueError(f"{record.photo_id}: maps of shape {maps.shape} for {len(record.class_ids)} classes")
    if not np.isfinite(maps).all() or (maps.size and (maps.min() < 0 or maps.max() > 1)):
        raise ValueError(f"{record.photo_id}: maps outside [0, 1] or not finite")
