"""The forms in which image-level labels go about, each read into the names of classes by photo.

cls_labels.npy             {id or number: multi-hot (K,)}      IRN, PSA, MCTformer, AFA, ToCo
_classes.csv               filename,cat,dog and rows x.jpg,1,0   Roboflow
*.json                     COCO; Label Studio; a folder of LabelMe's files
a folder of *.xml          VOC
*.txt                      lines `id class class`, names or numbers; or `id 0 0 1 0`, a cell a class
a folder of *.png          masks
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from harness.conversion._annotations import (
    CocoFile,
    LabelMeFile,
    StudioFile,
    read_annotations,
    read_voc_xml,
    studio_annotations,
)
from harness.conversion._arrays import MAX_BYTES
from harness.conversion._dictionaries import read_dictionary
from harness.conversion._names import ClassNames
from settings.errors import UserError, counted, kind_of
from settings.masks import read_mask
from settings.photo_ids import files_below, id_of
from settings.records import UNKNOWN

__all__ = ["Source", "Watch", "read_source"]

Watch: TypeAlias = Callable[[Sequence[Path]], Iterable[Path]]
EXPECTED = (
    "cls_labels.npy, a one-hot .csv, COCO or Label Studio .json, a list .txt of lines `id class class`, "
    "or a folder of VOC .xml, LabelMe .json or mask .png"
)
# A multi-hot array of each of COCO's 123,000 photos takes 3 million.
INSTRUCTIONS = 20_000_000
DICTIONARY = "a pickled dictionary {photo id: one 0 or 1 a class}"
Labels: TypeAlias = dict[str | int, frozenset[str]]


class Source(NamedTuple):
    """Names of classes in the order in which the source declares them, and those that each photo shows."""

    declared: tuple[str, ...]
    labels: Labels
    # Whether classes that the data set has not are simply other ones, as in COCO for who uses a part of its classes.
    may_have_more: bool = False
    note: str = ""


def read_source(path: Path, classes: ClassNames | None, first_class: int | None, watch: Watch) -> Source:
    """Whatever lies at the path, by its extension and, of a folder, by that of its files; raises UserError."""
    if path.is_dir():
        return _read_folder(path, classes, watch)
    if not path.is_file():
        raise UserError(path, kind_of(path), EXPECTED)
    match path.suffix.lower():
        case ".npy":
            return _of_dictionary(path, classes)
        case ".csv":
            return _of_table(path)
        case ".json":
            return _of_json(path)
        case ".txt" | ".lst":
            return _of_list(path, classes, first_class)
    raise UserError(path, f"a file of the kind '{path.suffix}'", EXPECTED)


def _read_folder(folder: Path, classes: ClassNames | None, watch: Watch) -> Source:
    every = files_below(folder)
    for extension in (".xml", ".json", ".png"):
        paths = [folder / path for path in every if path.suffix.lower() == extension]
        if not paths:
            continue
        if extension == ".xml":
            return _of_names({_name_in(folder, path): read_voc_xml(path) for path in watch(paths)})
        if extension == ".json":
            return _of_names({_name_in(folder, path): _names_in(path) for path in watch(paths)})
        return _of_masks(folder, paths, _needed(classes, folder), watch)
    raise UserError(folder, "a folder without .xml, .json and .png files", EXPECTED)


def _of_names(names: Mapping[str, Sequence[str]]) -> Source:
    labels: Labels = {photo_id: frozenset(each) for photo_id, each in names.items()}
    return Source(tuple(sorted({name for each in labels.values() for name in each})), labels)


def _names_in(path: Path) -> list[str]:
    content = read_annotations(path)
    if not isinstance(content, LabelMeFile):
        found = "JSON of another kind in a folder"
        raise UserError(path, found, "LabelMe JSON, a file a photo", "name the COCO or Label Studio files themselves")
    return [shape.label for shape in content.shapes]


def _of_dictionary(path: Path, classes: ClassNames | None) -> Source:
    names = _needed(classes, path).names
    labels: Labels = {}
    for photo_id, cells in read_dictionary(path, DICTIONARY, INSTRUCTIONS).items():
        labels[photo_id] = frozenset(names[place] for place in _hot(path, photo_id, cells, len(names)))
    return Source(names, labels)


def _hot(path: Path, photo_id: str | int, cells: object, count: int) -> list[int]:
    """The places of ones; raises UserError for another number of cells than classes, and for other values."""
    if type(cells) is list and len(cells) == count and all(type(cell) in (int, float, bool) for cell in cells):
        cells = np.array(cells, np.float64)
    if not isinstance(cells, np.ndarray) or cells.shape != (count,):
        found = f"{type(cells).__name__} of shape {getattr(cells, 'shape', None)} for {ascii(photo_id)[:80]}"
        mend = "a place for the background, and maps, do not belong here"
        if count == 80 and getattr(cells, "shape", None) in ((90,), (91,)):
            mend = "COCO's numbers with their gaps: import its instances .json instead"
        raise UserError(path, found, f"{counted(count, 'cell')}, one a class of classes.txt", mend)
    if not np.isin(cells, (0, 1)).all():
        raise UserError(path, f"other values than 0 and 1 for {ascii(photo_id)[:80]}", DICTIONARY)
    return [int(place) for place in np.flatnonzero(cells)]


def _of_table(path: Path) -> Source:
    """Roboflow's, or any table whose first column names the photo and whose others are classes."""
    rows = _rows(path)
    _, header = next(rows, (1, []))
    names = [name.strip() for name in header[1:]]
    expected = "a header such as filename,cat,dog"
    if header and header[0].strip().casefold() == "pixel value":
        mend = "write its classes into classes.txt in this order, and name the folder of masks instead"
        raise UserError(path, "values of masks", "image-level labels", mend)
    if not names or "" in names or len(set(names)) < len(names):
        raise UserError(f"{path}:1", f"{','.join(header)[:80]!r}", expected)
    labels: Labels = {}
    for number, row in rows:
        cells = [cell.strip() for cell in row]
        if len(cells) != len(header) or not set(cells[1:]) <= {"0", "1", "0.0", "1.0", "True", "False"}:
            raise UserError(f"{path}:{number}", f"{','.join(row)[:80]!r}", f"a name and {len(names)} times 0 or 1")
        if cells[0] in labels:
            raise UserError(f"{path}:{number}", f"'{cells[0]}' again", "one row a photo")
        hot = zip(names, cells[1:], strict=True)
        labels[cells[0]] = frozenset(name for name, cell in hot if cell in ("1", "1.0", "True"))
    return Source(tuple(names), labels)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(_lines(path), strict=True)
    try:
        for row in reader:
            if any(map(str.strip, row)):
                yield reader.line_num, row
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}", f"unreadable CSV ({error})", "rows such as x.jpg,0,1") from None


