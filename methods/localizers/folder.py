"""Maps that any other program made, one `.npz` a photo or one grey PNG a class:

    <root>/<photo id>.npz                 keys: 0-based class ids, (C,) · maps: (C, h, w), floats in [0, 1] or 8-bit
    <root>/<photo id>/<class name>.png    8-bit grey, 255 for 1; all of one size

They are taken as they are; those of classes that the photo's labels exclude are dropped, so that a photo without
labels needs none.
"""

from __future__ import annotations

from glob import escape
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from methods.base import LocalizationMaps, Localizer, MapRecords, Photos, Surroundings
from methods.npz import read_npz
from methods.outside import OutsideOptions, place_of
from settings.errors import UserError
from settings.lists import MAX_CLASSES
from settings.records import LabelSpace, Photo
from settings.saliency import read_saliency


class FolderOptions(OutsideOptions):
    """Where the maps lie, what supervision made them, and how they become large."""

    upsampling: Literal["bilinear", "bicubic", "nearest"] = "bilinear"


class Folder(Localizer):
    """Reads the maps of each photo; nothing is trained."""

    options_model = FolderOptions
    place_options = frozenset({"root"})
    options: FolderOptions
    features = ()

    @property
    def supervision(self) -> str:
        """What the user says that the maps were made with."""
        return self.options.supervision

    def files(self, photo: Photo) -> tuple[Path, ...]:
        """The photo's `.npz`, else all PNGs of its folder; raises UserError where there are neither, or both.

        None for a photo without labels.
        """
        if not photo.labels:
            return ()
        npz, folder = place_of(self.options.root, photo, ".npz"), place_of(self.options.root, photo)
        pngs = sorted(folder.glob("*.png")) if folder.is_dir() else []
        if npz.is_file() == bool(pngs):
            found = "both" if pngs else "neither"
            expected = f"either this file or {folder}/<class name>.png for photo '{photo.id}'"
            raise UserError(npz, found, expected, self._mend(photo))
        return tuple(pngs) if pngs else (npz,)

    def _mend(self, photo: Photo) -> str:
        place = place_of(self.options.root, photo)
        if place.with_name(f"{place.name}.npy").exists():
            return "convert the .npy files: seedbed data import-maps"
        # OAA and the paper of MCIS number their files by class.
        if numbered := sorted(place.parent.glob(f"{escape(place.name)}_*.png")):
            return f"convert {numbered[0].name} and its like: seedbed data import-maps"
        return ""

    def apply(self, photos: Photos, surroundings: Surroundings) -> MapRecords:
        """The maps of each photo's labels; raises UserError for a label without a map and for odd files."""
        for photo in photos:
            maps_CHW = _maps(self.files(photo), photo.labels, surroundings.label_space)
            height, width = photo.image().shape[:2]
            yield LocalizationMaps(photo.id, photo.labels, maps_CHW, (height, width), self.options.upsampling)


def _maps(files: tuple[Path, ...], labels: tuple[int, ...], space: LabelSpace) -> NDArray[np.float32]:
    """The maps of the labels, (C, h, w) float32 in [0, 1]."""
    if not labels:
        return np.zeros((0, 1, 1), np.float32)
    if files[0].suffix == ".npz":
        return _maps_of_npz(files, labels, space)
    return _maps_of_pngs(files, labels, space)


def _maps_of_npz(files: tuple[Path, ...], labels: tuple[int, ...], space: LabelSpace) -> NDArray[np.float32]:
    (path,) = files
    arrays = read_npz(path, ("keys", "maps"))
    keys_C, maps_CHW = arrays["keys"], arrays["maps"]
    _check_arrays(path, keys_C, maps_CHW)
    places = {int(key): place for place, key in enumerate(keys_C)}
    for label in labels:
        if label not in places:
            raise _no_map(path, label, space, f"keys {sorted(places)[:20]}")
    return _in_range(path, maps_CHW[[places[label] for label in labels]])


def _check_arrays(path: Path, keys_C: NDArray[Any], maps_CHW: NDArray[Any]) -> None:
    is_list = keys_C.ndim == 1 and keys_C.dtype.kind in "iu" and len(keys_C) <= MAX_CLASSES
    if not is_list or len(set(keys_C.tolist())) < len(keys_C):
        found = f"keys of type {keys_C.dtype} and shape {keys_C.shape}: {keys_C.ravel()[:8].tolist()}"
        raise UserError(path, found, "a list of different 0-based class ids")
    if maps_CHW.ndim != 3 or len(maps_CHW) != len(keys_C) or 0 in maps_CHW.shape[1:]:
        found = f"maps of shape {maps_CHW.shape} for {len(keys_C)} keys"
        raise UserError(path, found, f"({len(keys_C)}, height, width)")
    if maps_CHW.dtype.kind != "f" and maps_CHW.dtype != np.uint8:
        raise UserError(path, f"maps of type {maps_CHW.dtype}", "floats in [0, 1] or uint8")


def _in_range(path: Path, maps_CHW: NDArray[Any]) -> NDArray[np.float32]:
    """float32 in [0, 1]; raises UserError for other values."""
    if maps_CHW.dtype == np.uint8:
        return maps_CHW.astype(np.float32) / np.float32(255)
    if not np.isfinite(maps_CHW).all():
        raise UserError(path, "values that are not finite", "[0, 1]")
    if maps_CHW.size and (maps_CHW.min() < 0 or maps_CHW.max() > 1):
        raise UserError(path, f"values from {maps_CHW.min():g} to {maps_CHW.max():g}", "[0, 1]")
    return maps_CHW.astype(np.float32)


def _maps_of_pngs(files: tuple[Path, ...], labels: tuple[int, ...], space: LabelSpace) -> NDArray[np.float32]:
    by_name = {path.stem: path for path in files}
    maps: list[NDArray[np.uint8]] = []
    for label in labels:
        path = by_name.get(space.names[label])
        if path is None:
            raise _no_map(files[0].parent, label, space, ", ".join(file.name for file in files[:20]))
        maps.append(read_saliency(path))
        if maps[-1].shape != maps[0].shape:
            found = f"{maps[-1].shape[1]}×{maps[-1].shape[0]} pixels"
            raise UserError(path, found, f"{maps[0].shape[1]}×{maps[0].shape[0]}, as the photo's other maps")
    return np.stack(maps).astype(np.float32) / np.float32(255)


def _no_map(path: Path, label: int, space: LabelSpace, found: str) -> UserError:
    expected = f"one for each of the photo's labels, '{space.names[label]}' (class id {label}) among them"
    return UserError(path, f"maps of {found}", expected)
