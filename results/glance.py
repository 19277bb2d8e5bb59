"""The figure that answers a leaderboard's question at a glance: who is how good, and who can be told apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from results.lines import TIER_MARKS, Column
from results.rows import TIERS
from results.selection import is_ranked
from results.shown import MAX_NAME, Table
from settings.errors import UserError

__all__ = [
    "FLOOR",
    "PLAIN",
    "draw_glance",
    "leading_records",
    "names_among",
    "plot_glance",
    "setting_colours",
    "shortened",
]

FLOOR, PLAIN = "all-background", "clean"
WIDTH = 8.4
"""Inches: at 100 dots each this is as wide as a README shows."""
LINE = 0.26
"""Inches a line: text of 9 points on lines that can be followed."""
HEAD = 1.0
"""Inches above and below a panel's lines: its title, the names of bands, and its axis."""
MARKS = {TIERS[tier]: mark for tier, mark in TIER_MARKS.items()}
Records: TypeAlias = Sequence[Mapping[str, Any]]
Colour: TypeAlias = tuple[float, float, float]


def plot_glance(tables: Sequence[Table], path_png: Path, path_svg: Path) -> None:
    """Write the figure of `draw_glance` as PNG and SVG; the same tables give the same files. Raises what it raises."""
    figure = draw_glance(tables)
    with mpl.rc_context({"svg.hashsalt": "seedbed"}):
        figure.savefig(path_png, dpi=200, metadata={"Software": None})
        # It is laid out now: once more for SVG would take as long again.
        figure.set_layout_engine("none")
        figure.savefig(path_svg, metadata={"Date": None})


def draw_glance(tables: Sequence[Table]) -> Figure:
    """A panel a ranked board: its lines, best first, each with its mean mIoU and 95 % interval, coloured by setting.

    Lines that share a rank are joined at the right, beside their rank; floors and ceilings are bands as wide as their
    intervals. Raises UserError where no line of a ranked board has a score.
    """
    boards = [board for table in tables if (board := _board(table)).lines or board.bands]
    if not boards:
        raise UserError("plot", "no score of a ranked policy", "at least one finished row")
    colours = setting_colours(str(record["setting"]) for board in boards for record in board.lines)
    # seaborn's styles are matplotlib's global state: changed inside the block only.
    with sns.axes_style("white"), sns.plotting_context("paper"):
        return _draw(boards, colours)


def setting_colours(settings: Iterable[str]) -> dict[str, Colour]:
    """A colour for each setting, the same in every figure: `clean` has the first, the others follow by name."""
    names = sorted(set(settings), key=lambda name: (name != PLAIN, name))
    return dict(zip(names, sns.color_palette("colorblind", len(names)), strict=True))


def leading_records(table: Table) -> tuple[Column, Records] | None:
    """The stage that a board is ranked by, and its scored records, best first; None where nothing was scored."""
    column = table.leading
    here = [record for record in table.records if (record["stage"], record["variant"]) == column]
    scored = [record for record in here if record["miou"] is not None]
    if column is None or not scored:
        return None
    return column, sorted(scored, key=lambda record: -record["miou"])


@dataclass(frozen=True)
class _Board:
    title: str
    stage: str
    lines: Records
    bands: Records


def _board(table: Table) -> _Board:
    found = leading_records(table)
    if found is None or not is_ranked(found[1][0]["policy"]):
        return _Board(table.title, "", (), ())
    column, records = found
    bands = [record for record in records if record["masks_trained"] or record["recipe"] == FLOOR]
    lines = [record for record in records if record not in bands]
    return _Board(table.title, column.title, lines, bands)


