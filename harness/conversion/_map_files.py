"""The files of other programs' localization maps: which belong to a photo, and what one of them holds."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.conversion._arrays import Array
from harness.conversion._dictionaries import read_dictionary
from settings.errors import UserError
from settings.lists import MAX_CLASSES
from settings.photo_ids import photo_stem
from settings.saliency import read_saliency

__all__ = ["Entry", "Found", "find_entries", "find_maps"]

ARRAYS: tuple[str, ...] = ("attn_highres", "high_res", "highres", "hr_cam", "cam")
"""Names of maps, the one that is taken first where there are several."""
EXPECTED = f"a .npy dictionary with 'keys' and {', '.join(map(repr, ARRAYS))}, or one of maps by class id"
NUMBERED = re.compile(r"(.+)_([0-9]{1,3})")


class Entry(NamedTuple):
    """The files of one photo: a dictionary, or a PNG a class. `place` is where they lie in the source, as <id>."""

    place: Path
    files: tuple[Path, ...]


class Found(NamedTuple):
    """What the files hold: C keys as they are written, before they are read as class ids, and maps (C, h, w)."""

    keys: tuple[int, ...]
    maps_CHW: Array
    array: str = ""
    # Whether a further key 0 came first, of a background without a map.
    is_padded: bool = False


def find_entries(source: Path) -> list[Entry]:
    """The photos of a folder: its `<id>.npy` files, else its `<id>_<class>.png`; raises UserError for neither.

    A photo's extension in the name, as in `x.jpg.npy`, is left out.
    """
    dictionaries = sorted(path for path in source.rglob("*.npy") if not path.is_dir())
    grouped: dict[Path, list[Path]] = defaultdict(list)
    for path in dictionaries:
        grouped[path.relative_to(source).with_name(photo_stem(path.stem))].append(path)
    if twice := [files for files in grouped.values() if len(files) > 1]:
        raise UserError(source, " and ".join(path.name for path in twice[0]), "one .npy file a photo")
    if not dictionaries:
        for path in sorted(source.rglob("*.png")):
            if match := NUMBERED.fullmatch(path.stem):
                grouped[path.relative_to(source).with_name(photo_stem(match[1]))].append(path)
    if not grouped:
        expected = "a folder of .npy files named by photo id, or of <id>_<class number>.png"
        raise UserError(source, "no .npy file", expected)
    return [Entry(place, tuple(files)) for place, files in sorted(grouped.items())]


def find_maps(entry: Entry, array: str | None) -> Found:
    """Keys and maps of a photo, from the array called `array`, else the first of ARRAYS; raises UserError."""
    path = entry.files[0]
    if path.suffix.lower() == ".png":
        return _of_pngs(entry)
    content = read_dictionary(path, EXPECTED)
    if not content:
        return Found((), np.zeros((0, 1, 1), np.float32))
    maps: object
    name = ""
    if "keys" in content:
        keys = _integers(path, content["keys"])
        name = _name(path, content, array)
        maps = content[name]
    elif array is None and all(type(key) is int for key in content):
        keys = tuple(int(key) for key in content)
        maps = _stacked(list(content.values()))
    else:
        raise _odd(path, content)
    if not isinstance(maps, np.ndarray):
        raise _other_shape(path, keys, None)
    if not keys and not maps.size and maps.ndim != 3:
        maps = np.zeros((0, 1, 1), np.float32)
    # Of the background there are programs that write a key and no map.
    is_padded = maps.shape[:1] == (len(keys) - 1,) and keys[0] == 0
    if is_padded:
        keys = keys[1:]
    if maps.ndim != 3 or len(maps) != len(keys) or 0 in maps.shape[1:]:
        raise _other_shape(path, keys, maps.shape)
    return Found(keys, maps, name, is_padded)


def _of_pngs(entry: Entry) -> Found:
    numbers, maps = [], []
    for path in entry.files:
        numbers.append(int(path.stem.rpartition("_")[2]))
        maps.append(read_saliency(path))
        if maps[-1].shape != maps[0].shape:
            found = f"{maps[-1].shape[1]}×{maps[-1].shape[0]} pixels"
            raise UserError(path, found, f"{maps[0].shape[1]}×{maps[0].shape[0]}, as the photo's other maps")
    return Found(tuple(numbers), np.stack(maps), "PNG")


def _other_shape(path: Path, keys: tuple[int, ...], shape: tuple[int, ...] | None) -> UserError:
    mend = "a background map without a key must be taken out"
    if shape and len(keys) > shape[0]:
        mend = "keys without a map must be taken out"
    return UserError(path, f"{len(keys)} keys for maps of shape {shape}", "one map (h, w) a key", mend)


def _name(path: Path, content: Mapping[str | int, object], array: str | None) -> str:
    names = ARRAYS
    if array is not None:
        names = (array,)
    for name in names:
        if name in content:
            return name
    raise _odd(path, content)


def _odd(path: Path, content: Mapping[str | int, object]) -> UserError:
    # As ASCII and in part: a hostile file may hold control characters, and names without end.
    names = ", ".join(ascii(key) for key in list(content)[:10])
    return UserError(path, f"a dictionary of {names[:200] or 'nothing'}", EXPECTED, "name the maps by --array")


def _stacked(maps: list[object]) -> Array | None:
    """Maps of one size as one array; None where sizes differ, or something else lies among them."""
    arrays = [map_HW for map_HW in maps if isinstance(map_HW, np.ndarray)]
    if len(arrays) < len(maps) or len({map_HW.shape for map_HW in arrays}) > 1:
        return None
    return np.stack(arrays)


def _integers(path: Path, keys: object) -> tuple[int, ...]:
    if isinstance(keys, np.ndarray) and keys.ndim == 1 and (keys.dtype.kind in "iu" or not keys.size):
        # One more for the background; as Python's numbers, they take forty times as much memory.
        if keys.size > MAX_CLASSES + 1:
            raise UserError(path, f"{keys.size} keys", f"at most {MAX_CLASSES + 1}")
        keys = keys.tolist()
    # What is nested is never looked into: it may name itself many times over.
    if type(keys) is not list or any(type(key) is not int for key in keys):
        raise UserError(path, f"'keys' of type {type(keys).__name__}", "a list of whole numbers")
    return tuple(keys)
