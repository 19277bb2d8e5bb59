"""Names as other programs write them: of classes in any case, of photos with folders, extensions, or as numbers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from settings.errors import UserError, counted, unknown_name
from settings.files import write_bytes
from settings.lists import MAX_CLASSES, implied_value, read_classes, read_ids
from settings.photo_ids import files_below, id_of, is_photo_id, without_extension
from settings.stems import possible_stems, shorter_stems

__all__ = [
    "PHOTOS",
    "ClassNames",
    "classes_beside",
    "declared_classes",
    "ids_beside",
    "match_ids",
    "write_classes",
]

PHOTOS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
LISTS = ("train.txt", "dev.txt", "val.txt")


class ClassNames:
    """The classes of a data set, found by name whatever its case where that is unambiguous."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._exact = {name: class_id for class_id, name in enumerate(names)}
        self._folded: dict[str, list[int]] = {}
        for class_id, name in enumerate(names):
            self._folded.setdefault(name.casefold(), []).append(class_id)

    def find(self, name: str) -> int | None:
        """The class id; None for a name that is not there, or in two spellings."""
        alike = self._folded.get(name.strip().casefold(), [])
        if len(alike) == 1:
            return alike[0]
        return self._exact.get(name.strip())

    def mask_value(self, where: object, name: str) -> int:
        """The value in masks: 0 for names of the background, 255 for those of void; raises UserError for strange ones.

        A class of the data set goes before: one may be called 'void'.
        """
        class_id = self.find(name)
        if class_id is not None:
            return class_id + 1
        value = implied_value(name)
        if value is None:
            raise unknown_name(where, "class", name, self.names)
        return value


def classes_beside(folder: Path, named: Path | None) -> ClassNames | None:
    """The classes of the file that the user named, else of `classes.txt` in the folder; None where neither is there."""
    path = named or folder / "classes.txt"
    if named is None and not path.exists():
        return None
    return ClassNames(read_classes(path))


def declared_classes(where: object, declared: Iterable[str]) -> ClassNames:
    """The classes that a source declares, background and void left out; raises UserError for none and for odd names."""
    names = list(dict.fromkeys(name.strip() for name in declared if implied_value(name) is None))
    for name in names:
        if not name.isprintable() or ";" in name:
            raise UserError(where, f"class {name!r}", "a name without control characters and ';'", "write classes.txt")
    if not 0 < len(names) <= MAX_CLASSES:
        expected = f"1 to {MAX_CLASSES}, one a line of a classes.txt beside the output"
        raise UserError(where, f"names of {counted(len(names), 'class', 'classes')}", expected)
    return ClassNames(names)


def write_classes(folder: Path, classes: ClassNames) -> None:
    """Write `classes.txt` into a folder; raises UserError where it cannot be written."""
    path = folder / "classes.txt"
    try:
        write_bytes(path, "".join(f"{name}\n" for name in classes.names).encode())
    except OSError as error:
        raise UserError(path, f"a file that cannot be written ({error.strerror})", "a writable folder") from None


def ids_beside(folder: Path) -> frozenset[str]:
    """The ids of the lists in a folder, else those of its `images/`; empty where there is neither."""
    photos = frozenset(id_of(path) for path in files_below(folder / "images") if path.suffix.lower() in PHOTOS)
    lists = [folder / name for name in LISTS if (folder / name).is_file()]
    if not lists:
        return photos
    return frozenset(photo_id for path in lists for photo_id in read_ids(path, photos))


def match_ids(where: object, found: Collection[str | int], known: frozenset[str]) -> Mapping[str | int, str]:
    """The photo of each id of a source, left out where `known` has ids and not this one.

    What programs append to names (`_mask`, `_pred`, …) is taken off where that makes a known id of a name that is none;
    where no id is known, if all names have it. A number stands for the id that has its digits (20070032 for
    2007_0032). Raises UserError for numbers that stand for no photo or several, for two ids of one photo, and where
    none is known.
    """
    by_number = _by_number(known)
    have_suffixes = all(isinstance(each, int) or len(list(shorter_stems(each.strip()))) > 1 for each in found)
    matched: dict[str | int, str] = {}
    taken: dict[str, str | int] = {}
    for each in found:
        if isinstance(each, int):
            photo_id = _numbered(where, each, known, by_number)
        elif known:
            photo_id = _known_id(each, known)
        else:
            photo_id = _new_id(where, each, have_suffixes)
        if photo_id is None:
            continue
        if photo_id in taken:
            raise UserError(where, f"{taken[photo_id]!r} and {each!r}", f"one entry for photo '{photo_id}'")
        taken[photo_id] = each
        matched[each] = photo_id
    if found and not matched:
        first, example = next(iter(found)), next(iter(sorted(known)), "")
        expected = f"ids of photos beside the output, such as '{example}'"
        raise UserError(where, f"{first!r} and {len(found) - 1} more ids, of no known photo", expected)
    return matched


def _by_number(known: Iterable[str]) -> Mapping[int, Sequence[str]]:
    """The ids by all their digits; where no id has these, by their last digits in a row."""
    by_all: dict[int, list[str]] = {}
    by_last: dict[int, list[str]] = {}
    for photo_id in known:
        # An id of hundreds of digits is nobody's number, and takes long to become one.
        groups = re.findall("[0-9]+", photo_id)
        if groups and len(photo_id) < 100:
            by_all.setdefault(int("".join(groups)), []).append(photo_id)
            by_last.setdefault(int(groups[-1]), []).append(photo_id)
    return {**by_last, **by_all}


def _known_id(name: str, known: frozenset[str]) -> str | None:
    """The known id that a name means: as it stands, else without extension, suffixes, and folders that no id has."""
    if name in known:
        return name
    *folders, last = re.split(r"[/\\]", name.strip())
    for stem in possible_stems(last):
        ends = ("/".join((*folders[first:], stem)) for first in range(len(folders) + 1))
        if photo_id := next((end for end in ends if end in known), None):
            return photo_id
    return None


def _new_id(where: object, name: str, has_suffix: bool) -> str:
    """The id of a photo that no list names; raises UserError for a name that no file could have."""
    stem, *shorter = [*shorter_stems(name.strip())] or [""]
    photo_id = shorter[-1] if has_suffix else stem
    # Folders of a path with an extension are other programs' own; without one they belong to the id.
    if is_photo_id(name) and without_extension(name) == name:
        photo_id = f"{name[: name.rfind('/') + 1]}{photo_id}"
    # It becomes the name of a file, or a cell that terminals show.
    if not photo_id.isprintable() or photo_id.startswith(".") or not photo_id:
        raise UserError(where, f"the name {name[:80]!a} of a photo", "a printable name")
    return photo_id


def _numbered(where: object, number: int, known: frozenset[str], by_number: Mapping[int, Sequence[str]]) -> str | None:
    if not known:
        mend = "write train.txt and val.txt there first, or images/"
        raise UserError(where, f"the number {number} as an id", "lists of photo ids beside the output", mend)
    photos = by_number.get(number, [])
    if len(photos) > 1:
        raise UserError(where, f"the number {number} as an id", f"one photo with it, not {sorted(photos)[:4]}")
    return next(iter(photos), None)
