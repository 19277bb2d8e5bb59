"""Photo by photo: how good each line is on each of them, and the pictures that there are of what it made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

from results.counted import joined_sums
from results.lines import Column
from results.page.counts import Counts
from results.pair import miou_of_images
from results.shown import Table

__all__ = ["MAX_SCORES", "PhotoScores", "Tiles", "scores_of"]

MAX_SCORES = 100_000
"""Scores of a stage that a page holds: half a megabyte."""


@dataclass(frozen=True)
class Tiles:
    """Small pictures of some photos, and of what lines made of them."""

    images: tuple[str, ...]
    """`data:` URIs; the same picture stands here once."""
    photos: Mapping[str, Mapping[str, Any]]
    """By id: `photo` and `truth` (None without a true mask), and by line under `lines` the names and pictures of what
    was made, in the order in which it came about. Pictures are places among `images`."""
    colours: Mapping[str, str]
    """By name of a class the colour that it has in masks and around maps, as `#rrggbb`."""

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {"images": list(self.images), "photos": dict(self.photos)}


@dataclass(frozen=True)
class PhotoScores:
    """mIoU of each photo by line at one scored stage, a mean over rng seeds."""

    stage: str
    split: str
    lines: tuple[str, ...]
    photos: tuple[str, ...]
    classes: tuple[str, ...]
    shown: tuple[tuple[int, ...], ...]
    """For each photo the places of the classes that it truly shows, without the background."""
    per_mille: tuple[tuple[int | None, ...], ...]
    """For each line 1000 · mIoU of each photo; None where the photo has no counted pixel."""
    left_out: int
    """Lines that are not among them, since there are too many."""

    def record(self) -> dict[str, Any]:
        """As JSON."""
        names = ("stage", "split", "lines", "photos", "classes", "shown", "per_mille")
        return {name: getattr(self, name) for name in names}


def scores_of(table: Table, counts: Counts) -> list[PhotoScores]:
    """Of pseudo labels, and of what the board is ranked by; stages that fewer than two lines have are left out."""
    if table.leading is None:
        return []
    columns = {Column("pseudo_labels", ""): None, table.leading: None}
    return [found for column in columns if (found := _scores(table, column, counts)) is not None]


def _scores(table: Table, column: Column, counts: Counts) -> PhotoScores | None:
    found: dict[str, list[int | None]] = {}
    photos: tuple[str, ...] = ()
    shown: tuple[tuple[int, ...], ...] = ()
    classes: Sequence[str] = ()
    split = ""
    left_out = 0
    for line in table.made_of:
        cell = line.cells.get(column)
        if cell is None or cell.holes or not all(row.identity in counts.sums for row in cell.rows):
            continue
        of_seeds = [counts.sums[row.identity] for row in cell.rows]
        sums = joined_sums(of_seeds)
        own = tuple(sorted({image for each in of_seeds for image in each.images}))
        if not found:
            photos, classes, split = own, cell.rows[0].classes[1:], cell.rows[0].split
            shown = tuple(tuple(row_C.nonzero()[0].tolist()) for row_C in sums.truth_NC[:, 1:])
        if len(photos) * (len(found) + 1) > MAX_SCORES:
            left_out += 1
        elif own == photos:
            values = miou_of_images(sums).tolist()
            found[f"{line.name} · {line.setting}"] = [None if isnan(value) else round(1000 * value) for value in values]
    if len(found) < 2:
        return None
    per_mille = tuple(map(tuple, found.values()))
    return PhotoScores(column.title, split, tuple(found), photos, tuple(classes), shown, per_mille, left_out)
