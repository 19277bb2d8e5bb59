"""The `.npy` dictionaries in which the field's programs write the localization maps of a photo.

{"keys": class ids, "cam": …, "high_res": …}          IRN and what grew from it; maps (C, h, w)
{"keys": class ids, "attn_highres": …}                CLIP-ES and what grew from it
{class id: map, …}                                    PSA, SEAM, MCTformer
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.conversion import pickled_arrays, pickled_tensors
from harness.conversion.unpickling import Refused, Unpickler
from methods.npz import MAX_BYTES, OBJECTS, read_header
from settings.errors import UserError
from settings.lists import MAX_CLASSES

Keys: TypeAlias = Literal["classes", "mask-values"]
"""What keys are: 0-based class ids, or values of masks (0 background, which is left out; class id + 1)."""
ARRAYS = ("attn_highres", "high_res", "highres", "cam")
"""Names of maps, the one that is taken first where there are several."""
EXPECTED = f"a .npy dictionary with 'keys' and {', '.join(map(repr, ARRAYS))}, or one of maps by class id"
ROUNDING = 1e-3
"""Values that leave [0, 1] by less are cut off: programs divide by a maximum plus or minus 1e-5, in half precision."""


class Found(NamedTuple):
    """What a file holds: keys as they are, (C,), and maps (C, h, w)."""

    keys: tuple[int, ...]
    maps_CHW: NDArray[Any]


def read_dictionary(path: Path) -> Mapping[Any, Any]:
    """The dictionary of a file; raises UserError for anything else, naming what a hostile pickle asks for."""
    unpickler = Unpickler({**pickled_arrays.ADMITTED, **pickled_tensors.ADMITTED})
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            raise Refused(f"no file, or one of more than {MAX_BYTES} bytes")
        with path.open("rb") as stream:
            header = read_header(stream)
            content = pickled_arrays.value_of(unpickler.load(stream)) if header.type == OBJECTS else None
    except (OSError, ValueError, Refused) as error:
        raise UserError(path, str(error), EXPECTED) from None
    if type(content) is not dict:
        raise UserError(path, "no dictionary", EXPECTED)
    return {key: pickled_arrays.value_of(value) for key, value in content.items()}


def find_maps(path: Path, array: str | None = None) -> Found:
    """Keys and maps of a file, from the array called `array`, else the first of ARRAYS; raises UserError."""
    content = read_dictionary(path)
    if "keys" in content:
        keys = _integers(path, content["keys"])
        maps = content[_name(path, content, array)]
    elif array is None and content and all(type(key) is int for key in content):
        keys, maps = tuple(content), _stacked(list(content.values()))
    else:
        raise _odd(path, content)
    if not isinstance(maps, np.ndarray) or maps.ndim != 3 or len(maps) != len(keys) or 0 in maps.shape[1:]:
        found = f"{len(keys)} keys for maps of shape {getattr(maps, 'shape', None)}"
        raise UserError(path, found, "one map (h, w) a key", "a background map without a key must be taken out")
    return Found(keys, maps)


def class_ids(path: Path, keys: tuple[int, ...], meaning: Keys) -> tuple[tuple[int, ...], list[int]]:
    """Class ids, and the places of their maps; raises UserError for keys that are no classes."""
    shift = int(meaning == "mask-values")
    places = [place for place, key in enumerate(keys) if key != 0 or not shift]
    ids = tuple(keys[place] - shift for place in places)
    if len(set(ids)) < len(ids) or not all(0 <= class_id < MAX_CLASSES for class_id in ids):
        raise UserError(path, f"keys {list(keys)[:20]}", f"different numbers, {meaning} below {MAX_CLASSES}")
    return ids, places


def checked(path: Path, maps_CHW: NDArray[Any], normalise: bool) -> NDArray[Any]:
    """The maps in [0, 1], 8 bits and half precision kept as they are; raises UserError for other values.

    `normalise` divides the positive part of each map by its own maximum, as CAM does.
    """
    if maps_CHW.dtype == np.uint8:
        return maps_CHW
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
    return maps_CHW.clip(0, 1).astype(np.float16 if maps_CHW.dtype.itemsize == 2 else np.float32)


def _name(path: Path, content: Mapping[Any, Any], array: str | None) -> str:
    names = (array,) if array is not None else ARRAYS
    for name in names:
        if name in content:
            return name
    raise _odd(path, content)


def _odd(path: Path, content: Mapping[Any, Any]) -> UserError:
    names = ", ".join(ascii(key) for key in list(content)[:10])
    return UserError(path, f"a dictionary of {names[:200] or 'nothing'}", EXPECTED, "name the maps by --array")


def _stacked(maps: list[Any]) -> NDArray[Any] | None:
    """Maps of one size as one array."""
    is_uniform = all(isinstance(map_HW, np.ndarray) for map_HW in maps) and len({map_HW.shape for map_HW in maps}) == 1
    return np.stack(maps) if is_uniform else None


def _integers(path: Path, keys: Any) -> tuple[int, ...]:
    if isinstance(keys, np.ndarray) and keys.ndim == 1 and (keys.dtype.kind in "iu" or not keys.size):
        keys = keys.tolist()
    # What is nested is never looked into: it may name itself many times over.
    if type(keys) is not list or any(type(key) is not int for key in keys):
        raise UserError(path, f"'keys' that are no list ({type(keys).__name__})", "a list of whole numbers")
    return tuple(keys)
