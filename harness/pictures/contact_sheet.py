"""A picture of many photos of a data set, their masks over them: the quickest way to see that both fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from harness.drawing.overlays import with_mask
from harness.drawing.sheet import legend
from harness.inspection.inspecting import Place
from harness.stages.source import spread
from settings.dataset import Dataset
from settings.errors import UserError
from settings.images import resize
from settings.records import UNKNOWN, Image
from settings.supervision import Gate

COLUMNS = 6
SIDE = 256
"""Photos are made at most this long before they are laid out, in pixels."""
MAX_CAPTION = 44


class Cell(NamedTuple):
    """One photo of the sheet, None where it cannot be read."""

    caption: str
    image: Image | None


def chosen(dataset: Dataset, count: int) -> list[Place]:
    """`count` photos (all, where there are fewer): as many of each split as it has, spread evenly over it."""
    shares = _shares({split: len(ids) for split, ids in dataset.splits.items()}, count)
    return [Place(split, photo_id) for split, ids in dataset.splits.items() for photo_id in spread(ids, shares[split])]


def _shares(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """An equal share each; what a small split leaves of its own goes to the larger ones."""
    shares: dict[str, int] = {}
    for position, split in enumerate(sorted(sizes, key=lambda split: sizes[split])):
        shares[split] = min(sizes[split], (count - sum(shares.values())) // (len(sizes) - position))
    return shares


def cells(dataset: Dataset, places: Iterable[Place]) -> list[Cell]:
    """Each photo under its mask, where it has one; what cannot be read becomes an empty cell that says so."""
    gate = Gate(dataset, "data show", "show")
    return [_cell(dataset, gate, place) for place in places]


def write_sheet(path: Path, dataset: Dataset, shown: Sequence[Cell]) -> None:
    """Write the cells as one PNG with a legend of the classes; raises UserError where that cannot be written."""
    title = f"{dataset.name}: {len(shown)} photos, void white"
    write_cells(path, shown, title, legend(range(1, UNKNOWN), dataset.label_space))


def write_cells(path: Path, shown: Sequence[Cell], title: str, handles: Sequence[Any] = ()) -> None:
    """Write the cells as one PNG, six a row, under a title; raises UserError where that cannot be written."""
    if path.suffix.lower() != ".png":
        raise UserError("--output", f"'{path}'", "a file that ends with .png")
    rows = max(1, ceil(len(shown) / COLUMNS))
    figure = Figure(figsize=(2 * COLUMNS, 2.1 * rows + 1), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, cell in zip(axes, shown, strict=False):
        axis.set_title(cell.caption, fontsize=6, parse_math=False)
        axis.imshow(cell.image if cell.image is not None else np.full((2, 3, 3), 200, np.uint8))
    figure.suptitle(title, fontsize=10, parse_math=False)
    if handles:
        figure.legend(handles=list(handles), loc="outside lower center", ncols=8, fontsize=7, frameon=False)
    _save(figure, path)


def _cell(dataset: Dataset, gate: Gate, place: Place) -> Cell:
    caption = short(f"{place.split} · {place.photo_id}")
    try:
        photo = dataset.photo(place.photo_id)
        names = short(", ".join(dataset.label_space.names[class_id] for class_id in photo.labels) or "no label")
        image = photo.image()
        if not dataset.has_mask(place.photo_id):
            return Cell(f"{caption}\n{names} · no mask", small(image))
        return Cell(f"{caption}\n{names}", small(with_mask(image, gate.mask(*place))))
    except UserError:
        return Cell(f"{caption}\nunreadable: see seedbed data check", None)


def short(text: str) -> str:
    """Cut to the width of a cell."""
    return text if len(text) <= MAX_CAPTION else text[: MAX_CAPTION - 1] + "…"


def small(image_HWC: Image) -> Image:
    """Shrunk to at most SIDE pixels."""
    height, width = image_HWC.shape[:2]
    shrink = min(1.0, SIDE / max(height, width))
    return resize(image_HWC, max(1, round(height * shrink)), max(1, round(width * shrink)))


def _save(figure: Figure, path: Path) -> None:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    try:
        path.write_bytes(buffer.getvalue())
    except OSError as error:
        raise UserError(
            "--output", f"'{path}', which cannot be written ({error.strerror})", "a place for a PNG"
        ) from None
