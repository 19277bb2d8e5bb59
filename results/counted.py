"""What rows were scored from, image by image: pixels of each class that are right, predicted and true."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from results.metrics.counts import Counts
from results.metrics.image_sums import ImageSums
from results.metrics.sweep import Sweep
from results.parquet import read_table
from results.per_image import SWEEP_AXES, stacked, total_sweep
from results.rows import Row
from results.statistics import PixelSums, Whole
from settings.errors import UserError
from settings.records import UNKNOWN

__all__ = [
    "Counted",
    "ImageSums",
    "KeptCounts",
    "class_sums",
    "counts_of_folder",
    "counts_to_keep",
    "image_sums",
    "joined_sums",
    "sums_of_folder",
    "sums_of_images",
    "sweeps_of_folder",
]

STEPS = 100
"""Thresholds of a sweep."""
SAME = 1e-6
"""mIoU of the same counts, added in another order."""


def image_sums(table: pa.Table, classes: int, threshold: float | None = None) -> ImageSums:
    """From a table of confusions or labels (255 is background), or of sweeps, read at the row's `threshold`.

    `classes` includes the background. Raises ValueError for values that are no class, and for missing and negative
    ones.
    """
    if any(column.null_count for column in table.columns):
        raise ValueError("counts without a value (null)")
    ids, image = _images(table)
    truth, pixels = (table.column(name).to_numpy().astype(np.int64) for name in ("truth", "pixels"))
    predicted = _predicted(table, threshold)
    if truth.size and max(truth.max(), predicted.max()) >= classes:
        raise ValueError(f"classes must be below {classes}, found {max(truth.max(), predicted.max())}")
    if pixels.size and pixels.min() < 0:
        raise ValueError(f"counts are not negative, found {pixels.min()}")

    def summed(values: Whole, where: slice | Whole) -> Whole:
        cells = image[where] * classes + values[where]
        found = np.bincount(cells, pixels[where], len(ids) * classes)
        return found.astype(np.int64).reshape(len(ids), classes)

    everywhere = slice(None)
    hits = summed(truth, np.flatnonzero(truth == predicted))
    confusion = np.bincount(truth * classes + predicted, pixels, classes * classes).astype(np.int64)
    return ImageSums(
        tuple(ids.tolist()),
        hits,
        summed(predicted, everywhere),
        summed(truth, everywhere),
        confusion.reshape(classes, classes),
    )


def _images(table: pa.Table) -> tuple[NDArray[np.str_], Whole]:
    """The ids of the images, ascending, and the place among them of each record's."""
    images = table.column("image").combine_chunks().dictionary_encode()
    used, record = np.unique(images.indices.to_numpy(), return_inverse=True)
    ids = np.array([str(image) for image in images.dictionary.to_pylist()])[used]
    order = np.argsort(ids)
    place = np.empty(len(ids), np.int64)
    place[order] = np.arange(len(ids))
    return ids[order], place[record]


def _predicted(table: pa.Table, threshold: float | None) -> Whole:
    if set(SWEEP_AXES) <= set(table.column_names):
        step = 0 if threshold is None else round(threshold * STEPS)
        exceeded = table.column("exceeded").to_numpy()
        return np.where(exceeded > step, table.column("winner").to_numpy(), 0).astype(np.int64)
    predicted = table.column("prediction").to_numpy().astype(np.int64)
    return np.where(predicted == UNKNOWN, 0, predicted)


def sums_of_folder(
    rows: Sequence[Row], score_counts: Path, sweep_counts: Path, wanted: Collection[int] | None = None
) -> dict[int, ImageSums]:
    """By position, of the rows of a leaderboard's folder, from the counts per image that lie beside them.

    `wanted` are the positions of the rows that are asked for; None: all. Rows that were counted together, or whose
    masks are the same, have one entry in the tables. A row without counts (a hole, or one of a folder that is older
    than they are) has none here either.
    """
    found: dict[int, ImageSums] = {}
    for part in counts_of_folder(rows, score_counts, sweep_counts):
        asked = [n for n in part.rows if wanted is None or n in wanted]
        found |= {n: _checked(part.path, part.table, rows[n]) for n in asked}
    return found


class KeptCounts(NamedTuple):
    """Counts per image as a leaderboard's folder keeps them, once for all rows that were read off them."""

    path: Path
    is_sweep: bool
    rows: tuple[int, ...]
    """The positions of those rows."""
    table: pa.Table
    """With a first column `row`, the position of the row under which they were written."""


def counts_of_folder(rows: Sequence[Row], score_counts: Path, sweep_counts: Path) -> Iterator[KeptCounts]:
    """Each measurement in the files of a leaderboard's folder, with the rows that it is the measurement of."""
    for path, counting in ((score_counts, _measured), (sweep_counts, _swept)):
        if not path.exists():
            continue
        together: dict[tuple[object, ...], list[int]] = {}
        for n, row in enumerate(rows):
            if row.miou is not None:
                together.setdefault(counting(row), []).append(n)
        for position, part in _parts(read_table(path)):
            if 0 <= position < len(rows):
                asked = together.get(counting(rows[position]), ())
                yield KeptCounts(path, counting is _swept, tuple(asked), part)


