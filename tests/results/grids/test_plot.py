"""Figures of grids: what stands where."""

from pathlib import Path

from matplotlib.axes import Axes

from results.grids.grids import measured_grids
from results.grids.plot import ALIKE, APART, draw_cells, draw_effects, plot_effects
from tests.results.grids.conftest import NAMES, MadeGrid


def points(axes: Axes) -> list[tuple[float, float, str]]:
    """Place, mean and colour of the points, from top to bottom."""
    marked = [line for line in axes.lines if line.get_marker() == "o"]
    return [(line.get_ydata()[0], line.get_xdata()[0], line.get_color()) for line in marked]  # type: ignore[index]


def test_cells_stand_beside_their_differences_and_their_cost(grid: MadeGrid) -> None:
    (board,) = measured_grids(grid.design, grid.rows, grid.counts).boards
    levels, deltas, seconds = draw_cells([board]).axes
    found = [board.cells[name].against_full for name in NAMES[1:]]
    assert points(deltas) == [
        (place, each.mean, ALIKE if each.verdict == "not separated" else APART)
        for place, each in enumerate(found, 1)
        if each is not None
    ]
    texts = [text.get_text() for text in levels.texts]
    assert texts[3 * 2 : 3 * 2 + 2] == ["–", "3"] and len(texts) == 3 * 4
    assert [label.get_text() for label in levels.get_xticklabels()] == ["common", "refs", "mIoU"]
    assert len(seconds.patches) == 4


def test_effects_have_their_intervals(grid: MadeGrid, tmp_path: Path) -> None:
    (board,) = measured_grids(grid.design, grid.rows, grid.counts).boards
    (axes,) = draw_effects([board]).axes
    assert [mean for _, mean, _ in points(axes)] == [found.mean for _, found in board.effects]
    assert [label.get_text() for label in axes.get_yticklabels()] == [effect.name for effect, _ in board.effects]
    assert plot_effects([], tmp_path / "a.png", tmp_path / "a.svg") is False and not list(tmp_path.iterdir())
