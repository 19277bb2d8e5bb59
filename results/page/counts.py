"""What the page takes from the counts that lie beside a leaderboard's rows."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from results.counted import ImageSums
from results.lines import Column, Line
from results.metrics.sweep import Sweep
from results.oracle_gap import MAPS
from results.rows import Row
from results.selection import is_ranked
from results.shown import Table

__all__ = ["Counts", "maps_column", "wanted_rows"]


@dataclass(frozen=True)
class Counts:
    """By identity of a row: pixels of each photo, and pixels at every threshold."""

    sums: Mapping[Hashable, ImageSums] = field(default_factory=dict)
    sweeps: Mapping[Hashable, Sweep] = field(default_factory=dict)


def wanted_rows(tables: Sequence[Table]) -> list[Row]:
    """The rows whose counts are shown: of ranked boards what the lines are ranked by, and their pseudo labels."""
    found: dict[Hashable, Row] = {}
    for table in tables:
        if not table.records or not is_ranked(table.records[0]["policy"]):
            continue
        for line in table.made_of:
            for column, cell in line.cells.items():
                if column == table.leading or column.stage == "pseudo_labels":
                    found |= {row.identity: row for row in cell.rows if row.miou is not None}
    return list(found.values())


def maps_column(line: Line) -> Column | None:
    """The last maps of a line that were scored; None where there are none."""
    return next((column for stage in reversed(MAPS) for column in line.cells if column.stage == stage), None)
