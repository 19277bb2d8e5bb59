"""Text files that name photos and classes: lists of ids, class names, and image-level labels as CSV.

Readable oddities (a BOM, CRLF, quotes, blank lines) are read rightly; all else is a UserError with file and line.
"""

import csv
import re
from collections.abc import Container, Iterator, Sequence
from io import StringIO
from pathlib import Path

from settings.errors import UserError, counted, kind_of, unknown_name
from settings.photo_ids import ALLOWED, id_of_path, is_photo_id, photo_stem, twins, without_extension
from settings.records import UNKNOWN

__all__ = ["MAX_CLASSES", "NO_CLASS", "implied_value", "read_classes", "read_ids", "read_labels", "table_rows"]

MAX_TEXT = 1 << 25
"""Longer lists are refused unread: ids and classes of a million photos take as much."""
MAX_CLASSES = UNKNOWN - 1
"""Mask values 1..254 are classes: 0 is background, 255 unknown."""
NO_CLASS = "none"
"""What a cell may say of a photo that shows no class, in any case."""
HEADER = ["id", "labels"]
_PICTURE = r"\.(?:jpe?g|png|bmp|tiff?|webp)"
_PATHS = re.compile(rf"(?P<photo>.+?{_PICTURE})\s.+{_PICTURE}|(?P<path>.*[/\\].*{_PICTURE})", re.IGNORECASE)
"""Lines of the field's lists: `/JPEGImages/x.jpg /SegmentationClassAug/x.png`, or the path of the photo alone."""
IMPLIED = {"background": 0, "bg": 0, "ignore": UNKNOWN, "unlabeled": UNKNOWN, "unlabelled": UNKNOWN, "void": UNKNOWN}
"""Names that lists of other programs have for what is no class here, and the mask value that stands for it."""


def read_ids(path: Path, known: Container[str] = ()) -> tuple[str, ...]:
    """The photo ids of a list file, one a line; of a path, or of a pair of paths of photo and mask, the photo's id.

    `known` are the ids of photos that are there, which tell the folders of an id from those before it; without them the
    id of a path is its stem. Raises UserError for a missing file, odd ids, duplicates, and ids of one file.
    """
    first_line: dict[str, int] = {}
    for number, line in _filled_lines(_read_text(path, "list", "photo ids, one a line")):
        photo_id = _listed_id(line, known)
        if not is_photo_id(photo_id):
            # What it would be without folders, where that is an id.
            likely = photo_stem(line)
            mend = f"write '{likely}', and call its files so" if is_photo_id(likely) else ""
            raise UserError(f"{path}:{number}", f"id {photo_id!r}", ALLOWED, mend)
        if photo_id in first_line:
            raise UserError(f"{path}:{number}", f"id '{photo_id}' again", f"each id once (line {first_line[photo_id]})")
        first_line[photo_id] = number
    if pair := twins(first_line):
        found = f"id '{pair[1]}' beside '{pair[0]}' (line {first_line[pair[0]]})"
        raise UserError(f"{path}:{first_line[pair[1]]}", found, "ids that differ in more than case", "rename one photo")
    return tuple(first_line)


def _listed_id(line: str, known: Container[str]) -> str:
    """The id that a line of a list means, if it means one."""
    if line in known:
        return line
    if match := _PATHS.fullmatch(line):
        return id_of_path(match["photo"] or match["path"], known)
    plain = without_extension(line).replace("\\", "/")
    return plain if plain in known else line


def read_classes(path: Path) -> tuple[str, ...]:
    """The class names of a file, one a line, in mask order; background, which is implied, must not be among them.

    Raises UserError for a file without names, for more than 254, for names given twice, and for those that labels
    cannot be written with.
    """
    expected = "class names, one a line"
    first_line: dict[str, int] = {}
    for number, name in _filled_lines(_read_text(path, "list of classes", expected)):
        _check_class(f"{path}:{number}", name)
        if name in first_line:
            raise UserError(f"{path}:{number}", f"class '{name}' again", f"each once (line {first_line[name]})")
        first_line[name] = number
    if not first_line:
        raise UserError(path, "no class", expected)
    if len(first_line) > MAX_CLASSES:
        raise UserError(
            path, f"{len(first_line)} classes", f"at most {MAX_CLASSES}", "an 8-bit mask has no more values"
        )
    return tuple(first_line)


