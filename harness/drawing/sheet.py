"""A sheet of pictures: one line a photo, one column a kind of picture, with a legend of what the colours mean."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from io import BytesIO
from textwrap import wrap
from typing import Any, NamedTuple

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from harness.drawing.cells import Cell, Column
from harness.drawing.overlays import HEAT, mask_colours, reduced
from settings.records import UNKNOWN, Image, LabelSpace, Photo

WIDTH, CAPTION_WIDTH = 2.0, 1.3
"""Of a column of pictures, and of the column of names, in inches."""
CAPTION_LETTERS, CAPTION_LINES = 24, 7
MAX_LEGEND = 40
HEAT_STEPS = (0.0, 0.5, 1.0)
MIN_ASPECT, MAX_ASPECT = 0.4, 1.5
"""Of a line, height over width: narrower photos are shown smaller."""


class Row(NamedTuple):
    """One line of the sheet: a photo, and what stands beside its name."""

    photo: Photo
    note: str = ""


Line = list[Cell | None]


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
    values = frozenset().union(*(cell.values for line in lines for cell in line if cell))
    handles = legend(values, space) + (_heat_legend() if any(column.is_map for column in columns) else [])
    if handles:
        figure.legend(
            handles=handles, loc="outside lower center", ncols=3 + 2 * len(columns), fontsize=8, frameon=False
        )
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def legend(values: Collection[int], space: LabelSpace) -> list[Patch]:
    """The colours and names of mask values, ascending; at most MAX_LEGEND classes."""
    colours = mask_colours() / 255
    classes = sorted(value for value in values if 0 < value <= space.foreground)
    named = [(value, space.names[value - 1]) for value in classes[:MAX_LEGEND]]
    unknown = [(UNKNOWN, "unknown")] if UNKNOWN in values else []
    return [_patch(colours[value], name) for value, name in named + unknown]


def _line(row: Row, columns: Sequence[Column], base: Callable[[Image], Image] | None) -> Line:
    image = reduced(row.photo.image())
    image = base(image) if base else image
    return [Cell(image), *(column.draw(row.photo.id, image) for column in columns)]


def _figure(rows: Sequence[Row], lines: Sequence[Line], heads: Sequence[str], space: LabelSpace) -> Figure:
    """The cells on a grid whose lines are as high as their photos."""
    heights = [WIDTH * min(MAX_ASPECT, max(MIN_ASPECT, _aspect(line[0]))) for line in lines]
    widths = [CAPTION_WIDTH] + [WIDTH] * len(heads)
    figure = Figure(figsize=(sum(widths), sum(heights) + 1.2), layout="constrained")
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
    return cell.image.shape[0] / cell.image.shape[1] if cell else 1.0


def _heat_legend() -> list[Patch]:
    return [_patch(colormaps[HEAT](step), f"map {step:g}") for step in HEAT_STEPS]


def _patch(colour: Any, name: str) -> Patch:
    return Patch(facecolor=colour, edgecolor="grey", linewidth=0.5, label=_plain(name))


def _write_caption(axis: Axes, row: Row, space: LabelSpace) -> None:
    names = ", ".join(space.names[class_id] for class_id in row.photo.labels)
    lines = [line for text in (row.photo.id, names, row.note) for line in wrap(text, CAPTION_LETTERS)]
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


def _plain(name: str) -> str:
    """matplotlib reads `$` as mathematics, and leaves out of legends what begins with `_`."""
    return name.replace("$", r"\$").replace("_", " ", 1) if name.startswith("_") else name.replace("$", r"\$")
