"""The figures of a grid: its cells beside the full method with what they cost, and the effects of its factors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.glance import shortened
from results.grids.design import Factor
from results.grids.measured import GridBoard
from results.grids.tables import level_shown
from results.statistics import Difference

__all__ = ["draw_cells", "draw_effects", "plot_cells", "plot_effects"]

LINE, HEAD = 0.26, 1.5
"""Inches a cell, and above and below a panel's cells: its title and its axes."""
COLUMN, LETTER = 0.55, 0.085
"""Inches of a column of levels at least, and of a letter in it."""
FORESTS = 6.0
"""Inches of what stands beside the levels: Δ and seconds."""
APART, ALIKE = "C0", "0.6"
INK = "#262626"
"""Of seaborn's styles: a page gives it the colour of its own text."""
COLOURS = "95 % interval; blue: told from 0 at 5 %, all together (Holm)"
"""What a test tells from 0 is blue, and grey what it does not."""


def plot_cells(boards: Sequence[GridBoard], path_png: Path, path_svg: Path) -> None:
    """Write the figure of `draw_cells` as PNG and SVG; the same boards give the same files."""
    _write(draw_cells(boards), path_png, path_svg)


def plot_effects(boards: Sequence[GridBoard], path_png: Path, path_svg: Path) -> bool:
    """Write the figure of `draw_effects` as PNG and SVG; False, and nothing, where no board has effects."""
    having = [board for board in boards if board.effects]
    if having:
        _write(draw_effects(having), path_png, path_svg)
    return bool(having)


def draw_cells(boards: Sequence[GridBoard]) -> Figure:
    """A panel a board: the levels of every cell, its Δ to the full method with the interval, and its core time."""
    heights = [HEAD + LINE * len(board.cells) for board in boards]
    factors = boards[0].design.factors
    with sns.axes_style("whitegrid"), sns.plotting_context("paper"):
        left = sum(_widths(factors)) + 0.4
        figure = Figure(figsize=(left + FORESTS, sum(heights)), layout="constrained")
        panels = figure.subplots(
            len(boards), 3, squeeze=False, height_ratios=heights, width_ratios=(left, 0.62 * FORESTS, 0.38 * FORESTS)
        )
        for (levels, deltas, seconds), board in zip(panels, boards, strict=True):
            cells = list(board.cells.items())
            _draw_levels(levels, board)
            _draw_differences(deltas, [cell.against_full for _, cell in cells])
            deltas.set(xlabel=f"Δ mIoU of {board.column.title} to the full method\n{COLOURS}")
            costs = pd.DataFrame({"cell": range(len(cells)), "s": [cell.line.seconds for _, cell in cells]})
            sns.barplot(costs, x="s", y="cell", orient="h", color="0.75", ax=seconds)
            seconds.set(xlabel="core time of one rng seed (s)", ylabel="")
            for axes in (levels, deltas, seconds):
                axes.set(yticks=range(len(cells)), ylim=(len(cells) - 0.5, -0.5))
                axes.grid(axis="y", visible=False)
            deltas.set_yticklabels([])
            seconds.set_yticklabels([])
            levels.set_title(_title(board), loc="left", fontweight="bold", parse_math=False)
    return figure


def draw_effects(boards: Sequence[GridBoard]) -> Figure:
    """A panel a board: main effects, then interactions of two factors, each with its 95 % interval."""
    heights = [HEAD + LINE * len(board.effects) for board in boards]
    with sns.axes_style("whitegrid"), sns.plotting_context("paper"):
        figure = Figure(figsize=(8.4, sum(heights)), layout="constrained")
        panels = figure.subplots(len(boards), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, board in zip(panels, boards, strict=True):
            _draw_differences(axes, [found for _, found in board.effects])
            names = [shortened(effect.name) for effect, _ in board.effects]
            axes.set_yticks(range(len(names)), names, parse_math=False)
            axes.set(ylim=(len(names) - 0.5, -0.5), xlabel=f"effect on mIoU of {board.column.title}\n{COLOURS}")
            mains = sum(len(effect.factors) == 1 for effect, _ in board.effects)
            if 0 < mains < len(names):
                axes.axhline(mains - 0.5, color="0.5", linewidth=0.8)
            axes.grid(axis="y", visible=False)
            axes.set_title(_title(board), loc="left", fontweight="bold", parse_math=False)
    return figure


def _widths(factors: Sequence[Factor]) -> list[float]:
    """Inches of the column of each factor, and of that of mIoU: as wide as the longest level needs."""
    return [*(max(COLUMN, LETTER * max(map(len, factor.levels))) for factor in factors), COLUMN]


def _draw_levels(axes: Axes, board: GridBoard) -> None:
    """A column a factor, its name above, then mIoU; a level that is not the full method's is set off."""
    factors = board.design.factors
    widths = _widths(factors)
    *middles, of_miou = (end - width / 2 for end, width in zip(accumulate(widths), widths, strict=True))
    for place, (name, cell) in enumerate(board.cells.items()):
        for column, factor, level in zip(middles, factors, board.design.cells[name], strict=True):
            is_full = level == factor.levels[0]
            axes.text(
                column, place, level_shown(factor, level), ha="center", va="center", parse_math=False,
                color="0.5" if is_full else INK, fontweight="normal" if is_full else "bold",
            )  # fmt: skip
        found = cell.line.cells.get(board.column)
        mean = found.mean() if found else None
        axes.text(of_miou, place, "–" if mean is None else f"{mean:.3f}", ha="center", va="center", color=INK)
    names = [*(shortened(factor.name) for factor in factors), "mIoU"]
    axes.set(xlim=(0, sum(widths)), yticklabels=[])
    axes.xaxis.tick_top()
    axes.set_xticks([*middles, of_miou], names, rotation=35, ha="left", parse_math=False)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    sns.despine(ax=axes, left=True, bottom=True)


def _draw_differences(axes: Axes, found: Sequence[Difference | None]) -> None:
    """Points with intervals around 0; coloured where the verdict, corrected for all of them, says that they differ."""
    axes.axvline(0, color="0.3", linewidth=1)
    for place, each in enumerate(found):
        if each is None:
            continue
        colour = ALIKE if each.verdict == "not separated" else APART
        axes.plot([each.low, each.high], [place, place], color=colour, linewidth=2)
        axes.plot([each.mean], [place], marker="o", markersize=5.5, color=colour)


def _title(board: GridBoard) -> str:
    return f"{board.design.base} · {board.dataset} · {board.setting} · policy {board.policy}"


def _write(figure: Figure, path_png: Path, path_svg: Path) -> None:
    with mpl.rc_context({"svg.hashsalt": "seedbed"}):
        figure.savefig(path_png, dpi=150, metadata={"Software": None})
        figure.savefig(path_svg, metadata={"Date": None})