class Counted(NamedTuple):
    """The counts per image of one row."""

    is_sweep: bool
    table: pa.Table


def counts_to_keep(rows: Sequence[Row], counted: Mapping[int, Counted], sweeps: bool) -> pa.Table | None:
    """The table of a leaderboard's folder, of masks or of `sweeps`, from what was counted for rows by their position.

    What rows have in common is written once, under the first of them; None where nothing was counted.
    """
    counting = _swept if sweeps else _measured
    parts: dict[tuple[object, ...], tuple[int, pa.Table]] = {}
    for n, (is_sweep, table) in sorted(counted.items()):
        if is_sweep == sweeps:
            own = table.drop_columns([name for name in table.column_names if name == "row"])
            parts.setdefault(counting(rows[n]), (n, own))
    return stacked(list(parts.values())) if parts else None


def sweeps_of_folder(rows: Sequence[Row], sweep_counts: Path, wanted: Collection[int]) -> dict[int, Sweep]:
    """By position, the counts at every threshold of all photos together, of those `wanted` rows that have them.

    Raises UserError for counts of other classes than the row's.
    """
    if not sweep_counts.exists():
        return {}
    found: dict[int, Sweep] = {}
    together: dict[tuple[object, ...], list[int]] = {}
    for n in wanted:
        together.setdefault(_swept(rows[n]), []).append(n)
    for position, part in _parts(read_table(sweep_counts)):
        asked = together.get(_swept(rows[position]), ()) if 0 <= position < len(rows) else ()
        if asked:
            classes = len(rows[position].classes)
            try:
                sweep = total_sweep(part, classes, STEPS)
            except ValueError as error:
                raise UserError(sweep_counts, str(error), f"counts of {classes} classes") from None
            found |= dict.fromkeys(asked, sweep)
    return found


def _parts(table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """The records of each row, by its position; those of one row lie together."""
    positions = table.column("row").to_numpy()
    starts = np.flatnonzero(np.diff(positions, prepend=-1))
    for start, end in pairwise([*starts.tolist(), len(positions)]):
        yield int(positions[start]), table.slice(start, end - start)


def _swept(row: Row) -> tuple[object, ...]:
    """What one sweep serves: every policy."""
    return (*row.option_set, row.dataset, row.split, row.setting, row.rng_seed, row.stage, row.variant)


def _measured(row: Row) -> tuple[object, ...]:
    """Rows that agree in this are one measurement; those that are older than `counts` tell it by their values."""
    return (row.evaluation_fingerprint, row.counts or tuple(row.per_class))


def _checked(path: Path, table: pa.Table, row: Row) -> ImageSums:
    """The sums of a row; UserError where they are no counts of its classes, or do not give its mIoU."""
    try:
        sums = image_sums(table, len(row.classes), row.threshold)
    except ValueError as error:
        place = f"row {row.recipe}, {row.setting}, rng seed {row.rng_seed}, {row.stage}"
        raise UserError(path, f"{error} ({place})", f"counts of {len(row.classes)} classes") from None
    (miou,) = joined_sums([sums]).miou()
    if row.miou is None or abs(miou - row.miou) > SAME:
        found = f"counts with mIoU {miou:.6f} for {row.recipe}, {row.setting}, rng seed {row.rng_seed}, {row.stage}"
        raise UserError(path, found, f"those of its row, {row.miou}", "run the suite again")
    return sums


def class_sums(counts: Counts) -> Whole:
    """Pixels that are right, predicted and true, by class: (3, K + 1)."""
    return np.stack([np.diagonal(counts.confusion), counts.confusion.sum(axis=0), counts.confusion.sum(axis=1)])


def sums_of_images(sums: Mapping[str, Whole], total: Counts) -> ImageSums:
    """From the `class_sums` of each image, and the counts of all of them together."""
    images = sorted(sums)
    hits, predicted, truth = np.stack([sums[image] for image in images], axis=1)
    return ImageSums(tuple(images), hits, predicted, truth, total.confusion)


def joined_sums(rows: Sequence[ImageSums]) -> PixelSums:
    """Of the rng seeds of one line; ValueError where they were scored on other true masks than each other."""
    images = sorted({image for row in rows for image in row.images})
    wide = [row.over(images) for row in rows]
    if any(not np.array_equal(row.truth_NC, wide[0].truth_NC) for row in wide):
        raise ValueError("the rng seeds were scored on other true masks than each other")
    hits, predicted = (np.stack([getattr(row, name) for row in wide]) for name in ("hits_NC", "predicted_NC"))
    return PixelSums(hits, predicted, wide[0].truth_NC)
