"""Figures of a search, from the table of its trials: see `results.searches`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from results.metrics.miou import Floats
from results.rungs import RungCheck
from results.searches import best_so_far, importances, options_of, score_column, searched_alone

__all__ = ["draw_best", "draw_importances", "draw_parallel", "draw_rungs", "save"]

MOST_BARS = 12
Log = Mapping[str, bool]


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG and SVG under a path without ending; the same figure gives the same files."""
    with mpl.rc_context({"svg.hashsalt": "seedbed"}):
        figure.savefig(path.with_suffix(".png"), dpi=110, metadata={"Software": None})
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None, "Creator": None})


def _styled(draw: Callable[[], Figure]) -> Figure:
    # seaborn's styles are matplotlib's global state: changed inside the block only.
    with mpl.rc_context(), sns.axes_style("whitegrid"), sns.plotting_context("notebook"):
        return draw()


def draw_best(table: pd.DataFrame, measure: str) -> Figure:
    """The best score so far against stage-seconds, a colour a recipe, each trial a point, the default as a line."""

    def draw() -> Figure:
        figure = Figure(figsize=(8, 4.8), layout="constrained")
        axes = figure.subplots()
        frame = best_so_far(table)
        names = list(dict.fromkeys(frame["recipe"]))
        for colour, name in zip(sns.color_palette("colorblind", len(names)), names, strict=True):
            trials = frame[frame["recipe"] == name]
            axes.step(trials["stage_seconds"], trials["best"], where="post", color=colour, linewidth=2.5, label=name)
            axes.scatter(trials["stage_seconds"], trials["score"], color=colour, s=16, alpha=0.5)
            default = trials.loc[trials["trial"] == 0, "score"]
            if default.notna().any():
                axes.axhline(float(default.iloc[0]), color=colour, linestyle=":", linewidth=1.5)
        axes.set(xlabel="stage-seconds that the search spent", ylabel=f"{measure} on dev")
        axes.set_xlim(left=0)
        told = "best trial so far; points: trials that came to their end; dotted: default configuration"
        axes.set_title(told, fontsize=11)
        _legend(axes)
        return figure

    return _styled(draw)


def draw_importances(table: pd.DataFrame) -> Figure:
    """A panel a recipe: the share of the scores' variance that each option explains."""

    def draw() -> Figure:
        groups = [(str(name), trials) for name, trials in table.groupby("recipe", sort=False)]
        shares = {name: importances(trials, options_of(table)) for name, trials in groups}
        bars = max([len(each) for each in shares.values()] + [2])
        figure = Figure(figsize=(8, (0.38 * min(bars, MOST_BARS) + 1.3) * len(shares)), layout="constrained")
        panels = figure.subplots(len(shares), 1, squeeze=False).ravel()
        for axes, (name, each) in zip(panels, shares.items(), strict=True):
            axes.set_title(name, parse_math=False)
            axes.set(xlim=(0, 1), xlabel="share of the scores' variance")
            if not each:
                axes.set_yticks([])
                axes.text(0.5, 0.5, "too few trials came to their end, or nothing varies", ha="center", va="center")
                continue
            top = dict(list(each.items())[:MOST_BARS])
            axes.barh(list(top), list(top.values()), color=sns.color_palette("colorblind")[0])
            axes.invert_yaxis()
        return figure

    return _styled(draw)


