"""What the page shows of one leaderboard, in the order in which its sections stand."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from results.glance import leading_records, name_among
from results.page.help import help_of
from results.rows import STAGES, Row
from results.shown import BY_CLASS, TEXTS, Table

__all__ = ["Board", "Cell", "HeatMap", "Picture", "Shown", "Steps", "board_of", "provenance_of"]

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
    below: tuple[Table, ...] = ()
    """Further tables: diagnostics."""
    curves: pd.DataFrame | None = None
    """Training losses, with the columns of `results.curves`."""
    pictures: tuple[Picture, ...] = ()
    folder: str = ""
    """The leaderboard's folder, for the command that holds every number against its count; `.` is the page's own."""
    is_shared: bool = False
    """Whether rows were added to it, of which no suite tells how they are made."""


class Cell(NamedTuple):
    """A number on a heat map; `share` (0..1) is its place between the map's least and greatest, for its colour."""

    text: str
    share: float | None


@dataclass(frozen=True)
class HeatMap:
    """A table of numbers with a colour for each: a row has a name, and a cell for each column."""

    title: str
    explained: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class Steps:
    """What becomes of the mIoU of each line from stage to stage; a step is the difference to the stage before."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    """The name of a line, and for each stage its mIoU and the step to it, either empty where there is none."""


@dataclass(frozen=True)
class Line:
    """A line of a board's table."""

    cells: tuple[tuple[str, tuple[str, ...]], ...]
    """The text of each cell, and the numbers of its footnotes."""
    apart: str
    """The numbers of the lines that it can be told apart from, with spaces between them."""
    is_placed: bool
    command: str


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
    steps: Steps | None


def board_of(table: Table, shown: Shown) -> Board:
    """Prepare a board's table for the page."""
    columns = tuple((title, title in ("recipe", *TEXTS), help_of(title)) for title in table.columns)
    lines = tuple(_lines(table, shown))
    by_class = next((_by_class(section) for section in table.sections if section.title == BY_CLASS), None)
    sections = tuple(section for section in table.sections if section.title != BY_CLASS)
    notes, steps = tuple(map(_note, table.notes)), _steps(table.records)
    return Board(table, columns, lines, notes, sections, _by_setting(table), by_class, steps)


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
    apart: dict[int, set[int]] = {n: set() for n in range(len(table.lines))}
    for one, other in table.apart:
        apart[one].add(other)
        apart[other].add(one)
    by_title = [dict(zip(table.columns, line, strict=True)) for line in table.lines]
    ranked = [values.get("rank", "–") != "–" for values in by_title]
    only_setting = _only_setting(table)
    for n, values in enumerate(by_title):
        cells = tuple((MARK.sub("", text), tuple(MARK.findall(text))) for text in table.lines[n])
        setting = values.get("setting", only_setting)
        recipe = MARK.sub("", values["recipe"]).removesuffix(" †").rstrip(" ‡§").partition(" (")[0]
        yield Line(cells, " ".join(map(str, sorted(apart[n]))), ranked[n], _command(shown, recipe, setting))


def _only_setting(table: Table) -> str:
    settings = {record["setting"] for record in table.records}
    return settings.pop() if len(settings) == 1 else ""


def _command(shown: Shown, recipe: str, setting: str) -> str:
    """What runs a recipe under a setting alone, with all that the command line changed of the suite.

    Of a leaderboard that rows were added to, what scores a line's masks again, or holds its counts against its numbers.
    """
    if shown.is_shared:
        is_scored = any(row.recipe == recipe and row.masks_sha256 for row in shown.rows)
        folder = shown.folder or "."
        checks = ["leaderboard", "verify", recipe, "--leaderboard", folder] if is_scored else ["report", folder]
        return shlex.join(["seedbed", *checks])
    overrides = [note.removeprefix("--set ") for note in shown.notes if note.startswith("--set ")]
    if setting:
        others = sorted({row.setting for row in shown.rows} - {setting})
        overrides += [f"recipes_of.{setting}={json.dumps([recipe])}", *(f"settings.{name}=null" for name in others)]
    return shlex.join(["seedbed", "run", shown.name, *(word for each in overrides for word in ("--set", each))])


