"""The figure: what it shows, that it is deterministic, and that it leaves matplotlib as it was."""

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from results.plots import draw_table, plot_table
from results.rows import Row, frame
from settings.errors import UserError


def rows(row: Callable[..., Row]) -> list[Row]:
    found = [row(recipe=r, rng_seed=s, miou=0.3 + 0.1 * s) for r in ("cam", "irn") for s in range(3)]
    found += [row(recipe="cam", rng_seed=0, miou=0.55, policy="oracle")]
    found += [row(stage="segmentation", miou=0.6)]
    found += [row(stage="segmentation", recipe="irn", status="failed", reason="x")]
    return [*found, row(recipe="all-background", miou=0.125, training_mode="", supervision="")]


def test_points_floors_and_labels(row: Callable[..., Row]) -> None:
    maps, segmentation = draw_table(frame(rows(row))).axes
    points = np.concatenate([dots.get_offsets() for dots in maps.collections])
    assert sorted(np.round(points[:, 0], 6)) == [0.3, 0.3, 0.4, 0.4, 0.5, 0.5, 0.55]
    hollow = [dots for dots in maps.collections if len(dots.get_offsets()) and not len(dots.get_facecolor())]
    assert [dots.get_offsets()[:, 0].tolist() for dots in hollow] == [[0.55]]
    assert [line.get_xdata()[0] for line in maps.lines if line.get_linestyle() == "--"] == [0.125]
    assert maps.get_xlim() == segmentation.get_xlim() == (0, 1)
    assert (maps.get_xlabel(), maps.get_ylabel(), maps.get_title()) == ("mIoU (0..1)", "recipe", "maps")
    assert [text.get_text() for text in maps.get_yticklabels()] == ["cam", "irn"]
    assert "scenes" in maps.figure.get_suptitle()


def test_variants_have_panels_of_their_own_and_share_the_floor(row: Callable[..., Row]) -> None:
    found = [row(stage="segmentation", variant=v, miou=m) for v, m in (("ms+flip+crf", 0.7), ("ss", 0.5), ("ms", 0.6))]
    axes = draw_table(frame([*found, row(stage="segmentation", recipe="all-background", miou=0.1)])).axes
    titles = ["segmentation ss", "segmentation ms", "segmentation ms+flip+crf"]
    assert [panel.get_title() for panel in axes] == titles
    for panel, miou in zip(axes, (0.5, 0.6, 0.7), strict=True):
        points = np.concatenate([dots.get_offsets() for dots in panel.collections])
        assert points[:, 0].tolist() == [miou]
        assert [line.get_xdata()[0] for line in panel.lines if line.get_linestyle() == "--"] == [0.1]


def test_pseudo_labels_have_a_panel_for_each_of_their_two_scores(row: Callable[..., Row]) -> None:
    labels = [row(stage="pseudo_labels", recipe=r, miou=m, miou_covered=c) for r, m, c in LABELLED]
    axes = draw_table(frame(labels)).axes
    assert [panel.get_title() for panel in axes] == [
        "pseudo labels\n(255 = background)",
        "pseudo labels\n(covered only)",
    ]
    for panel, position in zip(axes, (1, 2), strict=True):
        points = np.concatenate([dots.get_offsets() for dots in panel.collections])
        assert sorted(points[:, 0]) == sorted(values[position] for values in LABELLED[:2])
        floors = [line.get_xdata()[0] for line in panel.lines if line.get_linestyle() == "--"]
        assert floors == [LABELLED[2][position]]
    # Rows of older versions have one score.
    old = draw_table(frame([row(stage="pseudo_labels")])).axes
    assert [panel.get_title() for panel in old] == ["pseudo labels\n(255 = background)"]


LABELLED = [("cam", 0.5, 0.75), ("irn", 0.4, 0.4), ("all-background", 0.1, 0.2)]
"""Recipe, mIoU with 255 as background, mIoU of the decided pixels."""


def test_two_option_sets_of_one_recipe_do_not_share_a_line(row: Callable[..., Row]) -> None:
    assert set(_names([row(options="a"), row(options="b")])) == {"cam (options a)", "cam (options b)"}


def test_files_are_deterministic_and_matplotlib_is_left_alone(tmp_path: Path, row: Callable[..., Row]) -> None:
    before = dict(mpl.rcParams)
    for name in ("one", "two"):
        plot_table(frame(rows(row)), tmp_path / f"{name}.png", tmp_path / f"{name}.svg")
    assert dict(mpl.rcParams) == before
    for kind in ("png", "svg"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()
    with Image.open(tmp_path / "one.png") as image:
        assert image.width > 800 and len(set(image.convert("L").get_flattened_data())) > 10


def test_boards_do_not_share_a_line(row: Callable[..., Row]) -> None:
    control = row(recipe="centre-prior", training_mode="", supervision="")
    figure = draw_table(frame([row(), row(training_mode="fine_tuned"), control]))
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["cam (fine_tuned, I)", "cam (frozen, I)", "centre-prior"]


def test_a_floor_alone_can_be_drawn(tmp_path: Path, row: Callable[..., Row]) -> None:
    plot_table(frame([row(recipe="all-background")]), tmp_path / "a.png", tmp_path / "a.svg")
    assert (tmp_path / "a.png").stat().st_size > 0


def test_what_may_not_be_compared_is_refused(tmp_path: Path, row: Callable[..., Row]) -> None:
    for bad, message in (
        ([row(status="failed", reason="x")], "no score"),
        ([row(policy="oracle")], "no score of a ranked policy"),
        ([row(), row(dataset="voc12")], "2 data sets"),
        ([row(), row(recipe="b", evaluation_fingerprint="x")], "2 evaluations of a stage"),
        ([row(), row(recipe="b", split="dev")], "2 splits of a stage"),
    ):
        with pytest.raises(UserError, match=message):
            plot_table(frame(bad), tmp_path / "a.png", tmp_path / "a.svg")
    assert not list(tmp_path.iterdir())


def test_lines_of_two_arithmetics_are_told_apart(row: Callable[..., Row]) -> None:
    """Where there is one beside rows that had no choice, the recipe's name is enough: they stand on one board."""
    rows = [row(arithmetic="float32"), row(recipe="irn", arithmetic="")]
    assert set(_names(rows)) == {"cam", "irn"}
    rows.append(row(arithmetic="bfloat16 products"))
    assert set(_names(rows)) == {"cam (frozen, I, float32)", "irn (frozen, I)", "cam (frozen, I, bfloat16 products)"}


def _names(rows: list[Row]) -> list[str]:
    return [label.get_text() for label in draw_table(frame(rows)).axes[0].get_yticklabels()]
