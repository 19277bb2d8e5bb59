"""The figure from maps to segmentation: a small waterfall for each line."""

from __future__ import annotations

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.glance import shortened
from results.page.steps import Step, Steps

__all__ = ["MAX_PANELS", "draw_waterfalls"]

MAX_PANELS = 12
ACROSS = 4
WHOLE = "#0173b2"
COLOURS = {"+": "#029e73", "-": "#d55e00", "±": "#949494"}
"""Of the first stage, and of steps by their sign: from seaborn's palette for those who see few colours."""
SHORT = {"pseudo labels": "pseudo\nlabels", "segmentation": "segm."}


def draw_waterfalls(steps: Steps) -> Figure:
    """A panel a line that has several stages, the first MAX_PANELS: mIoU of its first stage, then each step."""
    several = [row for row in steps.rows if sum(step.miou is not None for step in row[1]) > 1][:MAX_PANELS]
    down = -(-len(several) // ACROSS)
    figure = Figure(figsize=(8.4, 1.9 * down + 0.2), layout="constrained")
    panels = figure.subplots(down, ACROSS, sharey=True, squeeze=False).ravel()
    for axes, (name, of_line) in zip(panels, several, strict=False):
        having = [(title, step) for title, step in zip(steps.columns, of_line, strict=True) if step.miou is not None]
        _draw(axes, having)
        axes.set_title(shortened(name).replace(" · ", "\n", 1), fontsize=8, parse_math=False)
    for axes in panels[len(several) :]:
        axes.set_axis_off()
    for axes in panels[::ACROSS]:
        axes.set_ylabel("mIoU (0..1)")
    return figure


def _draw(axes: Axes, steps: list[tuple[str, Step]]) -> None:
    for place, (_, step) in enumerate(steps):
        assert step.miou is not None
        change = step.miou if step.change is None else step.change
        colour = COLOURS.get(step.told[:1], WHOLE)
        # A step is a bar between the stage before and this one; a small one has a line at least.
        axes.bar([place], [change], bottom=step.miou - change, color=colour, width=0.7, edgecolor=colour, linewidth=1)
        text = f"{step.miou:.2f}" if step.change is None else step.told.replace("0.", ".", 1)
        axes.annotate(
            text,
            (place, max(step.miou, step.miou - change)),
            (0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=6,
        )
    axes.set_xticks(range(len(steps)), [_short(title) for title, _ in steps], fontsize=6)
    axes.set(ylim=(0, 1))
    axes.grid(axis="y", color="#888888", alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    sns.despine(ax=axes)


def _short(title: str) -> str:
    for long, short in SHORT.items():
        title = title.replace(long, short)
    return title
