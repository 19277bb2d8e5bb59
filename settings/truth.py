"""What extra photos really show, from a table that somebody made by looking; for measuring filters afterwards.

    file,query_class,true_class,kind
    cow/cow_001.jpg,cow,horse,wrong-class

`file` lies below the photos' root, `true_class` is a class, several separated by `;`, or `none`; `kind` is clean,
wrong-class or off-topic. No setting and no method may read this: `seedbed data audit --truth` alone does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from settings.aliases import Aliases
from settings.errors import UserError, counted, unknown_name
from settings.lists import NO_CLASS, table_rows
from settings.records import LabelSpace, Photo

__all__ = ["read_truth"]

COLUMNS = ("file", "query_class", "true_class", "kind")
KINDS = ("clean", "wrong-class", "off-topic")
SUFFIXES = ("jpg", "jpeg", "png")


@dataclass(frozen=True)
class _Row:
    where: str
    file: str
    query: str
    shown: tuple[str, ...]


def read_truth(
    path: Path, photos: Sequence[Photo], space: LabelSpace, aliases: Aliases
) -> Mapping[str, tuple[int, ...]]:
    """The class ids that each photo really shows, ascending, by photo id; none: off-topic.

    `photos` are as their source gives them, without controlled noise. Rows of other photos are passed over; a true
    class outside the label space that is some row's query, or in the alias table, counts as off-topic. Raises
    UserError with file and line for rows of another form, files given twice, unknown names, a query that is not the
    photo's label, and photos without a row.
    """
    rows = _read_rows(path)
    queries = {row.query.casefold() for row in rows.values()}
    truth = {place: _class_ids(row, queries, space, aliases) for place, row in rows.items()}
    places = {photo.id: photo.place or photo.id for photo in photos}
    if missing := [place for place in places.values() if place not in rows]:
        found = f"no row for photo '{missing[0]}' ({counted(len(missing), 'such photo')})"
        raise UserError(path, found, "a row for each photo")
    for photo in photos:
        row = rows[places[photo.id]]
        if aliases.class_id(row.query, space, row.where) not in photo.labels:
            names = ", ".join(space.names[label] for label in photo.labels)
            raise UserError(row.where, f"query class '{row.query}' of '{row.file}'", f"the class of its photo: {names}")
    return {photo_id: truth[place] for photo_id, place in places.items()}


def _read_rows(path: Path) -> dict[str, _Row]:
    """The rows by the place of their photo, which is the file without its suffix."""
    rows: dict[str, _Row] = {}
    for number, cells in table_rows(path, COLUMNS, "cow/cow_001.jpg,cow,horse,wrong-class"):
        row = _row(f"{path}:{number}", [cell.strip() for cell in cells])
        place = _place(row.file)
        if place in rows:
            line = rows[place].where.rpartition(":")[2]
            raise UserError(row.where, f"photo '{place}' again", f"one row a photo (line {line})")
        rows[place] = row
    return rows


def _row(where: str, cells: list[str]) -> _Row:
    if len(cells) != len(COLUMNS):
        raise UserError(where, counted(len(cells), "column"), f"four: {','.join(COLUMNS)}")
    file, query, true, kind = cells
    if not (file and query and true):
        raise UserError(
            where, "an empty cell", f"file, query class and true class, '{NO_CLASS}' for an off-topic photo"
        )
    if kind not in KINDS:
        raise unknown_name(where, "kind", kind, KINDS)
    off_topic = true.casefold() == NO_CLASS
    if off_topic != (kind == "off-topic"):
        raise UserError(
            where, f"true class '{true}' beside kind '{kind}'", f"'{NO_CLASS}' where off-topic, a class else"
        )
    names = () if off_topic else tuple(name for each in true.split(";") if (name := each.strip()))
    return _Row(where, file, query, names)


def _class_ids(row: _Row, queries: set[str], space: LabelSpace, aliases: Aliases) -> tuple[int, ...]:
    found: set[int] = set()
    for name in row.shown:
        class_id = aliases.find(name, space)
        if class_id is not None:
            found.add(class_id)
        elif name.casefold() not in queries and not aliases.knows(name):
            raise unknown_name(row.where, "class", name, (*space.names, NO_CLASS))
    return tuple(sorted(found))


def _place(file: str) -> str:
    stem, _, suffix = file.rpartition(".")
    return stem if suffix.lower() in SUFFIXES else file
