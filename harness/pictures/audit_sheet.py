"""A picture of what an audit dropped: each photo beside the one that it shows again, with the reason under both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.inspection.auditing import Audited
from harness.pictures.contact_sheet import Cell, short, small, write_cells
from settings.audit import Drop
from settings.errors import UserError
from settings.records import Photo

MOST = 48
"""Drops that are drawn; near-duplicates come first."""
ORDER = ("near duplicate", "exact duplicate", "tiny", "unreadable")


def write_audit_sheet(path: Path, audits: Sequence[Audited]) -> str:
    """Write the picture and say so; nothing is written where nothing was dropped. UserError where that cannot be."""
    found = [(audited, drop) for audited in audits if audited.offer.audit for drop in audited.offer.audit.drops]
    if not found:
        return "nothing was dropped: no picture"
    found.sort(key=lambda pair: ORDER.index(pair[1].reason))
    cells = [cell for audited, drop in found[:MOST] for cell in _cells(audited, drop)]
    title = f"{len(found)} extra photos dropped, each beside its twin" + (f" (the first {MOST})" * (len(found) > MOST))
    write_cells(path, cells, title)
    return f"wrote {path}"


def _cells(audited: Audited, drop: Drop) -> Iterator[Cell]:
    declared = {photo.id: photo for photo in audited.offer.declared}
    bits = f", {drop.distance} bits" if drop.distance else ""
    yield _cell(declared, drop.photo_id, f"{drop.reason}{bits}")
    if drop.twin:
        others = declared | {photo.id: photo for photo in audited.evaluation}
        yield _cell(others, drop.twin, "twin")


def _cell(photos: Mapping[str, Photo], photo_id: str, what: str) -> Cell:
    caption = f"{short(photo_id)}\n{what}"
    try:
        return Cell(caption, small(photos[photo_id].image()))
    except UserError:
        return Cell(caption, None)
