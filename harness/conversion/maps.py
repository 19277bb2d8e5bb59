"""`seedbed data import-maps`: a folder of `.npy` dictionaries becomes one of `.npz` for `localizers/folder`.

In such dictionaries the field's programs write the localization maps of a photo:

{"keys": class ids, "cam": …, "high_res": …}          IRN and what grew from it; maps (C, h, w)
{"keys": class ids, "attn_highres": …}                CLIP-ES and what grew from it
{class id: map, …}                                    PSA, SEAM, MCTformer
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from harness.conversion._arrays import Array
from harness.conversion._dictionaries import read_dictionary
from settings.errors import UserError
from settings.files import replaced
from settings.lists import MAX_CLASSES

__all__ = ["Keys", "import_maps"]

Keys: TypeAlias = Literal["classes", "mask-values"]
"""What keys are: 0-based class ids, or values of masks (0 background, which is left out; class id + 1)."""
Watch = Callable[[Sequence[Path]], Iterable[Path]]
ARRAYS: tuple[str, ...] = ("attn_highres", "high_res", "highres", "cam")
"""Names of maps, the one that is taken first where there are several."""
EXPECTED = f"a .npy dictionary with 'keys' and {', '.join(map(repr, ARRAYS))}, or one of maps by class id"
# Values that leave [0, 1] by less are cut off: programs divide by a maximum plus or minus 1e-5, in half precision.
ROUNDING = 1e-3
SAMPLE = 50
"""Files whose keys are looked at before anything is written."""


class Found(NamedTuple):
    """What a file holds: C keys as they are written, before they are read as class ids, and maps (C, h, w)."""

    keys: tuple[int, ...]
    maps_CHW: Array


def import_maps(
    source: Path,
    output: Path,
    array: str | None = None,
    keys: Keys | None = None,
    normalise: bool = False,
    watch: Watch = iter,
) -> str:
    """Write `<output>/<id>.npz` for each `<source>/<id>.npy`, one after the other; says what was done.

    `normalise` divides the positive part of each map by its own maximum, as CAM does. Files of an earlier import are
    replaced, each at once. Raises UserError for what cannot be converted.
    """
    paths = sorted(path for path in source.rglob("*.npy") if not path.is_dir())
    if not paths:
        raise UserError(source, "no .npy file", "a folder of .npy files named by photo id")
    meaning = keys or _meaning(source, paths, array)
    seen: set[int] = set()
    written = 0
    for path in watch(paths):
        found = _find_maps(path, array)
        ids, places = _class_ids(path, found.keys, meaning)
        maps_CHW = _checked(path, found.maps_CHW, normalise)[places]
        _write((output / path.relative_to(source)).with_suffix(".npz"), ids, maps_CHW)
        seen |= set(ids)
        written += len(ids)
    classes = "of no class"
    if seen:
        classes = f"class ids {min(seen)} to {max(seen)}"
    return f"{len(paths)} photos with {written} maps, {classes}, in {output}"


def _meaning(source: Path, paths: Sequence[Path], array: str | None) -> Keys:
    """0-based class ids, as nearly all programs write; raises UserError where they look like values of masks."""
    # Spread over all: the first files in the order of names may be of one class.
    every = -(-len(paths) // SAMPLE)
    for path in paths[::every]:
        keys = _find_maps(path, array).keys
        if len(keys) <= 1 or keys[0] != 0:
            return "classes"
    mend = "--keys mask-values where 0 is the background (it is left out), --keys classes where it is a class"
    raise UserError(source, "key 0 and another one in every file", "0-based class ids", mend)


def _find_maps(path: Path, array: str | None) -> Found:
    """Keys and maps of a file, from the array called `array`, else the first of ARRAYS; raises UserError."""
    content = read_dictionary(path, EXPECTED)
    maps: object
    if "keys" in content:
        keys = _integers(path, content["keys"])
        maps = content[_name(path, content, array)]
    elif array is None and content and all(type(key) is int for key in content):
        keys = tuple(int(key) for key in content)
        maps = _stacked(list(content.values()))
    else:
        raise _odd(path, content)
    if not isinstance(maps, np.ndarray) or maps.ndim != 3 or len(maps) != len(keys) or 0 in maps.shape[1:]:
        found = f"{len(keys)} keys for maps of shape {getattr(maps, 'shape', None)}"
        raise UserError(path, found, "one map (h, w) a key", "a background map without a key must be taken out")
    return Found(keys, maps)


def _class_ids(path: Path, keys: tuple[int, ...], meaning: Keys) -> tuple[tuple[int, ...], list[int]]:
    """Class ids, and the places of their maps; raises UserError for keys that are too large, negative or doubled."""
    shift = int(meaning == "mask-values")
    places = [place for place, key in enumerate(keys) if key != 0 or not shift]
    ids = tuple(keys[place] - shift for place in places)
    if len(set(ids)) < len(ids) or not all(0 <= class_id < MAX_CLASSES for class_id in ids):
        raise UserError(path, f"keys {list(keys)[:20]}", f"different numbers, {meaning} below {MAX_CLASSES}")
    return ids, places


def _checked(path: Path, maps_CHW: Array, normalise: bool) -> Array:
    """The maps in [0, 1], 8 bits and half precision kept as they are; raises UserError for other values."""
    if maps_CHW.dtype == np.uint8:
        return maps_CHW
    # A photo without labels has no maps, of whatever type.
    if not maps_CHW.size:
        return np.zeros(maps_CHW.shape, np.float32)
    if maps_CHW.dtype.kind != "f" or not np.isfinite(maps_CHW).all():
        raise UserError(path, f"maps of type {maps_CHW.dtype}, or not finite", "finite numbers in [0, 1]")
    if normalise:
        positive_CHW = maps_CHW.astype(np.float32).clip(min=0)
        positive_CHW /= np.maximum(positive_CHW.max((1, 2), keepdims=True), np.float32(1e-8))
        return positive_CHW
    low, high = float(maps_CHW.min()), float(maps_CHW.max())
    if low < -ROUNDING or high > 1 + ROUNDING:
        mend = "--normalise divides the positive part of each map by its own maximum"
        raise UserError(path, f"values from {low:g} to {high:g}", "values in [0, 1]", mend)
    # 64 bits tell no more of a map, and take twice the disk.
    clipped_CHW = maps_CHW.clip(0, 1)
    if maps_CHW.dtype.itemsize == 2:
        return clipped_CHW.astype(np.float16)
    return clipped_CHW.astype(np.float32)


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
        keys = keys.tolist()
    # What is nested is never looked into: it may name itself many times over.
    if type(keys) is not list or any(type(key) is not int for key in keys):
        raise UserError(path, f"'keys' of type {type(keys).__name__}", "a list of whole numbers")
    return tuple(keys)


def _write(path: Path, ids: tuple[int, ...], maps_CHW: Array) -> None:
    # In one step: a run that reads the folder meanwhile, or after a kill, finds whole files alone.
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # As an open file: by name, numpy would add another suffix.
        with replaced(path) as partial, partial.open("wb") as file:
            np.savez(file, keys=np.array(ids, np.int64), maps=maps_CHW)
    except OSError as error:
        raise UserError(path, f"a file that cannot be written ({error.strerror})", "a writable folder") from None
