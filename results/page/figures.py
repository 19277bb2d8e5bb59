"""The page's figures, as SVG that takes the page's colour for its text and lines, light or dark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from results.curves import draw_curves
from results.glance import draw_glance, leading_records, setting_colours, shortened
from results.noise_plot import draw_noise
from results.page.content import Shown
from results.page.steps import steps_of
from results.page.thresholds import MAX_CURVES, draw_thresholds, threshold_curves
from results.page.waterfalls import MAX_PANELS, draw_waterfalls, with_steps
from results.rows import frame
from results.selection import is_ranked
from results.shown import Table

__all__ = ["Figure", "figures_of"]

COLOURS = {"#262626": "currentColor", "#cccccc": "#88888855", "#ffffff": "var(--back)"}
"""In the SVG, by the colours that seaborn's styles give to text and lines, to grids, and to what is hollow: the page's
own, and one that is faint on light and on dark."""
UNWANTED = (
    re.compile(r'\b(?:width|height)="[\d.]+pt"'),
    re.compile(r"<metadata>.*?</metadata>", re.DOTALL),
    # Names of groups, which another figure on the page has too; those of clips and markers are hashes.
    re.compile(r' id="[A-Za-z][\w.]*_\d+"'),
)
MAX_SEEDS = 60
"""Lines of the seed spread: more are a page by themselves."""


@dataclass(frozen=True)
class Figure:
    """A figure of a leaderboard."""

    title: str
    explained: str
    """What is to be seen on it: it stands below the figure, and is what a screen reader says of it."""
    drawing: Drawing
    svg: str
    board: str = ""
    """The title of the board that it is of; empty for one that is of all of them."""


def figures_of(shown: Shown) -> Iterator[Figure]:
    """All figures that the rows of a leaderboard allow, in the order in which the page has them."""
    if not shown.rows:
        return
    ranked = [table for table in shown.tables if table.records and is_ranked(table.records[0]["policy"])]
    scored = [table for table in ranked if leading_records(table)]
    with mpl.rc_context(), sns.axes_style("white"), sns.plotting_context("paper"):
        if scored:
            text = (
                "Best first, a panel a board: mean mIoU and 95 % interval. Lines that share a rank (right) cannot be "
            )
            text += "told apart; hollow points have too few rng seeds for a rank; bands are floors and ceilings."
            yield _figure("At a glance", text, draw_glance(scored), shown)
        for table in scored:
            yield from _of_board(table, shown)
        noise = draw_noise(frame(shown.rows))
        if noise is not None:
            yield _figure("Noise", "mIoU against the share of extra photos that do not show their label.", noise, shown)
        if shown.curves is not None and len(shown.curves):
            text = "The losses of every fit by epoch: the mean over rng seeds, and each of them (thin)."
            yield _figure("Training", text, draw_curves(shown.curves), shown)
        for further in shown.further:
            if further.draw:
                yield _figure(further.table.title, further.explained, further.draw(), shown)


def _of_board(table: Table, shown: Shown) -> Iterator[Figure]:
    found = leading_records(table)
    assert found is not None
    column, records = found
    data = pd.DataFrame(records)
    spread = _seeds(shown, table, column.stage, column.variant)
    if spread["rng_seed"].nunique() > 1 and spread["line"].nunique() <= MAX_SEEDS:
        text = "Each point is one rng seed, which draws everything random anew."
        yield _figure("Seed spread", text, _draw_seeds(spread), shown, table.title)
    steps = steps_of(table.records)
    if steps is not None and with_steps(steps):
        text = f"From stage to stage, the first {MAX_PANELS} lines of the board that have several: what is gained, and "
        text += "what is lost, of the mIoU of the stage before. * Those of the line that is called as this one "
        text += "without its refiners."
        yield _figure("From maps to segmentation", text, draw_waterfalls(steps), shown, table.title)
    curves = threshold_curves(table, shown.counts)
    if curves:
        text = "mIoU of the maps at every background threshold, a mean over rng seeds. Filled: the threshold that was "
        text += (
            "declared or chosen beforehand; hollow: the best one on the very masks that are reported (the oracle's)."
        )
        if len(curves) > MAX_CURVES:
            text += f" The first {MAX_CURVES} lines of the board."
        yield _figure("Thresholds", text, draw_thresholds(curves[:MAX_CURVES]), shown, table.title)
    if len(data) > 2:
        text = "Cost against quality. The stepped line joins those that nothing cheaper beats."
        yield _figure("Cost", text, _draw_cost(data), shown, table.title)


def _seeds(shown: Shown, table: Table, stage: str, variant: str) -> pd.DataFrame:
    """mIoU by line and rng seed of a board's leading stage, best line first."""
    lines = {(r["recipe"], r["setting"], r["options"]) for r in table.records if r["miou"] is not None}
    policy = table.records[0]["policy"]
    points = [
        {"line": f"{row.recipe} · {row.setting}", "rng_seed": row.rng_seed, "miou": row.miou}
        for row in shown.rows
        if (row.stage, row.variant, row.policy) == (stage, variant, policy)
        and row.miou is not None
        and (row.recipe, row.setting, row.options) in lines
    ]
    found = pd.DataFrame(points, columns=["line", "rng_seed", "miou"])
    order = found.groupby("line")["miou"].mean().sort_values(ascending=False).index
    return found.assign(line=pd.Categorical(found["line"], order)).sort_values("line")


