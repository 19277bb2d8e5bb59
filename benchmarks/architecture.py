"""The rooms of the code and the imports between them, from the code: the picture of docs/architecture.md.

python -m benchmarks.architecture                            # the arrows as text
python -m benchmarks.architecture docs/architecture.svg      # the picture, as SVG, PNG or PDF
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.house import ROOT, Source, imports, of_package, read

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LAYERS = (
    ("commands", "api"),
    ("pictures", "inspection", "checkups", "leaderboards", "searching", "tracking"),
    ("reports",),
    ("execution",),
    ("stages",),
    ("store",),
    ("suites", "conversion", "drawing"),
    ("methods", "results"),
    ("settings",),
)
"""Rooms from top to bottom; a room may import from the layers below its own. Up to `drawing` they are the harness's."""

PACKAGES = ("methods", "results", "settings")
FILLS = {"methods": "#bfe3c6", "results": "#f6d9ad", "settings": "#d9dde3"}
HARNESS_FILL = "#bcd7f5"
INK = "#1f2328"
# Greys of the same contrast to white and to GitHub's dark background, since the picture itself has none.
LINE, BAND, UPWARD = "#7d8590", "#80808022", "#d1242f"
PITCH_X, PITCH_Y, BOX_WIDTH, BOX_HEIGHT = 0.74, 0.62, 2.7, 0.44
LINE_WIDTH = 1.3
DOOR = 0.34
"""How far before its box's right end an arrow comes down."""


@dataclass(frozen=True)
class Room:
    """A folder of the harness, or a whole package beside it: how large it is."""

    name: str
    layer: int
    files: int
    lines: int


def room_of(module: str) -> str:
    """The room of a module by its dotted name; what lies in `harness` itself is the api."""
    package, *rest = module.split(".")
    if package in PACKAGES:
        return package
    known = {room for layer in LAYERS for room in layer}
    return rest[0] if rest and rest[0] in known else "api"


def rooms(sources: Sequence[Source]) -> list[Room]:
    """The rooms from top to bottom; raises ValueError for a folder of the harness that is in no layer."""
    harness = of_package(sources, "harness")
    folders = {source.name.split(".")[1] for source in harness if source.is_package and source.name != "harness"}
    stray = folders - {name for layer in LAYERS for name in layer}
    if stray:
        raise ValueError(f"benchmarks/architecture.py: no layer for {', '.join(sorted(stray))}")
    files: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for source in sources:
        files[room_of(source.name)] += 1
        lines[room_of(source.name)] += source.lines
    found = []
    for layer, names in enumerate(LAYERS):
        found += [Room(name, layer, files[name], lines[name]) for name in names if files[name]]
    return found


def arrows(sources: Sequence[Source]) -> Counter[tuple[str, str]]:
    """(room that imports, room that is imported) → how many imports there are, each module counted once a module."""
    found: Counter[tuple[str, str]] = Counter()
    for module, targets in imports(sources).items():
        for target in targets:
            pair = room_of(module), room_of(target)
            if pair[0] != pair[1]:
                found[pair] += 1
    return found


def upward(found: Mapping[tuple[str, str], int]) -> list[tuple[str, str]]:
    """The arrows that lead into a layer above, or into another room of the same layer."""
    layer_of = {name: layer for layer, names in enumerate(LAYERS) for name in names}
    return sorted(pair for pair in found if layer_of[pair[1]] <= layer_of[pair[0]])


def draw(sources: Sequence[Source], path: Path) -> None:
    """Write the picture: rooms down the diagonal, a number where the row of one meets the column of another."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    own, found = rooms(sources), arrows(sources)
    place = {room.name: index for index, room in enumerate(own)}
    width, height = BOX_WIDTH + PITCH_X * len(own), PITCH_Y * len(own)
    # The same code gives the same bytes.
    with plt.rc_context({"svg.hashsalt": "seedbed", "font.family": "DejaVu Sans"}):
        figure = plt.figure(figsize=(width, height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(-BOX_WIDTH, width - BOX_WIDTH), ylim=(height, 0))
        axes.axis("off")
        _draw_layers(axes, own)
        counts = {(place[source], place[target]): count for (source, target), count in found.items()}
        _draw_arrows_down(axes, {pair: count for pair, count in counts.items() if pair[0] < pair[1]})
        _draw_arrows_up(axes, {pair: count for pair, count in counts.items() if pair[0] > pair[1]})
        for index, room in enumerate(own):
            _draw_room(axes, index, room)
        _draw_legend(axes, height)
        is_svg = path.suffix == ".svg"
        figure.savefig(path, transparent=True, metadata={"Date": None} if is_svg else None, dpi=100)
        plt.close(figure)


def _right(index: int) -> float:
    """Where a room's box ends."""
    return PITCH_X * (index + 0.5)


