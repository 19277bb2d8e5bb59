"""One figure of a result table: mIoU by recipe, a panel per scored stage, a point per rng seed."""

from pathlib import Path
from typing import TypeAlias

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from results.lines import Column, Measure, measures_of, names_of, pipeline_order
from results.rows import OptionSet
from results.selection import is_ranked
from settings.errors import UserError

__all__ = ["draw_table", "plot_table", "recipe_names"]

Colour: TypeAlias = tuple[float, float, float]
FLOOR = "all-background"
"""The recipe whose mIoU is the dashed line."""
GAP = "oracle"
"""The policy whose points are hollow."""


def plot_table(frame: pd.DataFrame, path_png: Path, path_svg: Path) -> None:
    """Write the figure of `draw_table` as PNG and as SVG; the same rows give the same files. Raises what it raises."""
    figure = draw_table(frame)
    with mpl.rc_context({"svg.hashsalt": "seedbed"}):
        figure.savefig(path_png, dpi=150, metadata={"Software": None})
        figure.savefig(path_svg, metadata={"Date": None})


def draw_table(frame: pd.DataFrame) -> Figure:
    """Draw rows as `results.load` gives them; rows without a score are left out.

    Pseudo labels have two panels: with undecided pixels (255) as background, and of the decided ones alone.
    Points are rng seeds, coloured by setting; hollow ones are the oracle policy's (a gap, never ranked); the dashed
    line is the `all-background` floor. Raises UserError where no row of a ranked policy has a score, and for rows of
    more than one data set, or more than one evaluation of a stage, which one figure must not mix.
    """
    scored = frame[frame["miou"].notna()]
    _check(scored)
    # seaborn's styles are matplotlib's global state: changed inside the block only.
    with mpl.rc_context(), sns.axes_style("whitegrid"), sns.plotting_context("notebook"):
        return _draw(scored)


def _check(scored: pd.DataFrame) -> None:
    if not scored["policy"].map(is_ranked).any():
        raise UserError("plot", "no score of a ranked policy", "at least one finished row")
    by_stage = scored.groupby("stage")
    for what, most in (
        ("data sets", scored["dataset"].nunique()),
        ("splits of a stage", by_stage["split"].nunique().max()),
        ("evaluations of a stage", by_stage["evaluation_fingerprint"].nunique().max()),
    ):
        if most > 1:
            raise UserError("plot", f"rows of {most} {what}", "rows that may be compared", "filter the rows")


def _draw(scored: pd.DataFrame) -> Figure:
    columns = sorted(
        {Column(s, v) for s, v in zip(scored["stage"], scored["variant"], strict=True)}, key=pipeline_order
    )
    measures = [measure for column in columns for measure in measures_of(column) if _is_drawn(scored, measure)]
    points = scored[scored["recipe"] != FLOOR].assign(line=_line_names)
    # The figure's height follows its lines, so that text keeps its size.
    size = (2.6 + 3.2 * len(measures), 2.2 + 0.45 * points["line"].nunique())
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for axes, measure in zip(panels, measures, strict=True):
        _draw_points(axes, points, measure)
        _draw_floor(axes, scored, measure)
        axes.set(xlim=(0, 1), xlabel="mIoU (0..1)", ylabel="recipe", title=_title(measure))
        axes.label_outer()
    figure.suptitle(f"{scored['dataset'].iloc[0]}: mIoU by recipe, one point per rng seed")
    figure.legend(handles=_legend(scored), loc="outside lower center", ncols=3, frameon=False)
    return figure


def recipe_names(scored: pd.DataFrame) -> "pd.Series[str]":
    """The recipe of each row; where one recipe was run with several options, also what differs."""
    option_sets = [OptionSet(*values) for values in scored[list(OptionSet._fields)].itertuples(index=False)]
    known = names_of(option_sets)
    return pd.Series([known[each] for each in option_sets], index=scored.index, dtype=str)


def _is_drawn(scored: pd.DataFrame, measure: Measure) -> bool:
    """Whether it is a mIoU, and any row has it: those of older versions tell one score of pseudo labels alone."""
    return measure.field.startswith("miou") and bool(_of(scored, measure.column)[measure.field].notna().any())


def _title(measure: Measure) -> str:
    """The name of the stage, and on a line of its own which of its scores it is."""
    if measure.field == "miou":
        return measure.title.replace(" (", "\n(")
    return f"{measure.column.title}\n({measure.title})"


def _line_names(scored: pd.DataFrame) -> "pd.Series[str]":
    """Recipes; with the board's name where there are several, as these are not compared on one line."""
    recipes = recipe_names(scored)
    parts = scored[["training_mode", "supervision"]]
    # Rows without a choice of arithmetic stand on the board of either.
    if scored["arithmetic"].replace("", None).nunique() > 1:
        parts = scored[["training_mode", "supervision", "arithmetic"]]
    names = [", ".join(filter(None, row)) for row in parts.itertuples(index=False)]
    boards = pd.Series(names, index=scored.index, dtype=str)
    if boards[boards != ""].nunique() < 2:
        return recipes
    return (recipes + " (" + boards + ")").where(boards != "", recipes)


def _draw_points(axes: Axes, points: pd.DataFrame, measure: Measure) -> None:
    here = _of(points, measure.column)
    _strip(axes, points, here[here["policy"].map(is_ranked)], measure.field)
    drawn = len(axes.collections)
    _strip(axes, points, here[here["policy"] == GAP], measure.field)
    for dots in axes.collections[drawn:]:
        dots.set(edgecolor=dots.get_facecolor(), facecolor="none", linewidth=1.5)


def _strip(axes: Axes, points: pd.DataFrame, part: pd.DataFrame, field: str) -> None:
    """Draw one score of a part of all points, with the lines and colours of all."""
    if part.empty:
        return
    lines, colours = sorted(points["line"].unique()), _colours(points)
    sns.stripplot(
        part, x=field, y="line", order=lines, hue="setting", hue_order=list(colours), palette=colours,
        dodge=True, jitter=False, size=7, orient="h", legend=False, ax=axes,
    )  # fmt: skip


def _draw_floor(axes: Axes, scored: pd.DataFrame, measure: Measure) -> None:
    floors = scored[(scored["recipe"] == FLOOR) & scored["policy"].map(is_ranked)]
    # Background everywhere is the same in every variant of a stage.
    floors = floors[floors["stage"] == measure.column.stage]
    for floor in sorted(floors[measure.field].dropna().unique()):
        axes.axvline(floor, color="0.35", linestyle="--", linewidth=1.5)


def _of(scored: pd.DataFrame, column: Column) -> pd.DataFrame:
    return scored[(scored["stage"] == column.stage) & (scored["variant"] == column.variant)]


def _colours(points: pd.DataFrame) -> dict[str, Colour]:
    settings = sorted(points["setting"].unique())
    return dict(zip(settings, sns.color_palette("colorblind", len(settings)), strict=True))


def _legend(scored: pd.DataFrame) -> list[Line2D]:
    colours = _colours(scored[scored["recipe"] != FLOOR])
    handles = [Line2D([], [], marker="o", linestyle="", color=c, label=name) for name, c in colours.items()]
    if (scored["policy"] == GAP).any():
        label = f"{GAP} threshold (not ranked)"
        handles.append(Line2D([], [], marker="o", linestyle="", color="0.35", markerfacecolor="none", label=label))
    if (scored["recipe"] == FLOOR).any():
        handles.append(Line2D([], [], color="0.35", linestyle="--", label=FLOOR))
    return handles