def _draw_seeds(spread: pd.DataFrame) -> Drawing:
    lines = spread["line"].nunique()
    figure = Drawing(figsize=(8.4, 0.8 + 0.24 * lines), layout="constrained")
    axes = figure.subplots()
    sns.stripplot(spread, x="miou", y="line", size=5, jitter=False, alpha=0.8, color="#0173b2", ax=axes)
    axes.set(xlabel="mIoU (0..1) by rng seed", ylabel="")
    axes.set_yticks(axes.get_yticks(), [shortened(text.get_text()) for text in axes.get_yticklabels()])
    _plain(axes)
    return figure


def _draw_cost(data: pd.DataFrame) -> Drawing:
    figure = Drawing(figsize=(8.4, 3.8), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    colours = setting_colours(data["setting"])
    has_settings = len(colours) > 1
    costs = (("seconds", "stage-seconds behind a line"), ("label_hours", "label hours"))
    for axes, (cost, label) in zip(panels, costs, strict=True):
        points = data.sort_values([cost, "miou"], ascending=[True, False])
        front = points[points["miou"] > points["miou"].cummax().shift(fill_value=-1.0)]
        axes.step(front[cost], front["miou"], where="post", color="#888888", linewidth=1)
        sns.scatterplot(
            points, x=cost, y="miou", hue="setting", palette=colours, s=30, linewidth=0,
            legend=has_settings and axes is panels[0], ax=axes,
        )  # fmt: skip
        for n, (_, point) in enumerate(front.iterrows()):
            # Towards the middle: a name at the right end would leave the figure.
            side, shift = ("right", -4) if 2 * point[cost] > points[cost].max() else ("left", 4)
            # Above and below in turn: neighbours on the front are often close.
            height = -10 if n % 2 else 4
            axes.annotate(
                shortened(str(point["recipe"])), (point[cost], point["miou"]), (shift, height),
                textcoords="offset points", fontsize=7, ha=side, parse_math=False,
            )  # fmt: skip
        axes.set(xlabel=label, ylabel="mIoU (0..1)")
        _plain(axes)
    if has_settings:
        sns.move_legend(panels[0], "best", frameon=False)
    return figure


def _plain(axes: Axes) -> None:
    """Names as they are: `$` and `_` are letters in them, not mathematics."""
    for text in (*axes.get_yticklabels(), *axes.get_xticklabels()):
        text.set_parse_math(False)
    axes.grid(color="#888888", alpha=0.25, linewidth=0.6)
    sns.despine(ax=axes)


def _figure(name: str, explained: str, drawing: Drawing, shown: Shown, board: str = "") -> Figure:
    title = f"{name} · {board}" if board else name
    svg = _svg(drawing, f"{shown.name} {title}")
    # It is laid out now: once more for each other kind of file would take as long again.
    drawing.set_layout_engine("none")
    return Figure(title, explained, drawing, svg, board)


def _svg(drawing: Drawing, salt: str) -> str:
    """As SVG for a page: without a background, a size or ids that other figures on the page have too."""
    text = StringIO()
    with mpl.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none"}):
        drawing.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    _, _, svg = text.getvalue().partition("<svg")
    for pattern in UNWANTED:
        svg = pattern.sub("", svg)
    for colour, of_page in COLOURS.items():
        svg = svg.replace(colour, of_page)
    return '<svg aria-hidden="true"' + svg
