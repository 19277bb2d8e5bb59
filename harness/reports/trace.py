"""From the numbers of a line back to the stored counts that they are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev

from harness.reports.sides import LeaderboardPlace
from results.counted import ImageSums
from results.lines import Column, pipeline_order
from results.metrics.miou import iou
from results.rows import Row
from results.shown import Table
from settings.errors import UserError, unknown_name

__all__ = ["traced"]


def traced(folder: Path, name: str) -> Iterator[Table]:
    """A table of counts for each row of `RECIPE` or `RECIPE@SETTING`: IoU = right / (predicted + true - right).

    Behind those of several rng seeds stands a table of the means over these, which are what a board shows.

    Raises UserError for a folder that is no leaderboard, for unknown names, and where no counts are kept.
    """
    place = LeaderboardPlace(folder)
    recipe, _, setting = name.partition("@")
    known = {row.recipe for row in place.rows}
    if recipe not in known:
        raise unknown_name("--trace", "recipe", recipe, known)
    settings = {row.setting for row in place.rows if row.recipe == recipe}
    if setting and setting not in settings:
        raise unknown_name("--trace", f"setting of {recipe}", setting, settings)
    found = [n for n, row in enumerate(place.rows) if row.recipe == recipe and row.setting in (setting or row.setting,)]
    scored = sorted((n for n in found if place.rows[n].miou is not None), key=lambda n: _order(place.rows[n]))
    if not scored:
        raise UserError("--trace", f"no score of {name}", "a line with a finished row")
    of_cell: list[Row] = []
    for n, sums in zip(scored, place.counts(scored), strict=True):
        row = place.rows[n]
        if of_cell and _cell(of_cell[0]) != _cell(row):
            yield from _means(of_cell)
            of_cell = []
        of_cell.append(row)
        yield _table(row, n, sums)
    yield from _means(of_cell)


def _order(row: Row) -> tuple[object, ...]:
    return (*_cell(row), row.rng_seed)


def _cell(row: Row) -> tuple[object, ...]:
    """What rows have in common that are one number of a board."""
    return (row.setting, row.policy, pipeline_order(Column(row.stage, row.variant)), row.options)


def _means(rows: Sequence[Row]) -> Iterator[Table]:
    """The means of several rows, each of whose IoU was shown before."""
    miou = [row.miou for row in rows if row.miou is not None]
    if len(miou) < 2 or len(miou) < len(rows):
        return
    lines = []
    for name, *of_class in zip(rows[0].classes, *(row.per_class for row in rows), strict=True):
        values = [value for value in of_class if value is not None]
        lines.append((name, f"{fmean(values):.6f}" if len(values) == len(rows) else "–"))
    notes = (f"mIoU {fmean(miou):.6f} ± {stdev(miou):.6f}: mean and standard deviation over {len(rows)} rng seeds",)
    yield Table(f"{_title(rows[0])} · mean over rng seeds", ("class", "mean IoU"), tuple(lines), notes)


def _title(row: Row) -> str:
    return f"{row.recipe} · {row.setting} · {Column(row.stage, row.variant).title} · {row.policy}"


def _table(row: Row, number: int, sums: ImageSums) -> Table:
    right_K, predicted_K, true_K = (each.sum(axis=0) for each in (sums.hits_NC, sums.predicted_NC, sums.truth_NC))
    iou_K = iou(right_K, true_K, predicted_K)
    lines = tuple(
        (name, *(str(int(pixels[k])) for pixels in (right_K, predicted_K, true_K)), f"{iou_K[k]:.6f}")
        for k, name in enumerate(row.classes)
    )
    notes = (
        f"mIoU {row.miou:.6f}: the mean of these IoU, right / (predicted + true − right); pixels of "
        f"{len(sums.images)} photos of {row.split}, row {number} of rows.parquet",
    )
    title = f"{_title(row)} · rng seed {row.rng_seed}"
    return Table(title, ("class", "right", "predicted", "true", "IoU"), lines, notes)
