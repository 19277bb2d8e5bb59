"""The figure of thresholds: what the maps of each line would reach at every background threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from results.glance import shortened
from results.metrics.miou import Floats
from results.page.counts import Counts, maps_column
from results.shown import Table

__all__ = ["MAX_CURVES", "Curve", "draw_thresholds", "threshold_curves"]

MAX_CURVES = 10
"""Lines on the figure: more colours than these are hard to tell apart."""


@dataclass(frozen=True)
class Curve:
    """mIoU of a line's maps by threshold, a mean over rng seeds."""

    name: str
    thresholds: Floats
    """(steps,), ascending."""
    miou: Floats
    """(steps,)."""
    used: float
    """The threshold that was declared, or chosen beforehand: a mean over rng seeds."""

    @property
    def at_used(self) -> float:
        """The curve's mIoU at the used threshold."""
        return float(np.interp(self.used, self.thresholds, self.miou))

    @property
    def best(self) -> float:
        """The threshold with the highest mIoU."""
        return float(self.thresholds[int(np.argmax(self.miou))])


def threshold_curves(table: Table, counts: Counts) -> list[Curve]:
    """Of a board's lines whose maps have counts at every threshold, in the order of the board."""
    curves = []
    for line in table.made_of:
        column = maps_column(line)
        rows = line.cells[column].rows if column else ()
        used = [row.threshold for row in rows if row.threshold is not None]
        sweeps = [counts.sweeps[row.identity] for row in rows if row.identity in counts.sweeps]
        if not sweeps or len(sweeps) < len(rows) or len(used) < len(rows):
            continue
        miou = np.mean([sweep.curve() for sweep in sweeps], axis=0)
        if not np.isnan(miou).any():
            curves.append(Curve(f"{line.name} · {line.setting}", sweeps[0].thresholds.astype(float), miou, fmean(used)))
    return curves


def draw_thresholds(curves: Sequence[Curve]) -> Figure:
    """A line each, with a filled point at the threshold that was used and a hollow one at the best."""
    figure = Figure(figsize=(8.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for curve, colour in zip(curves, sns.color_palette("colorblind", len(curves)), strict=True):
        axes.plot(curve.thresholds, curve.miou, color=colour, linewidth=1.5, label=shortened(curve.name))
        best = curve.miou.max()
        axes.plot([curve.best], [best], marker="o", markersize=8, color=colour, markerfacecolor="none", linestyle="")
        axes.plot([curve.used], [curve.at_used], marker="o", markersize=4.5, color=colour, linestyle="")
    axes.set(xlabel="background threshold (0..1)", ylabel="mIoU of the maps (0..1)", xlim=(0, 1), ylim=(0, None))
    axes.grid(color="#888888", alpha=0.25, linewidth=0.6)
    sns.despine(ax=axes)
    legend = figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure
