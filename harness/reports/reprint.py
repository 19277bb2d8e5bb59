"""A kept leaderboard's tables and page made anew from what lies in its folder: nothing is run or scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from harness.reports.files import LeaderboardFiles
from harness.reports.folder import latex_of, write_figures, write_tables
from harness.reports.grids import design_of_folder, grids_shown, write_grid
from harness.reports.page import counts_of, further_of, head_of, page_of, shown_of
from harness.store.backends.urls import is_url
from harness.store.layout import LEADERBOARDS
from harness.store.store import Store
from harness.suites.suite import load_suite, ready_suites
from results.counted import ImageSums, sums_of_folder
from results.grids import Grids, measured_grids
from results.rows import Row, frame, read_rows
from results.shown import Table
from results.tables import tables
from settings.config import existing_folder
from settings.errors import UserError

__all__ = ["Reprinted", "folders_of", "report_pages", "report_text", "reprint", "write_output"]


class Reprinted(NamedTuple):
    """What a leaderboard's folder holds, read and checked."""

    rows: list[Row]
    tables: list[Table]
    sums: dict[int, ImageSums]
    """What the rows were scored from, by their position."""
    grids: Grids | None
    """What they say of its grid; None without one."""


def folders_of(what: Sequence[str], store: str) -> list[Path]:
    """The leaderboards' folders that are meant: each a folder of one, a store with several, or a suite that was run.

    A suite's lies in `store`. Raises UserError for what is neither, and for a store without any leaderboard.
    """
    found: list[Path] = []
    for each in what:
        if is_url(each):
            found += _leaderboards(Store.at(each).root)
            continue
        folder = existing_folder(Path(each))
        if folder is None and (each in ready_suites() or Path(each).suffix in (".yaml", ".yml")):
            suite = load_suite(each)
            found.append(Store.at(store).leaderboard_folder(suite.folder_name))
        elif folder is not None and (folder / LEADERBOARDS).is_dir():
            found += _leaderboards(folder)
        else:
            found.append(folder or Path(each))
    return found


def _leaderboards(store: Path) -> list[Path]:
    folders = sorted(path.parent for path in (store / LEADERBOARDS).glob(f"*/{LeaderboardFiles(store).rows.name}"))
    if not folders:
        raise UserError(store, f"no leaderboard in {LEADERBOARDS}/", "a store on which a suite was run")
    return folders


def report_pages(
    folders: Sequence[Path], output: Path | None, outlines: bool, show: Callable[[list[Table]], None]
) -> list[Path]:
    """Make leaderboards anew and write their pages: one of all of them as `output`, else one into each folder.

    `show` is called with the tables of each. Each page has its figures beside it, as PNG and PDF. Returns the pages.
    Raises what `reprint` raises, and UserError for what cannot be written.
    """
    parts = []
    for folder in folders:
        found = reprint(folder)
        show([*found.tables, *(found.grids.tables if found.grids else [])])
        files = LeaderboardFiles(folder)
        counts = counts_of(files, found.rows, found.tables, found.sums)
        grids = grids_shown(found.grids, folder)
        parts.append(shown_of(files, found.rows, found.tables, counts, folder, outlines, grids))
    pages = {LeaderboardFiles(folder).page: [part] for folder, part in zip(folders, parts, strict=True)}
    if output is not None:
        pages = {output: parts}
    for path, of_page in pages.items():
        page = page_of(of_page)
        write_output(path, page.text)
        # Beside the page: of one that was asked for elsewhere in a folder that bears its name.
        figures = path.with_name("figures" if output is None else f"{path.stem}-figures")
        try:
            page.write_figures(figures)
        except OSError as error:
            raise UserError(figures, f"not writable ({error.strerror})", "a place for the page's figures") from None
    return list(pages)


def write_output(path: Path, text: str) -> None:
    """Write what was asked for; raises UserError where it cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError("--output", f"'{path}', which cannot be written ({error.strerror})", "a file") from None


def report_text(folders: Sequence[Path], kind: Literal["md", "latex"], intervals: bool = True) -> str:
    """The tables of leaderboards, made anew, as Markdown or LaTeX. Raises what `reprint` raises.

    Without `intervals` LaTeX tables have no column of them.
    """
    texts = []
    for folder in folders:
        found, files = reprint(folder), LeaderboardFiles(folder)
        paths = [files.table_markdown, files.grid_markdown]
        if kind == "latex":
            texts.append(latex_of(found.tables, intervals))
            paths = [files.grid_latex]
        texts += [path.read_text(encoding="utf-8") for path in paths if path.exists()]
    return "\n".join(texts)


def reprint(folder: Path) -> Reprinted:
    """Write tables and figures of a leaderboard's folder from its rows and counts; return rows and tables.

    What stands above the first table of table.md stays as it is. Raises UserError for a folder that is no leaderboard,
    for damaged files, and for counts that contradict their rows.
    """
    if existing_folder(folder) is None:
        raise UserError(folder, "no folder", "a leaderboard's folder, as a run leaves it")
    files = LeaderboardFiles(folder)
    if not files.rows.exists():
        raise UserError(folder, "no rows.parquet", "a leaderboard's folder, as a run leaves it")
    rows = read_rows(files.rows)
    sums = sums_of_folder(rows, files.score_counts, files.sweep_counts)
    by_identity = {rows[position].identity: found for position, found in sums.items()}

    def counts(row: Row) -> ImageSums | None:
        return by_identity.get(row.identity)

    found = tables(frame(rows), counts=counts)
    head = head_of(files) or f"# {folder.resolve().name}\n\n"
    write_tables(files, found, head, [further.table for further in further_of(files)])
    write_figures(rows, found, files)
    design = design_of_folder(files)
    if design is None:
        return Reprinted(rows, found, sums, None)
    grids = measured_grids(design, rows, counts)
    write_grid(files, grids, head)
    return Reprinted(rows, found, sums, grids)
