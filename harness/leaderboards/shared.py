"""A leaderboard that rows are added to: what its folder holds, how it is read and checked, and how it is written."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from harness.leaderboards.log import Line, last_of, read_log, row_id, state_of, write_log
from harness.reports.files import LeaderboardFiles
from harness.reports.folder import made_beside, move_all, write_page
from harness.reports.reprint import reprint
from harness.store.layout import MaskFiles
from results.counted import Counted, counts_of_folder, counts_to_keep, sums_of_folder
from results.evaluation import mask_digest
from results.per_image import write_table
from results.rows import TIERS, Row, read_rows, write_rows
from results.shown import Table, markdown
from settings.config import existing_folder
from settings.errors import UserError
from settings.masks import read_mask
from settings.photo_ids import file_of
from settings.records import fingerprint

__all__ = ["Entry", "Shared", "changing", "check_masks", "masks_folder", "read_shared", "write_shared"]


@dataclass(frozen=True)
class Entry:
    """A row with what it was read off."""

    row: Row
    counted: Counted | None
    """None for a hole, for a row that was only published, and where a folder is older than counts."""
    folder: Path
    """Where it comes from: the leaderboard's folder, for messages and for its masks."""
    masks: Path | None = None
    """The folder of its masks, where they were handed in."""


@dataclass(frozen=True)
class Shared:
    """The entries of a leaderboard, and its log."""

    entries: tuple[Entry, ...]
    log: tuple[Line, ...] = ()


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """In the block nobody else changes a leaderboard's folder, which is made where it is not there; others wait.

    Who reads a leaderboard to write it again does both in one block. Raises OSError where the file system has no locks.
    """
    path = LeaderboardFiles(folder).lock
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        # For writing: NFS gives no lock of its own to who only reads.
        with path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_at(file, path):
                # Who held it has taken it away: it locks nothing any more.
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
                with suppress(OSError):
                    # Where nothing was written there was none before.
                    folder.rmdir()
            return


def _is_at(file: TextIO, path: Path) -> bool:
    """Whether that is where an open file lies, and neither nothing nor another one."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def masks_folder(files: LeaderboardFiles, row: Row) -> Path:
    """Where a leaderboard keeps the masks of a row that somebody handed in."""
    return files.masks / row.masks_sha256[:16]


def read_shared(folder: Path) -> Shared:
    """What a leaderboard's folder holds: one that a run wrote, or one that rows were added to.

    Raises UserError for another folder, for damaged files, for counts that contradict their rows, and for rows that
    contradict the log. Masks are not looked at: `check_masks` does that.
    """
    files = LeaderboardFiles(folder)
    if existing_folder(folder) is None or not files.rows.exists():
        found = "no folder" if existing_folder(folder) is None else f"no {files.rows.name}"
        raise UserError(folder, found, "a leaderboard's folder, or a store on which a suite was run")
    rows, log = read_rows(files.rows), read_log(files.log)
    sums_of_folder(rows, files.score_counts, files.sweep_counts)  # raises where counts contradict their row
    counted: dict[int, Counted] = {}
    for part in counts_of_folder(rows, files.score_counts, files.sweep_counts):
        counted |= dict.fromkeys(part.rows, Counted(part.is_sweep, part.table))
    entries = []
    for n, row in enumerate(rows):
        masks = masks_folder(files, row) if row.masks_sha256 else None
        entries.append(Entry(row, counted.get(n), folder, masks))
    _check_log(files, rows, log)
    return Shared(tuple(entries), log)


def _check_log(files: LeaderboardFiles, rows: Iterable[Row], log: Iterable[Line]) -> None:
    latest = last_of(log)
    if not latest:
        return
    by_id = {row_id(row): row for row in rows}
    for name, line in latest.items():
        row = by_id.get(name)
        found = "no such row" if row is None else f"mIoU {row.miou} and counts '{row.counts}'"
        if row is None or state_of(row) != line.state:
            expected = f"mIoU {line.miou} and counts '{line.counts}', as {files.log.name} has them"
            raise UserError(files.rows, f"{found} for {line.recipe} ({name})", expected, "was a file changed by hand?")


def check_masks(entry: Entry) -> None:
    """Raise UserError where the masks that a row was scored from are not there, or are others."""
    row = entry.row
    if entry.masks is None:
        return
    if entry.counted is None:
        raise UserError(entry.folder, f"no counts of {row.recipe}", "those that its masks were scored by")
    ids = sorted(str(image) for image in entry.counted.table.column("image").unique().to_pylist())
    digests = {photo_id: mask_digest(read_mask(file_of(entry.masks, photo_id, MaskFiles.SUFFIX))) for photo_id in ids}
    found = fingerprint(sorted(digests.items()))
    if found != row.masks_sha256:
        expected = f"{row.masks_sha256[:12]}…, as the row of {row.recipe}, rng seed {row.rng_seed}, has it"
        raise UserError(entry.masks, f"masks with the sha256 {found[:12]}…", expected)


def write_shared(shared: Shared, folder: Path) -> list[Table]:
    """Write a leaderboard's folder: rows, counts, masks, log, tables, figure and page; return the tables.

    The same entries give the same files, whatever order they come in. It is called while `changing` the folder.
    """
    files = LeaderboardFiles(folder)
    with made_beside(folder) as made:
        partial = LeaderboardFiles(made)
        entries = sorted(shared.entries, key=lambda entry: entry.row.identity)
        rows = [entry.row for entry in entries]
        write_rows(partial.rows, rows)
        counted = {n: entry.counted for n, entry in enumerate(entries) if entry.counted is not None}
        for path, sweeps in ((partial.score_counts, False), (partial.sweep_counts, True)):
            if (table := counts_to_keep(rows, counted, sweeps)) is not None:
                write_table(path, table)
        for entry in entries:
            _copy_masks(entry, files, partial)
        partial.table_markdown.write_text(_head(rows), encoding="utf-8")
        found = reprint(partial.folder)
        if files.log.exists():
            shutil.copyfile(files.log, partial.log)
        write_log(partial.log, shared.log)
        write_page(partial, found.rows, found.tables)
        # Rows and log together: who is killed before or after leaves one that is whole.
        move_all(partial.folder, folder)
        return found.tables


def _copy_masks(entry: Entry, files: LeaderboardFiles, partial: LeaderboardFiles) -> None:
    """Copy the masks that a row was scored from, and no other file of their folder; those that are there stay."""
    if entry.masks is None or entry.counted is None or masks_folder(files, entry.row).exists():
        return
    for image in entry.counted.table.column("image").unique().to_pylist():
        target = file_of(masks_folder(partial, entry.row), str(image), MaskFiles.SUFFIX)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file_of(entry.masks, str(image), MaskFiles.SUFFIX), target)


def _head(rows: Iterable[Row]) -> str:
    """What stands above the tables: which data set, and how many rows of which tier."""
    by_tier: Mapping[str, list[Row]] = {tier: [] for tier in TIERS}
    names: dict[str, None] = {}
    for row in rows:
        by_tier[row.tier].append(row)
        names[row.dataset] = None
    tiers = [f"{len(by_tier[tier])} {told}" for tier, told in TIERS.items() if by_tier[tier]]
    return f"# {markdown('Leaderboard of ' + ', '.join(names))}\n\nRows: {', '.join(tiers)}.\n\n"
