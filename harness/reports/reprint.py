"""A kept leaderboard's tables made anew from the rows and counts that lie in its folder: nothing is run or scored."""

from __future__ import annotations

from pathlib import Path

from harness.reports.folder import LeaderboardFiles, write_tables
from results.counted import sums_of_folder
from results.diagnostics import read_csv, table
from results.rows import frame, read_rows
from results.shown import Table
from results.tables import tables
from settings.config import existing_folder
from settings.errors import UserError

__all__ = ["reprint"]


def reprint(folder: Path) -> list[Table]:
    """Write table.md, table.csv and table.tex of a leaderboard's folder from its rows and counts; return the tables.

    What stands above the first table stays as it is. Raises UserError for a folder that
    is no leaderboard, for damaged files, and for counts that contradict their rows.
    """
    if existing_folder(folder) is None:
        raise UserError(folder, "no folder", "a leaderboard's folder, as a run leaves it")
    files = LeaderboardFiles(folder)
    if not files.rows.exists():
        raise UserError(folder, "no rows.parquet", "a leaderboard's folder, as a run leaves it")
    rows = read_rows(files.rows)
    sums = sums_of_folder(rows, files.score_counts, files.sweep_counts)
    by_identity = {rows[position].identity: found for position, found in sums.items()}
    found = tables(frame(rows), counts=lambda row: by_identity.get(row.identity))
    below = [table(read_csv(files.diagnostics))] if files.diagnostics.exists() else []
    write_tables(files, found, _head(files.table_markdown, folder), below)
    return found


def _head(path: Path, folder: Path) -> str:
    """What stands above the first table of a table.md: what the suite is, and what is to be known of the run."""
    if not path.exists():
        return f"# {folder.resolve().name}\n\n"
    head, _, _ = path.read_text(encoding="utf-8").partition("\n## ")
    return head