def draw_parallel(table: pd.DataFrame, logarithmic: Log, measure: str) -> Figure:
    """Trials of one recipe as lines through an axis an option and one for the score; colour and order by the score.

    `logarithmic` says which options are drawn by their logarithm.
    """

    def draw() -> Figure:
        ended = searched_alone(table[table["score"].notna()]).sort_values("score")
        options = [option for option in options_of(table) if ended[option].notna().any()]
        figure = Figure(figsize=(max(7.0, 2.3 * (len(options) + 1)), 5), layout="constrained")
        axes = figure.subplots()
        places, ticks = [], []
        for option in options:
            place, tick = _axis(ended[option], logarithmic.get(option, False))
            places.append(place)
            ticks.append(tick)
        place, tick = _axis(ended["score"], False)
        lines = np.stack([*places, place], axis=1) if len(ended) else np.zeros((0, len(options) + 1))
        colours = sns.color_palette("viridis", as_cmap=True)
        norm = Normalize(float(ended["score"].min()), float(ended["score"].max())) if len(ended) else Normalize(0, 1)
        for line, score in zip(lines, ended["score"], strict=True):
            axes.plot(range(len(line)), line, color=colours(norm(score)), linewidth=1.5, alpha=0.8)
        for x, texts in enumerate([*ticks, tick]):
            axes.axvline(x, color="0.4", linewidth=1)
            for y, text in texts:
                axes.text(x - 0.03, y, text, fontsize=8, ha="right", va="center", parse_math=False)
        axes.set_xticks(range(len(options) + 1), [*(_broken(option) for option in options), measure], fontsize=9)
        axes.set(yticks=[], ylim=(-0.05, 1.05), xlim=(-0.5, len(options) + 0.15))
        axes.grid(visible=False)
        for side in axes.spines.values():
            side.set_visible(False)
        figure.colorbar(ScalarMappable(norm, colours), ax=axes, label=f"{measure} on dev", pad=0.01)
        return figure

    return _styled(draw)


def draw_rungs(table: pd.DataFrame, checks: Mapping[str, Sequence[RungCheck]], measure: str) -> Figure:
    """A panel a recipe and rung: scores there against scores at the end, and what that tells of the rung."""

    def draw() -> Figure:
        panels = [(recipe, check) for recipe, found in checks.items() for check in found]
        if not panels:
            figure = Figure(figsize=(7, 2), layout="constrained")
            figure.text(0.5, 0.5, "no trial has a rung before its end, or none came to it yet", ha="center")
            return figure
        across = min(3, len(panels))
        down = -(-len(panels) // across)
        figure = Figure(figsize=(4.4 * across, 4.0 * down), layout="constrained")
        places = figure.subplots(down, across, squeeze=False).ravel()
        for axes, (recipe, check) in zip(places, panels, strict=False):
            trials = searched_alone(table[(table["recipe"] == recipe) & table["score"].notna()])
            axes.scatter(trials[score_column(check.name)], trials["score"], s=18, alpha=0.7)
            told = (
                f"rank correlation {check.correlation:.2f}, false kills {check.false_kills:.0%} ({check.trials} trials)"
            )
            if np.isnan(check.correlation):
                told = f"{check.trials} trials: too few to tell"
            switched = "on" if check.is_on else "off"
            title = f"{recipe}: {check.name}, {switched}\n{told}"
            axes.set_title(title, fontsize=10, parse_math=False)
            axes.set(xlabel=f"score at {check.name}", ylabel=f"{measure} at the end")
            axes.locator_params(axis="x", nbins=5)
        for axes in places[len(panels) :]:
            axes.set_axis_off()
        return figure

    return _styled(draw)


def _axis(values: pd.Series[Any], is_log: bool) -> tuple[Floats, list[tuple[float, str]]]:
    """Places in [0, 1] of the values on an axis, and its ticks; what is absent lies below all others."""
    if pd.api.types.is_numeric_dtype(values) and values.dtype != bool:
        numbers = values.to_numpy(float)
        scaled = np.log(numbers) if is_log else numbers
        low, high = np.nanmin(scaled), np.nanmax(scaled)
        place = np.where(np.isnan(scaled), -0.04, (scaled - low) / max(high - low, 1e-12))
        ends = [(0.0, np.nanmin(numbers)), (1.0, np.nanmax(numbers))]
        return place, [(y, f"{value:.3g}") for y, value in ends]
    texts = values.map(lambda value: "–" if pd.isna(value) else str(value))
    known = sorted(set(texts))
    step = 1 / max(len(known) - 1, 1)
    return texts.map(known.index).to_numpy(float) * step, [(n * step, text[:18]) for n, text in enumerate(known)]


def _broken(path: str) -> str:
    return path.replace(".", ".\n")


def _legend(axes: Axes) -> None:
    for text in axes.legend(loc="lower right").get_texts():
        text.set_parse_math(False)