def _note(text: str) -> tuple[str, str]:
    match = re.match(r"\[(\d+)\] ", text)
    return (match[1], text[match.end() :]) if match else ("", text)


def _by_setting(table: Table) -> HeatMap | None:
    """Recipe × setting at the leading stage, with intervals; None for a single setting."""
    found = leading_records(table)
    if found is None:
        return None
    column, here = found
    settings = tuple(dict.fromkeys(record["setting"] for record in here))
    if len(settings) < 2:
        return None
    values = {(name_among(record, here), record["setting"]): record for record in here}
    names = list(dict.fromkeys(name for name, _ in values))
    rows = [(name, [values.get((name, setting)) for setting in settings]) for name in names]
    scale = [record["miou"] for record in values.values()]
    shown = tuple((name, tuple(_with_interval(record, scale) for record in row)) for name, row in rows)
    return HeatMap(
        f"Recipes by setting, {column.title}",
        "mIoU with its 95 % interval; the stronger the colour, the higher",
        settings,
        shown,
    )


def _with_interval(record: Mapping[str, Any] | None, scale: Sequence[float]) -> Cell:
    if record is None:
        return Cell("–", None)
    text = f"{record['miou']:.3f}"
    if record["interval_low"] is not None:
        text += f" [{record['interval_low']:.3f}, {record['interval_high']:.3f}]"
    return Cell(text, _share(record["miou"], scale))


def _by_class(section: Table) -> HeatMap:
    """The section by class as a heat map, one scale for all of it."""
    told = [name for name in ("recipe", "setting", "scored") if name in section.columns]
    classes = section.columns[len(told) :]
    scale = [value for record in section.records for name in classes if (value := record.get(name)) is not None]
    rows = []
    for line, record in zip(section.lines, section.records, strict=True):
        shares = [None if (value := record.get(name)) is None else _share(value, scale) for name in classes]
        cells = tuple(Cell(text, share) for text, share in zip(line[len(told) :], shares, strict=True))
        rows.append((" · ".join(line[: len(told)]), cells))
    explained = (
        "mean IoU over rng seeds; the stronger the colour, the higher; – where a class is not defined for all of them"
    )
    return HeatMap(section.title, explained, classes, tuple(rows))


def _share(value: float, scale: Sequence[float]) -> float:
    low, high = min(scale), max(scale)
    return 1.0 if high == low else (value - low) / (high - low)


def _signed(difference: float) -> str:
    text = f"{difference:+.3f}"
    return "±0.000" if float(text) == 0 else text


def _steps(records: Sequence[Mapping[str, Any]]) -> Steps | None:
    """From maps to segmentation, a line of the board each; None where no line was scored at two stages."""
    stages = sorted({(STAGES.index(r["stage"]), r["variant"]) for r in records if r["miou"] is not None})
    by_line: dict[tuple[str, str, str], dict[tuple[int, str], float]] = {}
    for record in records:
        if record["miou"] is not None:
            line = (record["recipe"], record["setting"], record["options"])
            by_line.setdefault(line, {})[STAGES.index(record["stage"]), record["variant"]] = record["miou"]
    rows = []
    for (recipe, setting, _), values in by_line.items():
        before: float | None = None
        cells = []
        for stage in stages:
            value = values.get(stage)
            step = "" if value is None or before is None else _signed(value - before)
            cells.append(("" if value is None else f"{value:.3f}", step))
            before = before if value is None else value
        rows.append((f"{recipe} · {setting}", tuple(cells)))
    if not any(step for _, cells in rows for _, step in cells):
        return None
    titles = tuple(f"{STAGES[place].replace('_', ' ')} {variant}".strip() for place, variant in stages)
    return Steps(titles, tuple(rows))