def _middle(index: int) -> float:
    """The height of a room's box, counted from the top of the picture."""
    return PITCH_Y * (index + 0.5)


def _draw_layers(axes: Axes, own: Sequence[Room]) -> None:
    """Every second layer has a band behind it."""
    for index, room in enumerate(own):
        if room.layer % 2 == 0:
            axes.axhspan(PITCH_Y * index, PITCH_Y * (index + 1), color=BAND, lw=0)


def _draw_room(axes: Axes, index: int, room: Room) -> None:
    from matplotlib.patches import FancyBboxPatch

    left, top = _right(index) - BOX_WIDTH, _middle(index) - BOX_HEIGHT / 2
    style = "round,pad=0,rounding_size=0.08"
    fill = FILLS.get(room.name, HARNESS_FILL)
    axes.add_patch(FancyBboxPatch((left, top), BOX_WIDTH, BOX_HEIGHT, boxstyle=style, fc=fill, ec=LINE, lw=1, zorder=3))
    name = room.name if room.name in PACKAGES else f"harness/{room.name}"
    axes.text(left + 0.1, _middle(index), name, color=INK, weight="bold", size=11, va="center", zorder=4)
    size = f"{room.files} · {room.lines:,}"
    axes.text(_right(index) - 0.1, _middle(index), size, color=INK, size=9, va="center", ha="right", zorder=4)


def _draw_arrows_down(axes: Axes, counts: Mapping[tuple[int, int], int]) -> None:
    """One line along the row of each room that imports, one down the column of each that is imported."""
    for source in {pair[0] for pair in counts}:
        farthest = max(target for start, target in counts if start == source)
        ends = [_right(source), _right(farthest) - DOOR]
        axes.plot(ends, [_middle(source)] * 2, color=LINE, lw=LINE_WIDTH, zorder=1)
    for target in {pair[1] for pair in counts}:
        highest = min(source for source, end in counts if end == target)
        x = _right(target) - DOOR
        _draw_head(axes, (x, _middle(highest)), (x, _middle(target) - BOX_HEIGHT / 2), LINE)
    for (source, target), count in sorted(counts.items()):
        _draw_number(axes, _right(target) - DOOR, _middle(source), count, LINE)


def _draw_arrows_up(axes: Axes, counts: Mapping[tuple[int, int], int]) -> None:
    """To the left out of the box that imports, then up into the one that is imported."""
    for (source, target), count in sorted(counts.items()):
        left = _right(source) - BOX_WIDTH
        x, y = min(_right(target) - BOX_WIDTH / 2, left - 0.25), _middle(source)
        axes.plot([left, x], [y, y], color=UPWARD, lw=LINE_WIDTH, zorder=1)
        _draw_head(axes, (x, y), (x, _middle(target) + BOX_HEIGHT / 2), UPWARD)
        _draw_number(axes, x, y, count, UPWARD)


def _draw_head(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    arrow = {"arrowstyle": "-|>", "color": colour, "lw": LINE_WIDTH, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=arrow, zorder=1)


def _draw_number(axes: Axes, x: float, y: float, count: int, colour: str) -> None:
    pill = {"boxstyle": "round,pad=0.25,rounding_size=0.6", "fc": "#ffffff", "ec": colour, "lw": 1}
    axes.text(x, y, str(count), color=INK, size=9, ha="center", va="center", bbox=pill, zorder=5)


def _draw_legend(axes: Axes, height: float) -> None:
    text = (
        "A box: a room, its files · lines.\n"
        "A number: so many imports from the\n"
        "room of its row into the room under it.\n"
        "Bands: layers, from top to bottom;\n"
        "red: an import upwards."
    )
    axes.text(0.15 - BOX_WIDTH, height - 0.15, text, color=LINE, size=11, va="bottom", linespacing=1.5)


def main() -> None:
    """Write the picture, or print the arrows."""
    parser = argparse.ArgumentParser(description="Rooms of the code and the imports between them.")
    parser.add_argument("path", nargs="?", type=Path, help="the picture's file")
    path = parser.parse_args().path
    sources = read(ROOT)
    if path is not None:
        draw(sources, path)
        return
    found = arrows(sources)
    for source, target in sorted(found):
        print(f"{source:>12} → {target:12} {found[source, target]:4}")
    for source, target in upward(found):
        print(f"upwards: {source} → {target}")


if __name__ == "__main__":
    main()
