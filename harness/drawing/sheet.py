"""A sheet of pictures: a line for each photo, a column for each kind of picture, and a legend of the colours.

A column is a name and a function that draws one cell: a further kind of picture is a further column.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from io import BytesIO
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.typing import ColorType

from harness.drawing.overlays import HEAT, map_of_class, mask_colours, reduced, with_maps, with_mask
from methods.base import LocalizationMaps
from settings.errors import UserError
from settings.records import UNKNOWN, Image, LabelSpace, Mask, Photo

__all__ = [
    *("Cell", "Column", "Row", "check_png", "legend", "maps_column", "masks_column", "png_of", "to_png", "write_png"),
]

WIDTH, CAPTION_WIDTH = 2.0, 1.3
"""Inches of a column of pictures, and of the column of names."""
CAPTION_LETTERS, CAPTION_LINES = 24, 7
MAX_LEGEND = 40
HEAT_STEPS = (0.0, 0.5, 1.0)
MIN_ASPECT, MAX_ASPECT = 0.4, 1.5
"""Height over width of a line: photos that are narrower or wider are shown smaller."""


class Cell(NamedTuple):
    """One picture, and the mask values in it that the legend must name."""

    image: Image
    values: frozenset[int] = frozenset()


class Column(NamedTuple):
    """What one column shows of a photo, over its (reduced) picture; None leaves a cell empty."""

    head: str
    draw: Callable[[str, Image], Cell | None]
    is_map: bool = False


class Row(NamedTuple):
    """One line of the sheet: a photo, and what stands beside its name."""

    photo: Photo
    note: str = ""


def maps_column(head: str, find: Callable[[str], LocalizationMaps | None], class_id: int | None = None) -> Column:
    """Localization maps by photo id: the strongest of each place, or the map of one class."""

    def cell(photo_id: str, image_HWC: Image) -> Cell | None:
        maps = find(photo_id)
        if maps is not None and class_id is not None:
            maps = map_of_class(maps, class_id)
        return None if maps is None else Cell(with_maps(image_HWC, maps))

    return Column(head, cell, is_map=True)


def masks_column(head: str, find: Callable[[str], Mask | None]) -> Column:
    """Masks by photo id: pseudo labels, predictions, truth."""

    def cell(photo_id: str, image_HWC: Image) -> Cell | None:
        mask_HW = find(photo_id)
        if mask_HW is None:
            return None
        # Background is drawn as the photo itself: it needs no colour in the legend.
        return Cell(with_mask(image_HWC, mask_HW), frozenset(np.unique(mask_HW).tolist()) - {0})

    return Column(head, cell)


def to_png(
    rows: Sequence[Row],
    columns: Sequence[Column],
    space: LabelSpace,
    title: str,
    base: Callable[[Image], Image] | None = None,
) -> bytes:
    """The sheet as PNG; `base` makes of a photo what everything is drawn over (default: the photo itself)."""
    lines = [_line(row, columns, base) for row in rows]
    figure = _figure(rows, lines, ("photo", *(column.head for column in columns)), space)
    figure.suptitle(title, fontsize=10, parse_math=False)
    values: set[int] = set()
    for line in lines:
        values.update(*(cell.values for cell in line if cell))
    handles = legend(values, space)
    if any(column.is_map for column in columns):
        handles += [_patch(colormaps[HEAT](step), f"map {step:g}") for step in HEAT_STEPS]
    if handles:
        figure.legend(
            handles=handles, loc="outside lower center", ncols=3 + 2 * len(columns), fontsize=8, frameon=False
        )
    return png_of(figure)


def png_of(figure: Figure) -> bytes:
    """A figure as PNG: equal figures give equal bytes."""
    buffer = BytesIO()
    # matplotlib would write its own version into the file.
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def check_png(path: Path) -> None:
    """Raise UserError for an `--output` of another ending, which is better told before anything is drawn."""
    if path.suffix.lower() != ".png":
        raise UserError("--output", f"'{path}'", "a file that ends with .png")


def write_png(path: Path, png: bytes) -> None:
    """Write what the user asked for by `--output`; raises UserError where that cannot be written."""
    try:
        path.write_bytes(png)
    except OSError as error:
        found = f"'{path}', which cannot be written ({error.strerror})"
        raise UserError("--output", found, "a place for a PNG") from None


def legend(values: Collection[int], space: LabelSpace) -> list[Patch]:
    """The colours and names of mask values, ascending; at most MAX_LEGEND classes."""
    colours = mask_colours() / 255
    classes = sorted(value for value in values if 0 < value <= space.foreground)
    named = [(value, space.names[value - 1]) for value in classes[:MAX_LEGEND]]
    if UNKNOWN in values:
        named.append((UNKNOWN, "unknown"))
    return [_patch(tuple(colours[value]), name) for value, name in named]


def _line(row: Row, columns: Sequence[Column], base: Callable[[Image], Image] | None) -> list[Cell | None]:
    image = reduced(row.photo.image())
    if base:
        image = base(image)
    return [Cell(image), *(column.draw(row.photo.id, image) for column in columns)]


def _figure(
    rows: Sequence[Row], lines: Sequence[Sequence[Cell | None]], heads: Sequence[str], space: LabelSpace
) -> Figure:
    """The cells on a grid whose lines are as high as their photos."""
    heights = [WIDTH * _aspect(line[0]) for line in lines]
    widths = [CAPTION_WIDTH] + [WIDTH] * len(heads)
    figure = Figure(figsize=(sum(widths), sum(heights) + 1.2), layout="constrained")
    # Without pyplot, which keeps figures and may look for a screen.
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(lines), len(widths), squeeze=False, width_ratios=widths, height_ratios=heights)
    for row, line, (caption, *places) in zip(rows, lines, axes, strict=True):
        _write_caption(caption, row, space)
        for axis, cell in zip(places, line, strict=True):
            _draw_cell(axis, cell)
    for axis, head in zip(axes[0][1:], heads, strict=True):
        axis.set_title(head, fontsize=8, parse_math=False)
    return figure


def _aspect(cell: Cell | None) -> float:
    if cell is None:
        return 1.0
    height, width = cell.image.shape[:2]
    return float(min(MAX_ASPECT, max(MIN_ASPECT, height / width)))


def _patch(colour: ColorType, name: str) -> Patch:
    # matplotlib reads `$` as mathematics, and leaves out of legends what begins with `_`.
    plain = name.replace("$", r"\$")
    if plain.startswith("_"):
        plain = f" {plain[1:]}"
    return Patch(facecolor=colour, edgecolor="grey", linewidth=0.5, label=plain)


def _write_caption(axis: Axes, row: Row, space: LabelSpace) -> None:
    names = ", ".join(space.names[class_id] for class_id in row.photo.labels)
    lines = []
    for text in (row.photo.id, names, row.note):
        lines += wrap(text, CAPTION_LETTERS)
    if len(lines) > CAPTION_LINES:
        lines = [*lines[: CAPTION_LINES - 1], "…"]
    axis.set_axis_off()
    axis.text(0, 0.5, "\n".join(lines), fontsize=7, va="center", transform=axis.transAxes, parse_math=False)


def _draw_cell(axis: Axes, cell: Cell | None) -> None:
    axis.set_axis_off()
    if cell is None:
        axis.text(0.5, 0.5, "–", ha="center", va="center", transform=axis.transAxes)
    else:
        axis.imshow(cell.image)
