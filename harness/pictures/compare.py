"""`seedbed compare`: two lines held against each other, as text and, beside it, a sheet of what changed most."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.reports.sides import Sides
from results.pair import Change, Pair, compared
from results.pair_tables import pair_record, pair_tables
from results.shown import Table
from settings.errors import UserError
from settings.files import write_bytes

__all__ = ["PHOTOS_SHEET", "SHEET", "Comparison", "Drawing", "compare"]

SHEET, PHOTOS_SHEET = "sheet.png", "photos-sheet.png"
"""The file of a sheet; the second where its photos are not ours: the repository ignores such names."""

Drawing = Callable[[Sides, Sequence[Change]], tuple[str, bytes]]
"""Draws the sheet of some photos: the name of its file and the PNG; raises UserError where there is nothing to draw."""


@dataclass(frozen=True)
class Comparison:
    """A pair of lines with what is told of it."""

    pair: Pair
    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    sheet: str = ""
    """Where the sheet lies, or why there is none; empty where none was asked for."""

    def to_markdown(self) -> str:
        """The tables, one below the other."""
        return "\n\n".join(table.to_markdown() for table in self.tables)

    def to_latex(self) -> str:
        """The tables for the package booktabs."""
        return "\n\n".join(table.to_latex() for table in self.tables)

    def to_json(self) -> str:
        """The numbers, unrounded; null stands for what is not defined."""
        return json.dumps({**pair_record(self.pair), "notes": list(self.notes)}, indent=1)


def compare(sides: Sides, output: Path | None = None, drawing: Drawing | None = None) -> Comparison:
    """Compare two sides; with `output` leave the texts in that folder, and what `drawing` draws of the photos."""
    pair = compared(sides.a, sides.b)
    found = Comparison(pair, tuple(pair_tables(pair, sides.scored, sides.notes)), sides.notes)
    if output is None:
        return found
    texts = {"md": found.to_markdown(), "json": found.to_json(), "tex": found.to_latex()}
    try:
        for ending, text in texts.items():
            write_bytes(output / f"comparison.{ending}", f"{text}\n".encode())
        for name in (SHEET, PHOTOS_SHEET):
            # One of another pair would be taken for this one's.
            (output / name).unlink(missing_ok=True)
        sheet = "no sheet: no photo changed"
        if drawing is None:
            sheet = "no sheet: masks are drawn of the recipes of a --suite, and of folders"
        elif pair.changed:
            sheet = _drawn(sides, pair, output, drawing)
    except OSError as error:
        raise UserError("--output", f"'{output}', which cannot be written ({error.strerror})", "a folder") from None
    return replace(found, sheet=sheet)


def _drawn(sides: Sides, pair: Pair, output: Path, drawing: Drawing) -> str:
    """Write the sheet and return its path, or why there is none: the numbers are there without it."""
    try:
        name, png = drawing(sides, pair.changed)
    except UserError as error:
        return f"no sheet: {error}"
    write_bytes(output / name, png)
    return str(output / name)
