"""A leaderboard's grid in its folder: the design, tables and figures."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.reports.files import LeaderboardFiles
from harness.stages.planning import Plan
from results.comparisons import CountsOf
from results.grids import Design, Grids, ablation_table, measured_grids
from results.rows import Row
from results.shown import Further, joined_csv
from settings.errors import UserError
from settings.files import read_plain

__all__ = ["design_of_folder", "grids_of_plan", "grids_shown", "write_grid"]


def grids_of_plan(plan: Plan, rows: Sequence[Row], counts: CountsOf) -> Grids | None:
    """What a run's rows say of the grid of its suite; None without a grid."""
    if plan.suite.grid is None:
        return None
    return measured_grids(plan.suite.grid.design_with(plan.skipped), rows, counts)


def design_of_folder(files: LeaderboardFiles) -> Design | None:
    """The grid of a kept leaderboard; None where it has none. Raises UserError for a damaged file."""
    if not files.grid.exists():
        return None
    try:
        return Design.from_json(read_plain(files.grid).decode())
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(files.grid, f"no grid ({error})", "what a run wrote", "run the suite again") from None


def write_grid(files: LeaderboardFiles, grids: Grids, head: str) -> None:
    """Write the design, all tables (Markdown under `head`, CSV, LaTeX), and the figures of cells and effects."""
    files.grid.write_text(grids.design.to_json() + "\n", encoding="utf-8")
    text = "\n\n".join(table.to_markdown() for table in grids.tables)
    files.grid_markdown.write_text(f"{head.rstrip()}\n\n{text}\n", encoding="utf-8")
    latex = "\n\n".join(table.to_latex(without=("seconds",)) for table in grids.tables)
    files.grid_latex.write_text(f"{latex}\n", encoding="utf-8")
    parts = ((files.grid_csv, grids.ablations), (files.effects_csv, grids.effects), (files.variance_csv, grids.shares))
    for path, tables in parts:
        if tables:
            path.write_text(joined_csv(tables), encoding="utf-8")
    _draw(files, grids)


def _draw(files: LeaderboardFiles, grids: Grids) -> None:
    """Draw cells and effects; nothing where no cell was measured."""
    having = grids.measured
    if not having:
        return
    # What draws takes long to import, and a leaderboard that is written already needs none of it.
    from results.grids.plot import plot_cells, plot_effects

    plot_cells(having, files.grid_png, files.grid_svg)
    plot_effects(having, files.effects_png, files.effects_svg)


def grids_shown(grids: Grids | None, folder: Path) -> list[Further]:
    """The tables of a grid for the page, the first of cells and of effects with their figures; none without a grid.

    `folder` is what commands on the page name.
    """
    if grids is None:
        return []
    from results.grids.plot import draw_cells, draw_effects

    cells = grids.measured
    effects = [board for board in cells if board.effects]
    shown = [Further(table) for table in grids.tables]
    for place, board in enumerate(grids.boards):
        shown[place] = Further(ablation_table(board, shlex.quote(str(folder))), levels=len(grids.design.factors))
    if cells:
        explained = (
            "The levels of every cell, bold where they are not those of the full method, which is the first; what its "
            "mIoU has more or less than that, and its core time."
        )
        shown[0] = replace(shown[0], draw=lambda: draw_cells(cells), explained=explained)
    if effects:
        place = len(grids.ablations)
        shown[place] = Further(grids.effects[0], lambda: draw_effects(effects), "What each factor does on average.")
    return shown
