"""Training curves: the losses of every fit by epoch, as CSV and as a figure with a panel for each loss term."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

__all__ = ["COLUMNS", "curves", "draw_curves", "plot_curves", "records_in"]

COLUMNS = ("recipe", "setting", "rng_seed", "step", "epoch", "term", "value")
"""The columns of the frame and the CSV; `step` is localizer or segmenter, `epoch` begins with 0."""
NO_LOSS = frozenset({"learning_rate"})
"""Terms that are written down and not drawn."""
PANELS_A_LINE = 3
Dashes: TypeAlias = Literal["-", "--", ":", "-."]
Looks: TypeAlias = dict[str, tuple[tuple[float, float, float], Dashes]]
"""By name of a line its colour, which is that of its recipe, and its dashes, which are those of its setting."""
DASHES: tuple[Dashes, ...] = ("-", "--", ":", "-.")


def curves(records: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The records (one a fit, epoch and term) as a frame with COLUMNS."""
    return pd.DataFrame(list(records), columns=list(COLUMNS))


def records_in(path: Path) -> list[dict[str, Any]]:
    """The records of a CSV that was written of `curves`; none where there is no such file, or another one."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [_record(row) for row in csv.DictReader(file)]
    except (OSError, ValueError, LookupError, csv.Error):
        return []


def _record(row: dict[str, str]) -> dict[str, Any]:
    value = math.nan
    if row["value"]:
        value = float(row["value"])
    return {**row, "rng_seed": int(row["rng_seed"]), "epoch": int(row["epoch"]), "value": value}


def plot_curves(frame: pd.DataFrame, path_png: Path) -> None:
    """Write the figure of `draw_curves` as PNG; the same frame gives the same file."""
    draw_curves(frame).savefig(path_png, dpi=110, metadata={"Software": None})


def draw_curves(frame: pd.DataFrame) -> Figure:
    """A panel a step and loss term, a colour a recipe, dashes a setting: thin for each rng seed, their mean thick."""
    drawn = frame[~frame["term"].isin(NO_LOSS)]
    drawn = drawn.assign(line=_names(drawn))
    panels = list(dict.fromkeys(zip(drawn["step"], drawn["term"], strict=True)))
    panels.sort(key=lambda panel: panel[0])
    # seaborn's styles are matplotlib's global state: changed inside the block only.
    with mpl.rc_context(), sns.axes_style("whitegrid"), sns.plotting_context("notebook"):
        return _draw(drawn, panels)


def _names(frame: pd.DataFrame) -> "pd.Series[str]":
    """Recipes; with the setting's name where there are several."""
    return frame["recipe"] if frame["setting"].nunique() < 2 else frame["recipe"] + " (" + frame["setting"] + ")"


def _draw(drawn: pd.DataFrame, panels: Sequence[tuple[str, str]]) -> Figure:
    across = min(PANELS_A_LINE, len(panels))
    down = -(-len(panels) // across)
    figure = Figure(figsize=(4.6 * across, 3.4 * down + 0.9), layout="constrained")
    looks = _looks(drawn)
    places = figure.subplots(down, across, squeeze=False).ravel()
    for axes, (step, term) in zip(places, panels, strict=False):
        _draw_panel(axes, drawn[(drawn["step"] == step) & (drawn["term"] == term)], looks)
        axes.set(xlabel="epoch (the first is 0)", ylabel="loss (epoch mean)")
        axes.set_title(f"{step}: {term}", parse_math=False)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if (epochs := axes.dataLim.intervalx)[0] == epochs[1]:
            # One epoch: matplotlib would put ticks at fractions of it.
            axes.set(xlim=(epochs[0] - 0.5, epochs[0] + 0.5), xticks=[int(epochs[0])])
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    figure.suptitle("training losses: mean over rng seeds, and each rng seed (thin)")
    handles = [
        Line2D([], [], color=colour, linestyle=dashes, linewidth=2.5, label=name)
        for name, (colour, dashes) in looks.items()
    ]
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def _draw_panel(axes: Axes, panel: pd.DataFrame, looks: Looks) -> None:
    for name, curve in panel.groupby("line", sort=False):
        wide = curve.pivot(index="epoch", columns="rng_seed", values="value")
        colour, dashes = looks[str(name)]
        axes.plot(wide, color=colour, linestyle=dashes, linewidth=0.8, alpha=0.6)
        # One epoch makes no line: a marker shows it.
        axes.plot(wide.mean(axis=1), color=colour, linestyle=dashes, linewidth=2, marker="o", markersize=3)


def _looks(drawn: pd.DataFrame) -> Looks:
    recipes, settings = (list(dict.fromkeys(drawn[name])) for name in ("recipe", "setting"))
    palette = sns.color_palette("colorblind" if len(recipes) <= 10 else "husl", len(recipes))
    lines = drawn[["line", "recipe", "setting"]].drop_duplicates()
    return {
        str(name): (palette[recipes.index(recipe)], DASHES[settings.index(setting) % len(DASHES)])
        for name, recipe, setting in lines.itertuples(index=False)
    }
