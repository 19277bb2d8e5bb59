"""A sheet of pictures: a line for each photo, a column for each kind of picture, and a legend of the colours.

A column is a name and a function that draws one cell: a further kind of picture is a further column. matplotlib sets
the texts and the legend alone; pictures are put between them pixel by pixel, for an axis each takes ten times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple
from zlib import Z_RLE

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.transforms import Affine2D
from matplotlib.typing import ColorType
from PIL import Image as PillowImage

from harness.drawing.overlays import HEAT, map_of_class, mask_colours, reduced, with_maps, with_mask, with_saliency
from methods.base import LocalizationMaps, Saliency
from settings.errors import UserError
from settings.records import UNKNOWN, Image, LabelSpace, Mask, Photo

__all__ = [
    *("MAX_LEGEND", "Cell", "Column", "Row", "check_png", "legend", "maps_column", "masks_column", "png_of"),
    *("saliency_column", "to_png", "write_png"),
]

DPI = 110
PICTURE, GAP, CAPTION_WIDTH = 210, 10, 145
"""Pixels: of a column of pictures, between pictures, and of the column of names, which grows with wide letters."""
TITLE_LETTER, TITLE_LINE, HEAD_LINE = 9.5, 19, 15
"""Pixels: of a letter of the title on average, and of lines of the title and of the heads."""
CAPTION_LETTERS, CAPTION_LINES, HEAD_LETTERS = 24, 7, 28
MAX_LEGEND = 40
HEAT_STEPS = (0.0, 0.5, 1.0)
MIN_ASPECT, MAX_ASPECT = 0.4, 1.5
"""Height over width of a line: photos that are narrower or wider are shown smaller."""
BLOCKS = 3
"""Photos that are enlarged this often or more keep their pixels as blocks; others are smoothed."""


class Cell(NamedTuple):
    """One picture, and the mask values in it that the legend must name."""

    image: Image
    values: frozenset[int] = frozenset()


class Column(NamedTuple):
    """A head, and a function that draws a photo's cell over its (reduced) picture; None leaves the cell empty."""

    head: str
    draw: Callable[[str, Image], Cell | None]
    is_map: bool = False


class Row(NamedTuple):
    """One line of the sheet: a photo, and what stands below its name and labels, such as its score."""

    photo: Photo
    note: str = ""


def maps_column(head: str, find: Callable[[str], LocalizationMaps | None], class_id: int | None = None) -> Column:
    """A column of localization maps by photo id: the strongest of each place, or the map of one class.

    Each class has its rim, and its name in the legend.
    """

    def cell(photo_id: str, image_HWC: Image) -> Cell | None:
        maps = find(photo_id)
        if maps is not None and class_id is not None:
            maps = map_of_class(maps, class_id)
        if maps is None:
            return None
        return Cell(with_maps(image_HWC, maps), frozenset(class_id + 1 for class_id in maps.class_ids))

    return Column(head, cell, is_map=True)


def saliency_column(head: str, find: Callable[[str], Saliency | None]) -> Column:
    """A column of a cue's saliency by photo id; a cell is empty where `find` gives None."""

    def cell(photo_id: str, image_HWC: Image) -> Cell | None:
        saliency_HW = find(photo_id)
        if saliency_HW is None:
            return None
        return Cell(with_saliency(image_HWC, saliency_HW))

    return Column(head, cell, is_map=True)


def masks_column(head: str, find: Callable[[str], Mask | None]) -> Column:
    """A column of masks by photo id: pseudo labels, predictions, truth; a cell is empty where `find` gives None."""

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
    page = _Page([_caption(row, space) for row in rows], ("photo", *(column.head for column in columns)), title)
    values: set[int] = set()
    for line in lines:
        for cell in filter(None, line):
            values |= cell.values
    # What is shown alone: the names of all of COCO's classes would leave no room for the pictures.
    handles = legend(values, space)
    if any(column.is_map for column in columns):
        for step in HEAT_STEPS:
            handles.append(_patch(colormaps[HEAT](step), f"map {step:g}"))
        handles.append(_patch("none", "rim of a map: half of its class's highest value; of saliency: ½"))
    return page.drawn(lines, handles)


def png_of(figure: Figure) -> bytes:
    """A figure as PNG at 110 dots an inch: equal figures give equal bytes, without date and version."""
    figure.set_dpi(DPI)
    return _encoded(_pixels(figure))


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
    # Reduced before anything is drawn: a sheet holds all its pictures in memory at once.
    image = reduced(row.photo.image())
    if base:
        image = base(image)
    return [Cell(image), *(column.draw(row.photo.id, image) for column in columns)]


