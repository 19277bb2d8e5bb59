"""What the page shows of one leaderboard, in the order in which its sections stand."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pandas as pd

from results.glance import FLOOR
from results.lines import Line as Made
from results.page.counts import Counts
from results.page.errors import Errors, errors_of
from results.page.heat_maps import HeatMap, by_class, by_setting, gains
from results.page.help import ABOVE_FLOOR, help_of
from results.page.photos import PhotoScores, Tiles, scores_of
from results.page.steps import Steps, steps_of
from results.published import published
from results.rows import Row
from results.selection import is_ranked
from results.shown import BY_CLASS, TEXTS, Further, Table
from results.tables import STALE
from results.verdict_tables import HEAD

__all__ = ["Board", "Picture", "Shown", "board_of", "provenance_of"]

BESIDE = HEAD[::-1]
"""The columns beside which it stands what a line has more than the floor: the first that there is."""
MARK = re.compile(r" \[(\d+)\]")
"""A footnote's mark, as `results.tables` puts it behind a cell."""
UNCOMMITTED = "uncommitted changes"
NUMBER = re.compile(r"\[(\d+)\] ")
"""The same in front of the footnote."""


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
    has_photos: bool = False
    """Whether any of the pictures shows a photo of others as it is."""
    folder: str = ""
    """The leaderboard's folder, for the command that holds every number against its count; `.` is the page's own."""
    is_shared: bool = False
    """Whether rows were added to it, of which no suite tells how they are made."""


@dataclass(frozen=True)
class Line:
    """A line of a board's table."""

    name: str
    """Recipe and setting."""
    cells: tuple[tuple[str, tuple[str, ...]], ...]
    """The text of each cell, and the numbers of its footnotes."""
    apart: str
    """The lines that it can be told apart from: a hexadecimal number with a bit for each."""
    is_placed: bool
    command: str
    """What runs it."""
    trace: str
    """What prints the counts behind its numbers."""
    compare: str
    """What tells its Δ anew, by class and photo too; empty where it is held against no line."""
    is_stale: bool
    """Whether it was made by other sources than today's."""


@dataclass(frozen=True)
class Board:
    """A board's table and what is derived from it."""

    table: Table
    columns: tuple[tuple[str, bool, str], ...]
    """The title of each column, whether it holds words, and what it says: those of the table, and what is above the
    floor."""
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    """What the columns and signs say, without what the title says."""
    marks: tuple[tuple[str, str], ...]
    """The number of a footnote and its text."""
    stale: tuple[tuple[str, str], ...]
    """Likewise, those that tell that a line was made by other sources than today's."""
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
    above = _above_the_floor(table)
    titles = list(table.columns)
    if above:
        titles.insert(_place(table), ABOVE_FLOOR)
    columns = tuple((title, title in ("recipe", *TEXTS), help_of(title)) for title in titles)
    lines = tuple(_lines(table, shown, above))
    numbered = [(match[1], text[match.end() :]) for text in table.notes if (match := NUMBER.match(text))]
    classes = next((by_class(section) for section in table.sections if section.title == BY_CLASS), None)
    return Board(
        table,
        columns,
        lines,
        notes=tuple(text for text in table.notes if text not in table.explained and not NUMBER.match(text)),
        marks=tuple(each for each in numbered if not each[1].startswith(STALE)),
        stale=tuple(each for each in numbered if each[1].startswith(STALE)),
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
    """What the rows were made by and scored on, a name and its values: all rows together, each value once.

    Code and machine stand first, then packages, then what was scored and what was trained on.
    """
    found: dict[tuple[int, str], dict[str, None]] = {}
    for row in rows:
        made_by = json.loads(row.provenance)
        packages = made_by.pop("packages", {})
        if "dirty" in made_by:
            made_by[UNCOMMITTED] = "yes" if made_by.pop("dirty") else "no"
        scored = {"protocol": f"{row.protocol}, version {row.protocol_version}"}
        if row.evaluation_fingerprint:
            name = f"fingerprint of the true masks of {row.split}, {row.stage.replace('_', ' ')}"
            scored[name] = row.evaluation_fingerprint
        trained = {}
        if row.training_fingerprint:
            name = f"fingerprint of the photos and labels of {row.setting}"
            trained[name] = row.training_fingerprint
        for place, values in enumerate((made_by, packages, scored, trained)):
            for name, value in values.items():
                found.setdefault((place, name), {})[str(value)] = None
    in_order = sorted(found.items(), key=lambda item: item[0][0])
    return [(name, ", ".join(values)) for (_, name), values in in_order]


def _above_the_floor(table: Table) -> list[str]:
    """For each line what it has more than the floor of the stage that lines are ranked by; empty without a floor."""
    if table.leading is None or not set(BESIDE) & set(table.columns):
        return []
    values = [cell.mean() if (cell := line.cells.get(table.leading)) else None for line in table.made_of]
    floors = [value for line, value in zip(table.made_of, values, strict=True) if line.option_set.recipe == FLOOR]
    if not floors or floors[0] is None:
        return []
    return ["–" if value is None else f"{value - floors[0]:+.3f}" for value in values]


def _place(table: Table) -> int:
    """Where the column of what is above the floor stands."""
    return next(table.columns.index(title) for title in BESIDE if title in table.columns) + 1


def _lines(table: Table, shown: Shown, above: Sequence[str]) -> Iterator[Line]:
    apart = _apart(table)
    ranks = [line[table.columns.index("rank")] for line in table.lines] if "rank" in table.columns else []
    settings = sorted({row.setting for row in shown.rows})
    for n, texts in enumerate(table.lines):
        cells = [(MARK.sub("", text), tuple(MARK.findall(text))) for text in texts]
        if above:
            cells.insert(_place(table), (above[n], ()))
        made_of = table.made_of[n]
        recipe, setting = made_of.option_set.recipe, made_of.setting
        command, trace = _command(shown, recipe, setting, settings), _trace(shown, recipe, setting)
        compare = _compare(shown, table, made_of)
        yield Line(
            f"{made_of.name}, {setting}",
            tuple(cells),
            apart[n],
            is_placed=bool(ranks) and ranks[n] != "–",
            command=command,
            trace=trace,
            compare=compare,
            is_stale=bool(made_of.stale),
        )


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


def _compare(shown: Shown, table: Table, line: Made) -> str:
    """What tells a line's Δ from the counts."""
    column = table.leading
    against = next(
        (
            record["against"]
            for record in table.records
            if (record["recipe"], record["setting"], record["options"])
            == (line.option_set.recipe, line.setting, line.option_set.options)
            and record["against"] is not None
        ),
        None,
    )
    if column is None or against is None:
        return ""
    words = ["--leaderboard", shown.folder or ".", "--setting", line.setting, "--stage", column.stage]
    words += ["--variant", column.variant] if column.variant else []
    policy = table.records[0]["policy"]
    return shlex.join(["seedbed", "compare", line.option_set.recipe, against, *words, "--policy", policy])


def _trace(shown: Shown, recipe: str, setting: str) -> str:
    """What prints the counts that the numbers of a line come from."""
    return shlex.join(["seedbed", "report", shown.folder or ".", "--trace", f"{recipe}@{setting}"])
