"""The figure from maps to segmentation: a small waterfall for each line."""

from __future__ import annotations

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.glance import FLOOR, shortened
from results.page.steps import Step, Steps

__all__ = ["MAX_PANELS", "draw_waterfalls", "with_steps"]

MAX_PANELS = 12
ACROSS = 4
MOST_LETTERS = 30
"""Of a line of a panel's title."""
WHOLE = "#0173b2"
COLOURS = {"+": "#029e73", "-": "#d55e00", "±": "#949494"}
"""Of the first stage, and of steps by their sign: from seaborn's palette for those who see few colours."""
SHORT = {"pseudo labels": "pseudo\nlabels", "segmentation ": "segm.\n"}
FONT = 7.5
"""Points of the numbers and names in a panel."""


def draw_waterfalls(steps: Steps) -> Figure:
    """A panel a line that has several stages, the first MAX_PANELS: mIoU of its first stage, then each step."""
    several = with_steps(steps)[:MAX_PANELS]
    down = -(-len(several) // ACROSS)
    figure = Figure(figsize=(8.4, 2.0 * down + 0.2), layout="constrained")
    panels = figure.subplots(down, ACROSS, sharey=True, squeeze=False).ravel()
    for axes, (name, of_line) in zip(panels, several, strict=False):
        having = [(title, step) for title, step in zip(steps.columns, of_line, strict=True) if step.miou is not None]
        _draw(axes, having)
        recipe, _, setting = name.rpartition(" · ")
        # Longer names would run into those of their neighbours.
        title = "\n".join(shortened(word, MOST_LETTERS) for word in (recipe, setting))
        axes.set_title(title, fontsize=8, parse_math=False)
    for axes in panels[len(several) :]:
        axes.set_axis_off()
    for axes in panels[::ACROSS]:
        axes.set_ylabel("mIoU (0..1)")
    return figure


def with_steps(steps: Steps) -> list[tuple[str, tuple[Step, ...]]]:
    """The lines that have several stages, without the floor: of nothing there is nothing to be gained or lost."""
    return [
        (name, of_line)
        for name, of_line in steps.rows
        if sum(step.miou is not None for step in of_line) > 1 and not name.startswith(f"{FLOOR} · ")
    ]


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
            fontsize=FONT,
        )
    names = [f"{_short(title)}*" if step.of else _short(title) for title, step in steps]
    axes.set_xticks(range(len(steps)), names, fontsize=FONT)
    axes.set(ylim=(0, 1))
    axes.grid(axis="y", color="#888888", alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    sns.despine(ax=axes)


def _short(title: str) -> str:
    for long, short in SHORT.items():
        title = title.replace(long, short)
    return title