def _of_json(path: Path) -> Source:
    content = read_annotations(path)
    if isinstance(content, CocoFile):
        return _of_coco(path, content)
    if isinstance(content, StudioFile):
        return _of_label_studio(path, content)
    return _of_names({path.stem: [shape.label for shape in content.shapes]})


def _of_label_studio(path: Path, content: StudioFile) -> Source:
    """Choices for whole photos, and the classes of areas."""
    labels = {}
    for name, annotation in studio_annotations(path, content).items():
        values = [region.value for region in annotation.result]
        labels[name] = [label for value in values for label in (*value.choices, *value.classes)]
    return _of_names(labels)


def _of_coco(path: Path, content: CocoFile) -> Source:
    names = {category.id: category.name for category in content.categories}
    found: dict[int | str, set[str]] = {image.id: set() for image in content.images}
    for annotation in content.annotations:
        if annotation.category_id not in names or annotation.image_id not in found:
            what = f"an annotation of image {annotation.image_id}, category {annotation.category_id}"
            raise UserError(path, what, "ids of its images and categories")
        found[annotation.image_id].add(names[annotation.category_id])
    labels: Labels = {image.file_name: frozenset(found[image.id]) for image in content.images}
    return Source(content.names(), labels, may_have_more=True)


def _of_list(path: Path, classes: ClassNames | None, first_class: int | None) -> Source:
    """Lines of an id and classes, which are numbers throughout or names throughout."""
    lines: dict[str, list[str]] = {}
    for number, line in enumerate(_lines(path), 1):
        photo_id, *cells = _cells(line)
        if not photo_id:
            continue
        if photo_id in lines:
            raise UserError(f"{path}:{number}", f"'{photo_id[:80]}' again", "one line a photo: id class class")
        lines[photo_id] = cells
    cells = [cell for each in lines.values() for cell in each]
    if not cells:
        raise UserError(path, f"{counted(len(lines), 'line')} without any class", "lines `id class class`")
    if not all(re.fullmatch("[0-9]{1,9}", cell) for cell in cells):
        return _of_names(lines)
    names = _needed(classes, path).names
    numbers = {photo_id: [int(cell) for cell in each] for photo_id, each in lines.items()}
    if _are_multi_hot(numbers.values(), len(names)):
        labels: Labels = {photo_id: _named(names, np.flatnonzero(each)) for photo_id, each in numbers.items()}
        return Source(names, labels, note="a 0 or 1 for each class")
    first = _first_class(path, [number for each in numbers.values() for number in each], len(names), first_class)
    labels = {photo_id: _named(names, np.array(each, np.int64) - first) for photo_id, each in numbers.items()}
    return Source(names, labels, note=f"number {first} is '{names[0]}'")


