"""What the page shows of one leaderboard, in the order in which its sections stand."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pandas as pd

from results.page.counts import Counts
from results.page.errors import Errors, errors_of
from results.page.heat_maps import HeatMap, by_class, by_setting, gains
from results.page.help import help_of
from results.page.photos import PhotoScores, Tiles, scores_of
from results.page.steps import Steps, steps_of
from results.published import published
from results.rows import Row
from results.selection import is_ranked
from results.shown import BY_CLASS, TEXTS, Further, Table

__all__ = ["Board", "Picture", "Shown", "board_of", "provenance_of"]

MARK = re.compile(r" \[(\d+)\]")
"""A footnote's mark, as `results.tables` puts it behind a cell."""


@dataclass(frozen=True)
class Picture:
    """An image that the page holds."""

    name: str
    data: str
    """A `data:` URI."""
    width: int
    height: int


@dataclass(frozen=True)
class Shown:
    """One leaderboard, as its folder has it."""

    name: str
    description: str
    notes: tuple[str, ...]
    """What is to be known of the run: what the command line changed, which recipes were skipped, and why."""
    tables: tuple[Table, ...]
    rows: tuple[Row, ...]
    counts: Counts = field(default_factory=Counts)
    further: tuple[Further, ...] = ()
    curves: pd.DataFrame | None = None
    """Training losses, with the columns of `results.curves`."""
    pictures: tuple[Picture, ...] = ()
    tiles: Tiles | None = None
    folder: str = ""
    """The leaderboard's folder, for the command that holds every number against its count; `.` is the page's own."""
    is_shared: bool = False
    """Whether rows were added to it, of which no suite tells how they are made."""


@dataclass(frozen=True)
class Line:
    """A line of a board's table."""

    cells: tuple[tuple[str, tuple[str, ...]], ...]
    """The text of each cell, and the numbers of its footnotes."""
    apart: str
    """The lines that it can be told apart from: a hexadecimal number with a bit for each."""
    is_placed: bool
    command: str
    """What runs it."""
    trace: str
    """What prints the counts behind its numbers."""


@dataclass(frozen=True)
class Board:
    """A board's table and what is derived from it."""

    table: Table
    columns: tuple[tuple[str, bool, str], ...]
    """The title of each column, whether it holds words, and what it says."""
    lines: tuple[Line, ...]
    notes: tuple[tuple[str, str], ...]
    """The number of a footnote (empty for other notes) and its text."""
    sections: tuple[Table, ...]
    """The tables below, but the one by class, which is a heat map here."""
    by_setting: HeatMap | None
    by_class: HeatMap | None
    gains: HeatMap | None
    steps: Steps | None
    errors: Errors | None
    photos: tuple[PhotoScores, ...]
    published: tuple[Table, ...]
    """Numbers of papers on the board's data set."""


def board_of(table: Table, shown: Shown) -> Board:
    """Prepare a board's table for the page."""
    columns = tuple((title, title in ("recipe", *TEXTS), help_of(title)) for title in table.columns)
    lines = tuple(_lines(table, shown))
    classes = next((by_class(section) for section in table.sections if section.title == BY_CLASS), None)
    return Board(
        table,
        columns,
        lines,
        notes=tuple(map(_note, table.notes)),
        sections=tuple(section for section in table.sections if section.title != BY_CLASS),
        by_setting=by_setting(table),
        by_class=classes,
        gains=gains(table),
        steps=steps_of(table.records),
        errors=errors_of(table, shown.counts),
        photos=tuple(scores_of(table, shown.counts)),
        published=tuple(_published(table)),
    )


def _published(table: Table) -> list[Table]:
    """None beside boards that are not ranked."""
    if not table.records or not is_ranked(table.records[0]["policy"]):
        return []
    return published(table.records[0]["dataset"])


def provenance_of(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """What the rows were made by and scored on, a name and its values: all rows together, each value once."""
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        made_by = json.loads(row.provenance)
        packages = made_by.pop("packages", {})
        values = {**made_by, **packages, "protocol": f"{row.protocol}, version {row.protocol_version}"}
        if row.evaluation_fingerprint:
            values[f"true masks of {row.split}, {row.stage.replace('_', ' ')}"] = row.evaluation_fingerprint
        if row.training_fingerprint:
            values[f"weak set, {row.setting}"] = row.training_fingerprint
        for name, value in values.items():
            found.setdefault(name, {})[str(value)] = None
    return [(name, ", ".join(values)) for name, values in found.items()]


def _lines(table: Table, shown: Shown) -> Iterator[Line]:
    apart = _apart(table)
    ranks = [line[table.columns.index("rank")] for line in table.lines] if "rank" in table.columns else []
    settings = sorted({row.setting for row in shown.rows})
    for n, texts in enumerate(table.lines):
        cells = tuple((MARK.sub("", text), tuple(MARK.findall(text))) for text in texts)
        made_of = table.made_of[n]
        recipe, setting = made_of.option_set.recipe, made_of.setting
        command, trace = _command(shown, recipe, setting, settings), _trace(shown, recipe, setting)
        yield Line(cells, apart[n], bool(ranks) and ranks[n] != "–", command, trace)


def _apart(table: Table) -> list[str]:
    """For each line the lines that it can be told apart from, as a hexadecimal number with a bit for each."""
    bits = [0] * len(table.lines)
    for one, other in table.apart:
        bits[one] |= 1 << other
        bits[other] |= 1 << one
    return [f"{each:x}" for each in bits]


def _command(shown: Shown, recipe: str, setting: str, settings: Sequence[str]) -> str:
    """What runs a recipe under a setting alone, with all that the command line changed of the suite.

    Of a leaderboard that rows were added to, what scores a line's masks again, or holds its counts against its numbers.
    """
    if shown.is_shared:
        is_scored = any(row.recipe == recipe and row.masks_sha256 for row in shown.rows)
        folder = shown.folder or "."
        checks = ["leaderboard", "verify", recipe, "--leaderboard", folder] if is_scored else ["report", folder]
        return shlex.join(["seedbed", *checks])
    overrides = [note.removeprefix("--set ") for note in shown.notes if note.startswith("--set ")]
    overrides += [f"recipes_of.{setting}={json.dumps([recipe])}"]
    overrides += [f"settings.{name}=null" for name in settings if name != setting]
    return shlex.join(["seedbed", "run", shown.name, *(word for each in overrides for word in ("--set", each))])


def _trace(shown: Shown, recipe: str, setting: str) -> str:
    """What prints the counts that the numbers of a line come from."""
    return shlex.join(["seedbed", "report", shown.folder or ".", "--trace", f"{recipe}@{setting}"])


def _note(text: str) -> tuple[str, str]:
    match = re.match(r"\[(\d+)\] ", text)
    return (match[1], text[match.end() :]) if match else ("", text)