def _draw(boards: Sequence[_Board], colours: Mapping[str, Colour]) -> Figure:
    heights = [HEAD + LINE * max(len(board.lines), 1) for board in boards]
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.4), layout="constrained")
    panels = figure.subplots(len(boards), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, board in zip(panels, boards, strict=True):
        _draw_bands(axes, board)
        _draw_lines(axes, board, colours)
        _join_ties(axes, board)
        axes.set(xlim=(0, 1), xlabel=f"mIoU of {board.stage} (0..1), mean and 95 % interval")
        axes.set_title(board.title, loc="left", fontweight="bold", pad=20, parse_math=False)
        axes.tick_params(left=False)
        sns.despine(ax=axes, left=True)
    handles = [Line2D([], [], color=c, marker="o", label=shortened(name)) for name, c in colours.items()]
    if any(record["rank"] is None for board in boards for record in board.lines):
        handles.append(Line2D([], [], color="0.5", marker="o", markerfacecolor="white", label="not ranked"))
    tiers = {record["tier"] for board in boards for record in board.lines}
    for told, mark in MARKS.items():
        if told in tiers:
            handles.append(Line2D([], [], color="0.3", marker=f"${mark}$", linestyle="none", label=told))
    if len(handles) > 1:
        figure.legend(handles=handles, title="setting", loc="outside lower center", ncols=6, frameon=False)
    return figure


def _draw_lines(axes: Axes, board: _Board, colours: Mapping[str, Colour]) -> None:
    for place, record in enumerate(board.lines):
        colour, miou = colours[str(record["setting"])], record["miou"]
        if record["interval_low"] is not None:
            axes.plot([record["interval_low"], record["interval_high"]], [place, place], color=colour, linewidth=2)
        # A hollow point is not ranked: it has too few rng seeds.
        fill = colour if record["rank"] is not None else "white"
        axes.plot([miou], [place], marker="o", markersize=5.5, color=colour, markerfacecolor=fill)
    axes.set_yticks(
        range(len(board.lines)),
        [shortened(name) for name in names_among(board.lines)],
        parse_math=False,
    )
    axes.set_ylim(max(len(board.lines), 1) - 0.5, -0.5)
    axes.grid(axis="x", color="0.5", alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


def shortened(name: str, most: int = MAX_NAME) -> str:
    """A name that leaves room for the figure beside it: `most` letters."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def names_among(lines: Records) -> list[str]:
    """The recipe of each, and the mark of its tier; with what it was run with where two would else have one name."""
    having = Counter((record["recipe"], record["setting"]) for record in lines)
    names = []
    for record in lines:
        is_alone = having[record["recipe"], record["setting"]] == 1
        name = str(record["recipe"]) if is_alone else f"{record['recipe']} ({record['options']})"
        names.append(f"{name} {MARKS[record['tier']]}" if record["tier"] in MARKS else name)
    return names


def _draw_bands(axes: Axes, board: _Board) -> None:
    """Floors and ceilings over the whole height, their names above in two rows so that neighbours can be read."""
    for n, record in enumerate(sorted(board.bands, key=lambda record: float(record["miou"]))):
        low, high = record["interval_low"], record["interval_high"]
        if low is not None:
            axes.axvspan(low, high, color="0.5", alpha=0.15, linewidth=0)
        axes.axvline(record["miou"], color="0.5", linewidth=1, linestyle="--")
        axes.annotate(
            shortened(str(record["recipe"])), (record["miou"], 1.0), (0, 2 + 8 * (n % 2)), ha="center", fontsize=7,
            xycoords=("data", "axes fraction"), textcoords="offset points", color="0.5", parse_math=False,
        )  # fmt: skip


def _join_ties(axes: Axes, board: _Board) -> None:
    """Ranks at the right; a line joins those that share one."""
    places: dict[int, list[int]] = {}
    for place, record in enumerate(board.lines):
        if record["rank"] is not None:
            places.setdefault(record["rank"], []).append(place)
    # A floor may share a rank too: it is a band, which no line can be joined with.
    having_rank = Counter(record["rank"] for record in (*board.lines, *board.bands))
    across = axes.get_yaxis_transform()
    for nth, (rank, having) in enumerate(sorted(places.items())):
        for place in having:
            text = f"{rank}=" if having_rank[rank] > 1 else f"{rank}"
            axes.text(1.012, place, text, transform=across, va="center", fontsize=8)
        if len(having) > 1:
            # Two columns: the ties of neighbouring ranks may overlap.
            x = 1.05 + 0.012 * (nth % 2)
            axes.plot([x, x], [having[0] - 0.2, having[-1] + 0.2], transform=across, color="0.5", clip_on=False)
