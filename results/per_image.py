"""What is kept per image: sparse confusions and sweep histograms, as parquet tables.

Subsets, bootstraps and threshold curves come from these tables, not from pixels again. Zeros are not stored; the
ids of all images, also of those without a counted pixel, lie in the schema's metadata under `images`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from results.metrics.counts import Counts, LabelCounts
from results.metrics.sweep import Sweep
from results.parquet import read_table, write_table
from settings.records import UNKNOWN

__all__ = [
    "SWEEP_AXES",
    "confusion_table",
    "image_ids",
    "joined",
    "label_table",
    "read_table",
    "stacked",
    "sweep_table",
    "total_counts",
    "total_label_counts",
    "total_sweep",
    "write_table",
]

_IMAGE = pa.field("image", pa.dictionary(pa.int32(), pa.string()), nullable=False)
_PIXELS = pa.field("pixels", pa.int64(), nullable=False)
Axes: TypeAlias = Mapping[str, pa.DataType]
CONFUSION_AXES: Axes = {"truth": pa.uint8(), "prediction": pa.uint8()}
SWEEP_AXES: Axes = {"truth": pa.uint8(), "winner": pa.uint8(), "exceeded": pa.uint16()}


def confusion_table(items: Iterable[tuple[str, Counts]]) -> pa.Table:
    """Columns image, truth, prediction, pixels of (image id, counts); ValueError for an id that comes twice."""
    return _sparse_table(((image, counts.confusion) for image, counts in items), CONFUSION_AXES)


def label_table(items: Iterable[tuple[str, LabelCounts]]) -> pa.Table:
    """A confusion table of (image id, counts of its pseudo label): undecided pixels have the prediction 255."""
    return _sparse_table(((image, _by_value(counts)) for image, counts in items), CONFUSION_AXES)


def sweep_table(items: Iterable[tuple[str, Sweep]]) -> pa.Table:
    """Columns image, truth, winner, exceeded, pixels of (image id, sweep); ValueError for an id that comes twice."""
    return _sparse_table(((image, sweep.histogram) for image, sweep in items), SWEEP_AXES)


def total_counts(table: pa.Table, classes: int) -> Counts:
    """The counts of all images of a confusion table together; ValueError for a class that is not below `classes`."""
    return Counts(_total(table, CONFUSION_AXES, (classes, classes)))


def total_label_counts(table: pa.Table, classes: int) -> LabelCounts:
    """The counts of all images of a label table together; ValueError for a value that is neither a class nor 255."""
    total = _total(table, CONFUSION_AXES, (classes, UNKNOWN + 1))
    decided, stray, undecided = np.split(total, [classes, UNKNOWN], axis=1)
    if stray.any():
        raise ValueError(f"prediction must be below {classes} or {UNKNOWN}")
    return LabelCounts(Counts(decided), undecided[:, 0])


def total_sweep(table: pa.Table, classes: int, steps: int = 100) -> Sweep:
    """The sweep of all images of a sweep table together; ValueError for values that `classes` and `steps` exclude."""
    return Sweep(_total(table, SWEEP_AXES, (classes, classes, steps + 1)))


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables of different images as one; raises ValueError for an image that stands in two of them."""
    images = [image for table in tables for image in image_ids(table)]
    if len(set(images)) < len(images):
        raise ValueError("an image comes twice")
    metadata = {"images": json.dumps(images)}
    return pa.concat_tables([table.replace_schema_metadata(metadata) for table in tables]).unify_dictionaries()


def stacked(parts: Sequence[tuple[int, pa.Table]]) -> pa.Table:
    """Tables of several rows of a leaderboard as one, with a first column `row` that tells them apart."""
    numbered = [
        table.add_column(0, pa.field("row", pa.int32(), nullable=False), pa.array([number] * len(table), pa.int32()))
        for number, table in parts
    ]
    return pa.concat_tables([table.replace_schema_metadata(None) for table in numbered]).unify_dictionaries()


def image_ids(table: pa.Table) -> tuple[str, ...]:
    """The ids of all images of a table, in the order they were given."""
    metadata = table.schema.metadata or {}
    if b"images" not in metadata:
        raise ValueError("a table per image must list its images in the schema's metadata")
    return tuple(json.loads(metadata[b"images"]))


def _by_value(counts: LabelCounts) -> NDArray[np.int64]:
    """The counts by true class and mask value, (classes, 256)."""
    classes = counts.decided.classes
    pixels = np.zeros((classes, UNKNOWN + 1), np.int64)
    pixels[:, :classes], pixels[:, UNKNOWN] = counts.decided.confusion, counts.undecided
    return pixels


def _sparse_table(items: Iterable[tuple[str, NDArray[np.int64]]], axes: Axes) -> pa.Table:
    images: list[str] = []
    cells: list[NDArray[np.int64]] = [np.zeros((2 + len(axes), 0), np.int64)]
    for number, (image, pixels) in enumerate(items):
        images.append(image)
        where = np.nonzero(pixels)
        cells.append(np.stack([np.full(len(where[0]), number), *where, pixels[where]]))
    if len(set(images)) < len(images):
        raise ValueError("an image comes twice")
    return _arrow(images, np.concatenate(cells, axis=1), axes)


def _arrow(images: list[str], columns: NDArray[np.int64], axes: Axes) -> pa.Table:
    fields = [_IMAGE, *(pa.field(name, kind, nullable=False) for name, kind in axes.items()), _PIXELS]
    schema = pa.schema(fields, metadata={"images": json.dumps(images)})
    numbers = pa.array(columns[0].astype(np.int32))
    image = pa.DictionaryArray.from_arrays(numbers, pa.array(images, pa.string()))
    # Any: pyarrow's stubs know no arrays of mixed kinds.
    rest: list[Any] = [pa.array(c).cast(f.type) for c, f in zip(columns[1:], fields[1:], strict=True)]
    return pa.Table.from_arrays([image, *rest], schema=schema)


def _total(table: pa.Table, axes: Axes, shape: tuple[int, ...]) -> NDArray[np.int64]:
    missing = {*axes, "pixels"} - set(table.column_names)
    if missing:
        raise ValueError(f"a table with the columns {[*axes, 'pixels']} expected, {sorted(missing)} missing")
    where = tuple(table.column(name).to_numpy().astype(np.int64) for name in axes)
    for name, values, size in zip(axes, where, shape, strict=True):
        if values.size and values.max() >= size:
            raise ValueError(f"{name} must be below {size}, found {values.max()}")
    total = np.zeros(shape, np.int64)
    np.add.at(total, where, table.column("pixels").to_numpy())
    return total
