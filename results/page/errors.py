"""Where the lines of a board lose the IoU of each class: missed, taken, or confused with another class."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from typing import NamedTuple

import numpy as np

from results.page.counts import Counts
from results.pair import ErrorSplit, error_splits
from results.shown import Table

__all__ = ["MAX_LINES", "Errors", "errors_of"]

MAX_LINES = 60
"""Lines whose errors a page shows: those of the best."""
NOTHING = "–"


class Split(NamedTuple):
    """Where the IoU of a class is lost, as it is shown: shares of its union with three decimals, or a dash."""

    name: str
    iou: str
    missed: str
    taken: str
    confused: str
    mostly: str
    """The two classes that it is confused with most."""


@dataclass(frozen=True)
class Errors:
    """The errors of a board's lines at one scored stage."""

    scored: str
    lines: tuple[tuple[str, tuple[Split, ...]], ...]
    """By name of a line, its classes, the background first."""
    left_out: int
    """Lines that are not among them, since there are too many."""


def errors_of(table: Table, counts: Counts) -> Errors | None:
    """Of the stage that the board is ranked by; None where no line has counts of all its rng seeds."""
    if table.leading is None:
        return None
    found = []
    for line in table.made_of:
        cell = line.cells.get(table.leading)
        if cell is None or cell.holes:
            continue
        sums = [counts.sums[row.identity] for row in cell.rows if row.identity in counts.sums]
        if len(sums) == len(cell.rows):
            confusion_SKK = np.stack([each.confusion_KK for each in sums])
            splits = tuple(map(_shown, error_splits(confusion_SKK, cell.rows[0].classes)))
            found.append((f"{line.name} · {line.setting}", splits))
    if not found:
        return None
    return Errors(table.leading.title, tuple(found[:MAX_LINES]), len(found[MAX_LINES:]))


def _shown(split: ErrorSplit) -> Split:
    if isnan(split.lost):
        return Split(split.name, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING)
    confused = sum(share for _, share in split.confused)
    mostly = ", ".join(f"{other} {share:.3f}" for other, share in split.confused[:2])
    return Split(
        split.name,
        iou=f"{1 - split.lost:.3f}",
        missed=f"{split.missed:.3f}",
        taken=f"{split.taken:.3f}",
        confused=f"{confused:.3f}",
        mostly=mostly or NOTHING,
    )