def read_labels(path: Path, classes: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Class ids by photo id, ascending, from a CSV file `id,labels` whose names are separated by `;`.

    An empty cell, or `none` alone where no class is called so, is a photo that shows no class. Raises UserError for
    another header, rows of another form, ids given twice and unknown names.
    """
    found: dict[str, tuple[int, tuple[int, ...]]] = {}
    for number, row in table_rows(path, HEADER, "photo,cat;dog"):
        where = f"{path}:{number}"
        if len(row) != len(HEADER):
            mend = "separate the names of classes by ';', and leave out other columns"
            raise UserError(where, counted(len(row), "column"), "two: id,labels", mend)
        photo_id = row[0].strip()
        if photo_id in found:
            mend = "write the names of all its objects into one row, separated by ';'"
            raise UserError(where, f"id {photo_id!r} again", f"one row an id (line {found[photo_id][0]})", mend)
        found[photo_id] = number, _class_ids(where, row[1], classes)
    return {photo_id: labels for photo_id, (_, labels) in found.items()}


def _class_ids(where: str, text: str, classes: tuple[str, ...]) -> tuple[int, ...]:
    if text.strip().casefold() == NO_CLASS and NO_CLASS not in map(str.casefold, classes):
        return ()
    names = {name.strip() for name in text.split(";")} - {""}
    for name in sorted(names - set(classes)):
        _refuse_list(where, text, classes)
        if implied_value(name) is not None:
            raise UserError(where, f"class '{name}'", "names of classes.txt", "leave it out: it is no class")
        if re.fullmatch(r"-?\d+(\.0)?", name):
            mend = "write the classes' names, not their numbers"
            raise UserError(where, f"class '{name}'", f"names of classes.txt, such as '{classes[0]}'", mend)
        raise unknown_name(where, "class", name, classes)
    return tuple(i for i, name in enumerate(classes) if name in names)


def _refuse_list(where: str, text: str, classes: tuple[str, ...]) -> None:
    """Raise UserError where names are separated otherwise: by commas within quotes, as a Python list, by blanks."""
    for separators in (r"[,|/\[\](){}]", r"[\s,|/\[\](){}]"):
        parts = [part.strip().strip("'\"").strip() for part in re.split(separators, text)]
        names = [name for name in parts if name]
        if not names:
            mend = "leave it empty for a photo that shows no class"
            raise UserError(where, f"the labels {text.strip()!r}", "names of classes.txt, separated by ';'", mend)
        if set(names) <= set(classes):
            mend = f"separate names by ';': {';'.join(names)}"
            raise UserError(where, f"the labels {text.strip()!r}", "names of classes.txt, separated by ';'", mend)


def _check_class(where: str, name: str) -> None:
    if not name.isprintable() or ";" in name:
        raise UserError(where, f"class {name!r}", "a name without control characters and ';'")
    value = implied_value(name)
    if value is not None:
        mend = f"delete the line: mask value {value} is implied"
        raise UserError(where, f"class '{name}'", "foreground classes only", mend)


def implied_value(name: str) -> int | None:
    """The mask value of what programs call `_background_`, `__ignore__`, … in any case; None for a class."""
    return IMPLIED.get(name.strip("_ ").casefold())


def table_rows(path: Path, columns: Sequence[str], example: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each row of a CSV file below its header; rows without any text are passed over.

    Raises UserError, with a row for `example`, for a missing file, another header, control characters and
    unreadable CSV.
    """
    header_text = ",".join(columns)
    text = _read_text(path, "table of labels", f"CSV with the columns {header_text}")
    _refuse_control_characters(path, text)
    reader = csv.reader(StringIO(text), strict=True)
    try:
        rows = ((reader.line_num, row) for row in reader if any(map(str.strip, row)))
        number, header = next(rows, (1, []))
        if [column.strip().lower() for column in header] != list(columns):
            mend = _mend_of_header(header, columns)
            raise UserError(f"{path}:{number}", f"the header {','.join(header)[:80]!r}", f"'{header_text}'", mend)
        yield from rows
    except csv.Error as error:
        where = f"{path}:{reader.line_num}"
        raise UserError(where, f"unreadable CSV ({error})", f"rows such as {example}") from None


def _mend_of_header(header: Sequence[str], columns: Sequence[str]) -> str:
    if len(header) == 1 and header[0]:
        return "separate columns by commas"
    if len(header) == len(columns):
        return f"the first line names the columns: {','.join(columns)}"
    if list(columns) == HEADER and len(header) > len(HEADER):
        return "leave out other columns; a column a class is read by `seedbed data import-labels`, from another name"
    return ""


def _refuse_control_characters(path: Path, text: str) -> None:
    """Names of the table are shown on terminals, which obey some of these."""
    if odd := re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text):
        number = text.count("\n", 0, odd.start()) + 1
        raise UserError(f"{path}:{number}", f"the control character {odd[0]!r}", "text")


def _filled_lines(text: str) -> Iterator[tuple[int, str]]:
    # One line after the other: as a list, a million short ones would take a hundred times their text.
    lines = enumerate(map(str.strip, StringIO(text, newline="\n")), 1)
    return ((number, line) for number, line in lines if line)


def _read_text(path: Path, what: str, expected: str) -> str:
    """The text with `\\n` as line end; raises UserError that names the first line that is not UTF-8."""
    if path.exists() and not path.is_file():
        # A pipe would be waited for without end.
        raise UserError(path, f"an unreadable {what} ({kind_of(path)})", expected)
    try:
        if (size := path.stat().st_size) > MAX_TEXT:
            raise UserError(path, f"{size} bytes", f"a {what} of at most {MAX_TEXT}")
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise UserError(path, f"an unreadable {what} ({error.strerror})", expected) from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            path, f"an unreadable {what} (line {line} is not UTF-8)", expected, "save it as UTF-8"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")
