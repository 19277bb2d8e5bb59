"""`seedbed data import-maps`: a folder of maps as the field's programs write them becomes one for `localizers/folder`.

{"keys": class ids, "cam": …, "high_res": …}          IRN and what grew from it; maps (C, h, w)
{"keys": class ids, "attn_highres": …}                CLIP-ES and what grew from it
{"keys": [0, class ids + 1], "hr_cam": …}             programs that pad keys by the background, which has no map
{class id: map, …}                                    PSA, SEAM, MCTformer; {} for a photo without objects
{0: background, class id + 1: map, …}                 what a CRF made of them
<id>_<class id>.png                                   OAA, SeeNet, MCIS: attention maps in grey
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from harness.conversion._arrays import Array
from harness.conversion._map_files import Entry, find_entries, find_maps
from settings.errors import UserError
from settings.files import replaced
from settings.lists import MAX_CLASSES

__all__ = ["Keys", "MapOptions", "import_maps"]

Keys: TypeAlias = Literal["classes", "mask-values"]
"""What keys are: 0-based class ids, or values of masks (0 background, which is left out; class id + 1)."""
Watch = Callable[[Sequence[Entry]], Iterable[Entry]]
# Values that leave [0, 1] by less are cut off: programs divide by a maximum plus or minus 1e-5, in half precision.
ROUNDING = 1e-3
# By how much the probabilities of all classes may miss 1, in half precision.
SUM_ROUNDING = 0.02


class MapOptions(NamedTuple):
    """What the user settles: which array, what keys are, and how values come into [0, 1]."""

    array: str | None = None
    keys: Keys | None = None
    normalise: bool = False
    divide: float | None = None


def import_maps(source: Path, output: Path, options: MapOptions | None = None, watch: Watch = iter) -> str:
    """Write `<output>/<id>.npz` for each photo of the source, one after the other; says what was done.

    `normalise` divides the positive part of each map by its own maximum, as CAM does; `divide` divides all values by
    one number. Files of an earlier import are replaced, each at once. Raises UserError for what cannot be converted.
    """
    options = options or MapOptions()
    entries = find_entries(source)
    meaning = options.keys or _meaning(source, entries, options.array)
    seen: set[int] = set()
    arrays: Counter[str] = Counter()
    written = 0
    for entry in watch(entries):
        path = entry.files[0]
        found = find_maps(entry, options.array)
        if found.is_padded and meaning == "classes":
            mend = "--keys mask-values drops that key, and takes 1 from the others"
            raise UserError(path, "a key 0 without a map before the others", "a map for each class id", mend)
        ids, places = _class_ids(path, found.keys, meaning)
        maps_CHW = _checked(path, found.maps_CHW, options)[places]
        _write(output / entry.place.with_name(f"{entry.place.name}.npz"), ids, maps_CHW)
        seen |= set(ids)
        written += len(ids)
        arrays[found.array] += bool(found.keys)
    classes = "of no class"
    if seen:
        classes = f"class ids {min(seen)} to {max(seen)}"
    told = _told(arrays, meaning, options)
    return "; ".join([f"{len(entries)} photos with {written} maps, {classes}, in {output}", *told])


def _told(arrays: Mapping[str, int], meaning: Keys, options: MapOptions) -> list[str]:
    """Which array was taken, what keys were read as, and what was divided."""
    taken = " and ".join(sorted(f"'{name}'" if name else "maps by class id" for name in +Counter(arrays)))
    told = [f"taken: {taken}"] if taken else []
    told.append({"classes": "keys are class ids", "mask-values": "keys are class ids + 1, 0 left out"}[meaning])
    if options.divide:
        told.append(f"divided by {options.divide:g}")
    if options.normalise:
        told.append("each map divided by its own maximum")
    return told


def _meaning(source: Path, entries: Sequence[Entry], array: str | None) -> Keys:
    """What keys are, from all files together; raises UserError where they leave it open.

    A photo without key 0 has no background; a key 0 without a map is one; and what adds up to 1 in each pixel has one.
    """
    is_probability, has_only_zero, has_keys = True, False, False
    for entry in entries:
        found = find_maps(entry, array)
        if found.is_padded:
            return "mask-values"
        if not found.keys:
            continue
        if found.keys[0] != 0:
            return "classes"
        has_keys = True
        has_only_zero |= len(found.keys) == 1
        # Whatever the values are: they are checked later.
        with np.errstate(all="ignore"):
            sums_HW = found.maps_CHW.sum(0, dtype=np.float64)
        is_probability &= bool((np.abs(sums_HW - 1) < SUM_ROUNDING).all())
    if has_keys and is_probability:
        return "mask-values"
    if has_only_zero or not has_keys:
        return "classes"
    mend = "--keys mask-values where 0 is the background (it is left out), --keys classes where it is a class"
    raise UserError(source, "key 0 and another one in every file", "0-based class ids", mend)


def _class_ids(path: Path, keys: tuple[int, ...], meaning: Keys) -> tuple[tuple[int, ...], list[int]]:
    """Class ids, and the places of their maps; raises UserError for keys that are too large, negative or doubled."""
    shift = int(meaning == "mask-values")
    places = [place for place, key in enumerate(keys) if key != 0 or not shift]
    ids = tuple(keys[place] - shift for place in places)
    if len(set(ids)) < len(ids) or not all(0 <= class_id < MAX_CLASSES for class_id in ids):
        raise UserError(path, f"keys {list(keys)[:20]}", f"different numbers, {meaning} below {MAX_CLASSES}")
    return ids, places


def _checked(path: Path, maps_CHW: Array, options: MapOptions) -> Array:
    """The maps in [0, 1], 8 bits and half precision kept as they are; raises UserError for other values."""
    if maps_CHW.dtype == np.uint8:
        return maps_CHW
    # A photo without labels has no maps, of whatever type.
    if not maps_CHW.size:
        return np.zeros(maps_CHW.shape, np.float32)
    if maps_CHW.dtype.kind != "f" or not np.isfinite(maps_CHW).all():
        raise UserError(path, f"maps of type {maps_CHW.dtype}, or not finite", "finite numbers in [0, 1]")
    if options.divide:
        maps_CHW = maps_CHW / options.divide
    if options.normalise:
        positive_CHW = maps_CHW.astype(np.float32).clip(min=0)
        positive_CHW /= np.maximum(positive_CHW.max((1, 2), keepdims=True), np.float32(1e-8))
        return positive_CHW
    low, high = float(maps_CHW.min()), float(maps_CHW.max())
    if low < -ROUNDING or high > 1 + ROUNDING:
        mend = "--normalise divides the positive part of each map by its own maximum"
        if low >= 0 and high <= 255 + ROUNDING:
            mend = f"--divide 255 where they are 8-bit values as floats (heights between photos stay); {mend}"
        raise UserError(path, f"values from {low:g} to {high:g}", "values in [0, 1]", mend)
    # 64 bits tell no more of a map, and take twice the disk.
    clipped_CHW = maps_CHW.clip(0, 1)
    if maps_CHW.dtype.itemsize == 2:
        return clipped_CHW.astype(np.float16)
    return clipped_CHW.astype(np.float32)


def _write(path: Path, ids: tuple[int, ...], maps_CHW: Array) -> None:
    # In one step: a run that reads the folder meanwhile, or after a kill, finds whole files alone.
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # As an open file: by name, numpy would add another suffix.
        with replaced(path) as partial, partial.open("wb") as file:
            np.savez(file, keys=np.array(ids, np.int64), maps=maps_CHW)
    except OSError as error:
        raise UserError(path, f"a file that cannot be written ({error.strerror})", "a writable folder") from None