class _Page:
    """A sheet while it is laid out: places are pixels to the right of and below its upper left corner."""

    def __init__(self, captions: Sequence[str], heads: Sequence[str], title: str) -> None:
        self._figure = Figure(dpi=DPI)
        self._renderer = _canvas(self._figure).get_renderer()
        self._downwards = Affine2D().scale(1, -1)
        self._captions = [self._write(GAP / 2, 0, text, fontsize=7, va="center") for text in captions]
        widths = [caption.get_window_extent(self._renderer).width for caption in self._captions]
        self._left = round(max([CAPTION_WIDTH, *widths]) + GAP)
        self._columns = len(heads)
        self._width = self._left + self._columns * (PICTURE + GAP)
        titles = wrap(title, int(self._width / TITLE_LETTER))
        self._write(self._width / 2, GAP / 2, "\n".join(titles), fontsize=10, ha="center", va="top")
        wrapped = [_wrapped(head.split("\n"), HEAD_LETTERS) for head in heads]
        self._top = GAP + TITLE_LINE * len(titles) + HEAD_LINE * max(map(len, wrapped))
        for number, lines in enumerate(wrapped):
            centre = self._left_of(number) + PICTURE / 2
            self._write(centre, self._top - GAP / 2, "\n".join(lines), fontsize=8, ha="center", va="bottom")

    def drawn(self, lines: Sequence[Sequence[Cell | None]], handles: Sequence[Patch]) -> bytes:
        """The page as PNG: a line as high as its first picture, between MIN_ASPECT and MAX_ASPECT of its width."""
        heights = [round(PICTURE * _aspect(line[0])) for line in lines]
        *tops, bottom = accumulate((height + GAP for height in heights), initial=self._top)
        for caption, top, height, line in zip(self._captions, tops, heights, lines, strict=True):
            caption.set_y(top + height / 2)
            for number, cell in enumerate(line):
                if cell is None:
                    self._write(self._left_of(number) + PICTURE / 2, top + height / 2, "–", ha="center", va="center")
        bottom += self._add_legend(handles)
        # Half a pixel more: the canvas cuts fractions off, and these are quotients.
        self._figure.set_size_inches((self._width + 0.5) / DPI, (bottom + 0.5) / DPI)
        self._downwards.translate(0, bottom)
        page_HWC = _pixels(self._figure)
        for top, height, line in zip(tops, heights, lines, strict=True):
            for number, cell in enumerate(line):
                if cell is not None:
                    _paste(page_HWC, cell.image, top, self._left_of(number), height)
        return _encoded(page_HWC)

    def _left_of(self, column: int) -> int:
        return self._left + column * (PICTURE + GAP)

    def _write(self, x: float, y: float, text: str, **how: Any) -> Text:
        return self._figure.text(x, y, text, transform=self._downwards, parse_math=False, **how)

    def _add_legend(self, handles: Sequence[Patch]) -> int:
        """Put the legend below everything, in as many columns as there is room for; returns its height."""
        if not handles:
            return 0
        columns = 1 + 2 * self._columns
        while True:
            added = self._figure.legend(
                handles=list(handles), loc="lower center", ncols=columns, fontsize=8, frameon=False, borderaxespad=0
            )
            extent = added.get_window_extent(self._renderer)
            if extent.width <= self._width or columns == 1:
                return round(extent.height)
            added.remove()
            columns = min(columns - 1, max(1, int(columns * self._width / extent.width)))


def _paste(page_HWC: Image, image_HWC: Image, top: int, left: int, height: int) -> None:
    """Put a picture into the middle of its cell, as large as fits there."""
    scale = min(height / image_HWC.shape[0], PICTURE / image_HWC.shape[1])
    size = [max(1, round(scale * side)) for side in image_HWC.shape[:2]]
    how = PillowImage.Resampling.HAMMING
    if scale >= BLOCKS:
        how = PillowImage.Resampling.NEAREST
    top += (height - size[0]) // 2
    left += (PICTURE - size[1]) // 2
    fitted = PillowImage.fromarray(image_HWC).resize((size[1], size[0]), how)
    page_HWC[top : top + size[0], left : left + size[1]] = np.asarray(fitted)


def _canvas(figure: Figure) -> Any:
    """A canvas without pyplot, which keeps figures and may look for a screen; matplotlib gives it no types."""
    return FigureCanvasAgg(figure)


def _pixels(figure: Figure) -> Image:
    canvas = _canvas(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _encoded(pixels_HWC: Image) -> bytes:
    """The bytes of an RGB PNG."""
    buffer = BytesIO()
    # Photos repeat little but runs: to seek nothing else takes a fifth of the time, for a file 7 % larger.
    PillowImage.fromarray(pixels_HWC).save(buffer, "PNG", compress_type=Z_RLE)
    return buffer.getvalue()


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


def _caption(row: Row, space: LabelSpace) -> str:
    names = ", ".join(space.names[class_id] for class_id in row.photo.labels)
    lines = _wrapped((row.photo.id, names, row.note), CAPTION_LETTERS)
    if len(lines) > CAPTION_LINES:
        lines = [*lines[: CAPTION_LINES - 1], "…"]
    return "\n".join(lines)


def _wrapped(texts: Sequence[str], letters: int) -> list[str]:
    lines = []
    for text in texts:
        lines += wrap(text, letters)
    return lines
