"""The page of a leaderboard: what its folder holds, put into one HTML file."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness.reports.files import LeaderboardFiles
from results.counted import ImageSums, sums_of_folder, sweeps_of_folder
from results.diagnostics import read_csv, table
from results.oracle_gap import MAPS
from results.rows import Row
from results.selection import is_ranked
from results.shown import Further, Table, unmarked
from settings.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

    from results.page import Counts, Figure, Picture, Shown, Tiles

__all__ = ["PICTURES_BYTES", "Page", "counts_of", "further_of", "head_of", "page_of", "shown_of"]

PICTURES_BYTES = 5_500_000
"""Of all pictures of a leaderboard together: as text of a page they take a third more."""
WIDTHS = (1000, 800, 600, 400)
"""Of a picture on the page, in pixels: the first with which it keeps its share of the bytes."""
MOST_HIGH = 16_383
"""Pixels of a WebP."""
PHOTOS = "photos-"
"""How the names of sheets begin that show photos of others; the same sheet with outlines has another beginning."""


class Page(NamedTuple):
    """A page, and its figures by the stems of the files that they may be kept in."""

    text: str
    figures: dict[str, Drawing]

    def write_figures(self, folder: Path) -> None:
        """Write each figure as PNG and PDF, the same files for the same page. Raises OSError where it cannot."""
        folder.mkdir(exist_ok=True)
        for stem, drawing in self.figures.items():
            drawing.savefig(folder / f"{stem}.png", dpi=160, metadata={"Software": None})
            drawing.savefig(folder / f"{stem}.pdf", metadata={"CreationDate": None, "Producer": None})


def page_of(leaderboards: Sequence[Shown]) -> Page:
    """The page of some leaderboards."""
    from results.page import render

    figures: dict[str, Drawing] = {}

    def keep(shown: Shown, figure: Figure) -> None:
        words = f"{shown.name} {figure.title}" if len(leaderboards) > 1 else figure.title
        figures[re.sub(r"[^\w+.]+", "-", words).strip("-.").lower()] = figure.drawing

    return Page(render(leaderboards, keep), figures)


def shown_of(
    files: LeaderboardFiles,
    rows: Sequence[Row],
    tables: Sequence[Table],
    counts: Counts,
    folder: Path,
    outlines: bool,
    grids: Sequence[Further] = (),
) -> Shown:
    """What a page shows of a leaderboard: rows, tables, counts, its grid, and what lies in the folder of `files`.

    `folder` is what the commands name that trace numbers: the leaderboard's folder, or `.` for the page's own. With
    `outlines` pictures of others' photos are left to those that show their outlines. Raises UserError for damaged
    files.
    """
    # What renders takes long to import, and who runs a suite whose leaderboard is written already needs none of it.
    from results.page import Shown

    name, description, notes = _told(head_of(files))
    curves = None
    if files.training_csv.exists():
        import pandas as pd

        curves = pd.read_csv(files.training_csv)
    tiles = _tiles(files, outlines)
    # The sheets show the same photos once more.
    pictures = () if tiles else tuple(_pictures(files, outlines))
    if tiles:
        has_photos = not outlines and files.photo_tiles.exists()
    else:
        has_photos = any(picture.name.startswith(PHOTOS) for picture in pictures)
    return Shown(
        name or folder.resolve().name,
        description,
        notes,
        tuple(tables),
        tuple(rows),
        counts=counts,
        further=(*grids, *further_of(files)),
        curves=curves,
        pictures=pictures,
        tiles=tiles,
        has_photos=has_photos,
        folder=str(folder),
        is_shared=files.log.exists(),
    )


def counts_of(
    files: LeaderboardFiles,
    rows: Sequence[Row],
    tables: Sequence[Table],
    sums: Mapping[int, ImageSums] | None = None,
) -> Counts:
    """What the page shows of the counts that lie beside the rows; `sums` are what was read of all rows before."""
    from results.page import Counts, wanted_rows

    if sums is None:
        wanted = {row.identity for row in wanted_rows(tables)}
        positions = [n for n, row in enumerate(rows) if row.identity in wanted]
        sums = sums_of_folder(rows, files.score_counts, files.sweep_counts, positions)
    in_sweeps = [
        n for n, row in enumerate(rows) if row.stage in MAPS and row.miou is not None and is_ranked(row.policy)
    ]
    sweeps = sweeps_of_folder(rows, files.sweep_counts, in_sweeps)
    return Counts(
        {rows[n].identity: found for n, found in sums.items()}, {rows[n].identity: found for n, found in sweeps.items()}
    )


def head_of(files: LeaderboardFiles) -> str:
    """What stands above the first table of table.md: suite and run; empty where there is no such file."""
    if not files.table_markdown.exists():
        return ""
    head, _, _ = files.table_markdown.read_text(encoding="utf-8").partition("\n## ")
    return head


def further_of(files: LeaderboardFiles) -> Iterator[Further]:
    """What the folder holds beside its boards. Raises UserError for a damaged file."""
    for read in FURTHER:
        yield from read(files)


def _diagnostics(files: LeaderboardFiles) -> Iterator[Further]:
    """The table of what was measured beside the rows; nothing where nothing was."""
    if files.diagnostics.exists():
        yield Further(table(read_csv(files.diagnostics)))


FURTHER: tuple[Callable[[LeaderboardFiles], Iterable[Further]], ...] = (_diagnostics,)
"""What reads the further tables and figures of a leaderboard's folder: each looks for its own files."""


def _told(head: str) -> tuple[str, str, tuple[str, ...]]:
    """Name, description and notes of the text above the tables."""
    title, *lines = head.strip().splitlines() or [""]
    notes = tuple(unmarked(line[2:]) for line in lines if line.startswith("- "))
    description = " ".join(unmarked(line) for line in lines if line and not line.startswith("- "))
    return unmarked(title.removeprefix("# ")), description, notes


def _tiles(files: LeaderboardFiles, outlines: bool) -> Tiles | None:
    """The pictures of a leaderboard's folder; None where it has none. Raises UserError for a damaged file."""
    from results.page import Tiles

    path = files.tiles
    if not outlines and files.photo_tiles.exists():
        path = files.photo_tiles
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        images = tuple(found["images"])
        if not all(isinstance(image, str) and image.startswith("data:image/webp;base64,") for image in images):
            raise ValueError("pictures that are no WebP")
        colours = {str(name): str(colour) for name, colour in found["colours"].items()}
        if not all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours.values()):
            raise ValueError("colours that are none")
        return Tiles(images, dict(found["photos"]), colours)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(path, "no pictures of photos", "the file that a run wrote", "run the suite again") from None


def _pictures(files: LeaderboardFiles, outlines: bool) -> Iterator[Picture]:
    drawn = {files.table_png, files.noise_png, files.training_png, files.grid_png, files.effects_png}
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