def _cells(line: str) -> list[str]:
    """The parts of a line between commas and semicolons, else between blanks: names may hold blanks."""
    separator = r"\s+"
    if re.search("[,;]", line):
        separator = r"\s*[,;]\s*"
    return re.split(separator, line.strip().strip(",;"))


def _are_multi_hot(rows: Iterable[Sequence[int]], count: int) -> bool:
    """Whether each row is a 0 or 1 for each class: a list of classes names none twice."""
    rows = list(rows)
    repeats = any(len(set(row)) < len(row) for row in rows)
    return repeats and all(len(row) == count and max(row) <= 1 for row in rows)


def _first_class(path: Path, numbers: Sequence[int], count: int, first_class: int | None) -> int:
    """The number of the first class, from all numbers together; raises UserError where they leave it open."""
    low, high = min(numbers), max(numbers)
    possible = [first for first in (0, 1) if first <= low and high < count + first]
    if first_class is not None:
        possible = [first for first in possible if first == first_class]
    found = f"class numbers {low} to {high}"
    if not possible:
        raise UserError(path, found, f"the {counted(count, 'class', 'classes')} of classes.txt from 0, or from 1")
    if len(possible) > 1:
        mend = "--first-class 0 where 0 is the first line of classes.txt, --first-class 1 where 1 is"
        raise UserError(path, found, f"0 or {count} among them, which would tell", mend)
    return possible[0]


def _named(names: Sequence[str], places: Iterable[int]) -> frozenset[str]:
    return frozenset(names[place] for place in places)


def _of_masks(folder: Path, paths: Sequence[Path], classes: ClassNames, watch: Watch) -> Source:
    labels: Labels = {}
    for path in watch(paths):
        present = np.unique(read_mask(path, len(classes.names) + 1)).tolist()
        shown = (classes.names[value - 1] for value in present if value not in (0, UNKNOWN))
        labels[_name_in(folder, path)] = frozenset(shown)
    return Source(classes.names, labels, note="read from masks, which image-level supervision does not have")


def _name_in(folder: Path, path: Path) -> str:
    return id_of(path.relative_to(folder))


def _needed(classes: ClassNames | None, where: Path) -> ClassNames:
    if classes is None:
        mend = "write classes.txt beside the output, or --classes FILE"
        raise UserError(where, "numbers without names of classes", "names of classes, one a line", mend)
    return classes


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(path, f"a file of more than {MAX_BYTES} bytes", "a list of labels")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(path, f"an unreadable file ({error})", "text in UTF-8") from None
    return text.splitlines(keepends=True)
