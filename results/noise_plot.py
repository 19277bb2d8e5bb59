"""The figure of a noise sweep: mIoU against the share of extra photos that do not show their label."""

from pathlib import Path

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.lines import Column, measures_of, names_of, pipeline_order
from results.rows import OptionSet
from results.selection import is_ranked

__all__ = ["NO_FILTER", "draw_noise", "plot_noise"]

NO_FILTER = "no filter"
SWEEP = 3
"""So many noise rates make a curve; `single_label` beside `web` has two."""


def plot_noise(frame: pd.DataFrame, path_png: Path, path_svg: Path) -> bool:
    """Write the figure as PNG and SVG; False, and nothing, where rows have fewer than three noise rates: no sweep."""
    figure = draw_noise(frame)
    if figure is None:
        return False
    with mpl.rc_context({"svg.hashsalt": "seedbed"}):
        figure.savefig(path_png, dpi=150, metadata={"Software": None})
        figure.savefig(path_svg, metadata={"Date": None})
    return True


def draw_noise(frame: pd.DataFrame) -> Figure | None:
    """The figure, from rows as `results.load` gives them; None where they have fewer than three noise rates."""
    frame = frame.assign(recipe=_recipe_names)
    swept = _swept(frame)
    if swept["noise_rate"].nunique() < SWEEP:
        return None
    with mpl.rc_context(), sns.axes_style("whitegrid"), sns.plotting_context("notebook"):
        return _draw(frame, swept)


def _recipe_names(scored: pd.DataFrame) -> "pd.Series[str]":
    """The recipe of each row; where one recipe was run with several options, also what differs."""
    option_sets = [OptionSet(*values) for values in scored[list(OptionSet._fields)].itertuples(index=False)]
    known = names_of(option_sets)
    return pd.Series([known[each] for each in option_sets], index=scored.index, dtype=str)


def _swept(frame: pd.DataFrame) -> pd.DataFrame:
    """Scored rows of ranked policies whose noise is known, with their filter in words."""
    known = frame[frame["miou"].notna() & frame["noise_rate"].notna() & frame["policy"].map(is_ranked)]
    return known.assign(filter=known["filter"].where(known["filter"] != "", NO_FILTER))


def _draw(frame: pd.DataFrame, swept: pd.DataFrame) -> Figure:
    columns = sorted({Column(s, v) for s, v in zip(swept["stage"], swept["variant"], strict=True)}, key=pipeline_order)
    recipes = sorted(swept["recipe"].unique())
    colours = dict(zip(recipes, sns.color_palette("colorblind", len(recipes)), strict=True))
    figure = Figure(figsize=(2.6 + 4.0 * len(columns), 4.8), layout="constrained")
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for axes, column in zip(panels, columns, strict=True):
        here = _of(swept, column)
        sns.lineplot(
            here, x="noise_rate", y="miou", hue="recipe", hue_order=recipes, palette=colours, style="filter",
            style_order=sorted(swept["filter"].unique(), key=lambda name: (name != NO_FILTER, name)),
            markers=True, errorbar=("sd", 1), legend="auto" if axes is panels[-1] else False, ax=axes,
        )  # fmt: skip
        _draw_without_extra(axes, _of(frame, column), colours)
        axes.set(
            title=measures_of(column)[0].title, xlabel="noise rate of the extra photos (0..1)", ylabel="mIoU (0..1)"
        )
    sns.move_legend(panels[-1], "center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    title = "mIoU against noise; mean ± standard deviation over rng seeds; dotted: without extra photos"
    figure.suptitle(f"{swept['dataset'].iloc[0]}: {title}", fontsize="medium")
    return figure


def _draw_without_extra(axes: Axes, rows: pd.DataFrame, colours: dict[str, tuple[float, float, float]]) -> None:
    """The mean of each recipe under the setting that has the target's photos alone."""
    alone = rows[rows["miou"].notna() & (rows["extra_photos"] == 0) & rows["policy"].map(is_ranked)]
    for recipe, miou in alone.groupby("recipe")["miou"].mean().items():
        if str(recipe) in colours:
            axes.axhline(float(miou), color=colours[str(recipe)], linestyle=":", linewidth=1.5)


def _of(rows: pd.DataFrame, column: Column) -> pd.DataFrame:
    return rows[(rows["stage"] == column.stage) & (rows["variant"] == column.variant)]
