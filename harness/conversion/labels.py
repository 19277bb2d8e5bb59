"""`seedbed data import-labels`: image-level labels in the forms that go about become `labels.csv`."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path

from harness.conversion._label_sources import Source, Watch, read_source
from harness.conversion._names import (
    ClassNames,
    classes_beside,
    declared_classes,
    ids_beside,
    match_ids,
    write_classes,
)
from settings.errors import UserError, counted, unknown_name
from settings.files import write_bytes
from settings.lists import implied_value

__all__ = ["import_labels"]

Labels = dict[str, tuple[int, ...]]


def import_labels(
    sources: Sequence[Path],
    output: Path,
    classes_file: Path | None = None,
    first_class: int | None = None,
    watch: Watch = iter,
) -> str:
    """Write `labels.csv` from one source or several, and `classes.txt` beside it where there is none; says what it did.

    Ids are matched with those of the lists, or `images/`, beside the output; rows of other photos are left out. Raises
    UserError for what cannot be read, for doubt, and where the output is there already.
    """
    if output.suffix.lower() != ".csv" or output.is_dir():
        raise UserError(output, "no .csv file as output", "the labels.csv to write")
    if output.exists():
        raise UserError(output, "a file that is there already", "none", "move it away, it would be lost")
    folder = output.parent
    classes = classes_beside(folder, classes_file)
    is_declared = classes is None
    known = ids_beside(folder)
    read = [(source, read_source(source, classes, first_class, watch)) for source in sources]
    notes = [found.note for _, found in read if found.note]
    if classes is None:
        declared = [name for _, found in read for name in found.declared]
        classes = declared_classes(sources[0], declared)
        notes.append(f"wrote {folder / 'classes.txt'}")
    labels: Labels = {}
    others, strange = 0, set[str]()
    for source, found in read:
        if not found.labels:
            raise UserError(source, "no photo in it", "image-level labels of photos")
        ids = match_ids(source, found.labels.keys(), known)
        others += len(found.labels) - len(ids)
        for each, photo_id in ids.items():
            class_ids, unknown = _class_ids(source, found, found.labels[each], classes)
            if labels.setdefault(photo_id, class_ids) != class_ids:
                raise UserError(source, f"other labels for photo '{photo_id}'", "those of the sources before")
            strange |= unknown
    if is_declared:
        write_classes(folder, classes)
    _write(output, labels, classes)
    if others:
        notes.append(f"left out {counted(others, 'photo')} of no known id")
    if strange:
        notes.append(f"left out {counted(len(strange), 'other class', 'other classes')}")
    missing = sorted(known - labels.keys())
    if missing:
        notes.append(f"nothing about {counted(len(missing), 'photo')} ('{missing[0]}')")
    return "; ".join([_summary(output, labels, classes), *notes])


def _class_ids(
    source: Path, found: Source, names: frozenset[str], classes: ClassNames
) -> tuple[tuple[int, ...], set[str]]:
    """The classes of one photo, ascending, and the names of those that the data set does not have."""
    ids: set[int] = set()
    unknown: set[str] = set()
    for name in names:
        class_id = classes.find(name)
        if class_id is not None:
            ids.add(class_id)
        elif implied_value(name) is None:
            unknown.add(name)
    if unknown and not found.may_have_more:
        raise unknown_name(source, "class", min(unknown), classes.names)
    return tuple(sorted(ids)), unknown


def _write(path: Path, labels: Mapping[str, tuple[int, ...]], classes: ClassNames) -> None:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "labels"])
    for photo_id in sorted(labels):
        writer.writerow([photo_id, ";".join(classes.names[class_id] for class_id in labels[photo_id])])
    try:
        write_bytes(path, text.getvalue().encode())
    except OSError as error:
        raise UserError(path, f"a file that cannot be written ({error.strerror})", "a writable folder") from None


def _summary(output: Path, labels: Labels, classes: ClassNames) -> str:
    counts = Counter(class_id for class_ids in labels.values() for class_id in class_ids)
    shown = [f"{classes.names[class_id]} {count}" for class_id, count in counts.most_common(8)]
    more = [f"{len(counts) - 8} more"] * (len(counts) > 8)
    absent = [f"{counted(len(classes.names) - len(counts), 'class', 'classes')} without any"]
    empty = sum(not class_ids for class_ids in labels.values())
    without = [f"{empty} without a class"] * (empty > 0)
    parts = [*shown, *more, *absent * (len(counts) < len(classes.names)), *without]
    return f"{counted(len(labels), 'photo')} in {output} ({', '.join(parts)})"
