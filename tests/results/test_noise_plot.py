"""The figure of a noise sweep: a line a recipe and filter, from rows that know their noise."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from results import noise_plot
from results.noise_plot import plot_noise
from results.rows import Row, frame


def rows(row: Callable[..., Row]) -> list[Row]:
    found = [row(miou=0.6)]
    for rate in (0.0, 0.2, 0.6):
        for name in ("", "classifier"):
            extra = {"setting": f"noise-{rate}{name}", "noise_rate": rate, "filter": name, "extra_photos": 10}
            found.append(row(miou=0.5 - 0.3 * rate * (not name), **extra))
    return found


def test_lines_are_what_rows_say(tmp_path: Path, row: Callable[..., Row], monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: drawn.append(self))
    assert plot_noise(frame(rows(row)), tmp_path / "a.png", tmp_path / "a.svg")
    (axes,) = drawn[0].axes
    curves = [np.column_stack(line.get_data()).tolist() for line in axes.lines if len(line.get_xdata()) == 3]
    assert [[0.0, 0.5], [0.2, 0.44], [0.6, 0.32]] in np.round(curves, 6).tolist()
    assert [[0.0, 0.5], [0.2, 0.5], [0.6, 0.5]] in np.round(curves, 6).tolist()
    (alone,) = [line for line in axes.lines if line.get_linestyle() == ":"]
    assert list(alone.get_ydata()) == [0.6, 0.6]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert {"cam", noise_plot.NO_FILTER, "classifier"} <= set(labels)


def test_nothing_is_drawn_where_noise_does_not_differ(tmp_path: Path, row: Callable[..., Row]) -> None:
    for found in ([row()], [row(noise_rate=0.2)], rows(row)[:2]):
        assert not plot_noise(frame(found), tmp_path / "a.png", tmp_path / "a.svg")
    assert not list(tmp_path.iterdir())


def test_files_are_deterministic(tmp_path: Path, row: Callable[..., Row]) -> None:
    for name in ("one", "two"):
        plot_noise(frame(rows(row)), tmp_path / f"{name}.png", tmp_path / f"{name}.svg")
    for kind in ("png", "svg"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()
