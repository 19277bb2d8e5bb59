"""`seedbed data import-maps`: a folder of `.npy` dictionaries becomes one of `.npz` for `localizers/folder`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.conversion.dictionaries import Found, Keys, checked, class_ids, find_maps
from settings.errors import UserError

Watch = Callable[[Sequence[Path]], Iterable[Path]]
SAMPLE = 50
"""Files whose keys are looked at before anything is written."""


def import_maps(
    source: Path,
    output: Path,
    array: str | None = None,
    keys: Keys | None = None,
    normalise: bool = False,
    watch: Watch = iter,
) -> str:
    """Write `<output>/<id>.npz` for each `<source>/<id>.npy`, one after the other; says what was done.

    Files of an earlier import are replaced, each at once. Raises UserError for what cannot be converted.
    """
    paths = sorted(path for path in source.rglob("*.npy") if not path.is_dir())
    if not paths:
        raise UserError(source, "no .npy file", "a folder of .npy files named by photo id")
    meaning = keys or _meaning(source, paths, array)
    seen: set[int] = set()
    written = 0
    for path in watch(paths):
        found = find_maps(path, array)
        ids, places = class_ids(path, found.keys, meaning)
        maps_CHW = checked(path, found.maps_CHW, normalise)[places]
        _write((output / path.relative_to(source)).with_suffix(".npz"), ids, maps_CHW)
        seen |= set(ids)
        written += len(ids)
    classes = f"class ids {min(seen)} to {max(seen)}" if seen else "of no class"
    return f"{len(paths)} photos with {written} maps, {classes}, in {output}"


def _meaning(source: Path, paths: Sequence[Path], array: str | None) -> Keys:
    """0-based class ids, as nearly all programs write; raises UserError where they look like values of masks."""
    sample = [find_maps(path, array) for path in paths[:: -(-len(paths) // SAMPLE)]]
    if all(_begins_with_background(found) for found in sample):
        mend = "--keys mask-values where 0 is the background (it is left out), --keys classes where it is a class"
        raise UserError(source, "key 0 and another one in every file", "0-based class ids", mend)
    return "classes"


def _begins_with_background(found: Found) -> bool:
    return len(found.keys) > 1 and found.keys[0] == 0


def _write(path: Path, ids: tuple[int, ...], maps_CHW: NDArray[Any]) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open("wb") as file:
                np.savez(file, keys=np.array(ids, np.int64), maps=maps_CHW)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(path, f"a file that cannot be written ({error.strerror})", "a writable folder") from None
