"""The page of a leaderboard: what its folder holds, put into one HTML file."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from harness.reports.files import LeaderboardFiles
from results.diagnostics import read_csv, table
from results.rows import Row
from results.shown import Table, unmarked

if TYPE_CHECKING:
    from results.page import Picture, Shown

__all__ = ["diagnostics_of", "head_of", "page_of", "shown_of"]

PICTURES_BYTES = 5_500_000
"""Of all pictures of a leaderboard together: as text of a page they take a third more."""
WIDTHS = (1000, 800, 600, 400)
"""Of a picture on the page, in pixels: the first with which it keeps its share of the bytes."""
MOST_HIGH = 16_383
"""Pixels of a WebP."""
PHOTOS = "photos-"
"""How the names of sheets begin that show photos of others; the same sheet with outlines has another beginning."""


def page_of(leaderboards: Sequence[Shown], outlines: bool) -> str:
    """The page of some leaderboards; `outlines` says that they were read without photos of others."""
    from results.page import render

    return render(leaderboards, outlines)


def shown_of(
    files: LeaderboardFiles, rows: Sequence[Row], tables: Sequence[Table], folder: Path, outlines: bool
) -> Shown:
    """What a page shows of a leaderboard: its rows and tables, and what lies in the folder of `files`.

    `folder` is what the command that checks the numbers names: the leaderboard's folder, or `.` for the page's own.
    With `outlines` sheets that show photos of others are left to those that show their outlines. Raises UserError for
    damaged diagnostics.
    """
    # What renders takes long to import, and who runs a suite whose leaderboard is written already needs none of it.
    from results.page import Shown

    name, description, notes = _told(head_of(files))
    curves = None
    if files.training_csv.exists():
        import pandas as pd

        curves = pd.read_csv(files.training_csv)
    below, pictures = tuple(diagnostics_of(files)), tuple(_pictures(files, outlines))
    return Shown(
        name or folder.resolve().name, description, notes, tuple(tables), tuple(rows), below, curves, pictures,
        str(folder), files.log.exists(),
    )  # fmt: skip


def head_of(files: LeaderboardFiles) -> str:
    """What stands above the first table of table.md: suite and run; empty where there is no such file."""
    if not files.table_markdown.exists():
        return ""
    head, _, _ = files.table_markdown.read_text(encoding="utf-8").partition("\n## ")
    return head


def diagnostics_of(files: LeaderboardFiles) -> list[Table]:
    """The table of what was measured beside the rows; none where nothing was. Raises UserError for a damaged file."""
    if not files.diagnostics.exists():
        return []
    return [table(read_csv(files.diagnostics))]


def _told(head: str) -> tuple[str, str, tuple[str, ...]]:
    """Name, description and notes of the text above the tables."""
    title, *lines = head.strip().splitlines() or [""]
    notes = tuple(unmarked(line[2:]) for line in lines if line.startswith("- "))
    description = " ".join(unmarked(line) for line in lines if line and not line.startswith("- "))
    return unmarked(title.removeprefix("# ")), description, notes


def _pictures(files: LeaderboardFiles, outlines: bool) -> Iterator[Picture]:
    drawn = {files.table_png, files.noise_png, files.training_png}
    found = sorted(path for path in files.folder.glob("*.png") if path not in drawn)
    with_photos = [path for path in found if path.name.startswith(PHOTOS)]
    if outlines:
        found = [path for path in found if path not in with_photos]
    else:
        twins = {path.name.removeprefix(PHOTOS) for path in with_photos}
        found = [path for path in found if path in with_photos or path.name.partition("-")[2] not in twins]
    for path in found:
        yield _picture(path, PICTURES_BYTES // len(found))


def _picture(path: Path, most: int) -> Picture:
    """A sheet as a smaller WebP: within `most` bytes, if the least of `WIDTHS` can do that."""
    from PIL import Image

    from results.page import Picture

    with Image.open(path) as opened:
        image = opened.convert("RGB")
    data = b""
    for width in WIDTHS:
        image.thumbnail((width, MOST_HIGH), reducing_gap=2.0)
        written = BytesIO()
        image.save(written, "WEBP", quality=70, method=2)
        data = written.getvalue()
        if len(data) <= most:
            break
    text = base64.b64encode(data).decode()
    return Picture(path.stem, f"data:image/webp;base64,{text}", *image.size)
