"""Training curves: every panel shows its own term, every line its own rng seed."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from PIL import Image

from results.curves import COLUMNS, curves, draw_curves, plot_curves, records_in


def record(recipe: str, rng_seed: int, epoch: int, term: str, value: float, **changes: Any) -> dict[str, Any]:
    named = {"recipe": recipe, "setting": "clean", "rng_seed": rng_seed, "step": "localizer", "epoch": epoch}
    return {**named, "term": term, "value": value, **changes}


RECORDS = [
    *(record("cam", seed, epoch, "classification", 1.0 + seed - epoch / 4) for seed in (0, 1) for epoch in (0, 1, 2)),
    *(record("_c$a$", seed, epoch, "basic", 2.0 + seed) for seed in (0, 1) for epoch in (0, 1)),
    record("cam", 0, 0, "learning_rate", 0.05),
    record("cam", 0, 0, "cross_entropy", 0.7, step="segmenter"),
]


def test_a_panel_a_term_with_thin_lines_and_their_mean() -> None:
    figure = draw_curves(curves(RECORDS))
    panels = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    assert list(panels) == ["localizer: classification", "localizer: basic", "segmenter: cross_entropy"]
    one, two, mean = panels["localizer: classification"].lines
    assert one.get_xdata().tolist() == [0, 1, 2]
    assert [line.get_ydata().tolist() for line in (one, two, mean)] == [[1, 0.75, 0.5], [2, 1.75, 1.5], [1.5, 1.25, 1]]
    assert one.get_linewidth() < 1 < mean.get_linewidth()
    assert one.get_color() == mean.get_color() != panels["localizer: basic"].lines[0].get_color()
    assert panels["localizer: basic"].lines[-1].get_ydata().tolist() == [2.5, 2.5]
    for axes in panels.values():
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch (the first is 0)", "loss (epoch mean)")


def test_one_epoch_has_one_whole_tick() -> None:
    (axes,) = draw_curves(curves([record("cam", 0, 0, "classification", 0.7)])).axes
    low, high = axes.get_xlim()
    assert (low, high) == (-0.5, 0.5)
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0"]


def test_several_settings_are_told_apart() -> None:
    frame = curves([*RECORDS, record("cam", 0, 0, "classification", 9.0, setting="few")])
    figure = draw_curves(frame)
    names = {text.get_text() for text in figure.legends[0].get_texts()}
    assert names == {"cam (clean)", "_c$a$ (clean)", "cam (few)"}
    assert len(figure.axes[0].lines) == 3 + 2


def test_files_are_deterministic_and_matplotlib_is_left_alone(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    for name in ("one.png", "two.png"):
        plot_curves(curves(RECORDS), tmp_path / name)
    assert dict(mpl.rcParams) == before
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as image:
        assert image.width > 1000 and np.asarray(image.convert("L")).min() < 100


def test_the_columns_are_those_of_the_csv() -> None:
    assert tuple(curves(RECORDS).columns) == COLUMNS
    assert len(curves(RECORDS)) == len(RECORDS)


def test_records_come_back_from_their_csv(tmp_path: Path) -> None:
    records = [*RECORDS, record("NA", 3, 1, "classification", 0.1 + 0.2, setting="a,b")]
    curves(records).to_csv(tmp_path / "training.csv", index=False)
    assert records_in(tmp_path / "training.csv") == records
    assert records_in(tmp_path / "none.csv") == []
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert records_in(tmp_path / "other.csv") == []
