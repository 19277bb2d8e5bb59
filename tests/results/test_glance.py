"""The figure: who stands where on it, that it is deterministic, and that it leaves matplotlib as it was."""

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from results.counted import ImageSums
from results.glance import draw_glance, leading_records, names_among, plot_glance, setting_colours
from results.rows import Row, frame
from results.shown import Table
from results.tables import tables
from settings.errors import UserError

IMAGES = 12
MIOU = {"high": 0.8, "twin": 0.8, "low": 0.3}


def counts(row: Row) -> ImageSums:
    """Of two classes with 100 pixels each, of which the recipe's share is right and the rest the other class."""
    right = np.full((IMAGES, 2), round(100 * MIOU[row.recipe])) + (np.arange(IMAGES) % 3)[:, None]
    each = np.full((IMAGES, 2), 100)
    confusion_NKK = np.where(np.eye(2, dtype=bool), right[:, :, None], 100 - right[:, :, None])
    images = tuple(f"{n:02}" for n in range(IMAGES))
    return ImageSums(images, right, each, each, confusion_NKK.sum(axis=0))


@pytest.fixture
def board(row: Callable[..., Row]) -> Table:
    rows = [
        row(recipe=name, rng_seed=seed, miou=miou + 0.001 * seed) for name, miou in MIOU.items() for seed in range(3)
    ]
    rows += [row(recipe="full", rng_seed=s, miou=0.9, supervision="M", masks_trained=8, setting="web") for s in (0, 1)]
    (found,) = tables(frame(rows), counts=lambda each: None if each.recipe == "full" else counts(each))
    return found


def test_lines_stand_best_first_with_ranks_and_intervals(board: Table) -> None:
    (axes,) = draw_glance([board]).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["high", "twin", "low"]
    assert [text.get_text() for text in axes.texts if text.get_text()[0].isdigit()] == ["1=", "1=", "3"]
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert [float(line.get_xdata()[0]) for line in points] == pytest.approx([0.801, 0.801, 0.301])
    intervals = [line.get_xdata() for line in axes.lines if line.get_linewidth() == 2]
    wanted = [(r["interval_low"], r["interval_high"]) for r in leading_records(board)[1] if r["rank"]]
    assert [tuple(each) for each in intervals] == wanted
    # One tie: the bracket at the right goes over the first two places.
    ties = [
        line.get_ydata() for line in axes.lines if line.get_transform() != axes.transData and not line.get_clip_on()
    ]
    assert [list(each) for each in ties] == [[-0.2, 1.2]]


def test_a_ceiling_is_a_band_and_no_line(board: Table) -> None:
    (axes,) = draw_glance([board]).axes
    dashed = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"]
    assert dashed == [0.9]
    assert "full" in {text.get_text() for text in axes.texts}


def test_lines_without_a_rank_are_hollow(row: Callable[..., Row]) -> None:
    (table,) = tables(frame([row(), row(recipe="irn", miou=0.4)]))
    (axes,) = draw_glance([table]).axes
    assert [to_hex(line.get_markerfacecolor()) for line in axes.lines if line.get_marker() == "o"] == ["#ffffff"] * 2


def test_only_ranked_boards_have_panels(row: Callable[..., Row]) -> None:
    found = tables(frame([row(), row(policy="oracle", miou=0.7), row(training_mode="fine_tuned")]))
    assert len(found) == 3
    assert len(draw_glance(found).axes) == 2
    with pytest.raises(UserError, match="no score of a ranked policy"):
        draw_glance(tables(frame([row(policy="oracle")])))


def test_names_are_no_mathematics_and_option_sets_are_told_apart(row: Callable[..., Row]) -> None:
    (table,) = tables(frame([row(recipe="$a_b$", options="1"), row(recipe="$a_b$", options="2", miou=0.2)]))
    figure = draw_glance([table])
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["$a_b$ (1)", "$a_b$ (2)"]
    assert not any(text.get_parse_math() for text in figure.axes[0].get_yticklabels())
    alone = {"recipe": "a", "setting": "s", "options": "x", "tier": "recomputed here"}
    assert names_among([alone]) == ["a"]


def test_clean_has_the_same_colour_whatever_stands_beside_it() -> None:
    assert setting_colours(["web", "clean"])["clean"] == setting_colours(["clean", "a", "b"])["clean"]


def test_files_are_deterministic_and_matplotlib_is_left_alone(tmp_path: Path, board: Table) -> None:
    before = dict(mpl.rcParams)
    for name in ("one", "two"):
        plot_glance([board], tmp_path / f"{name}.png", tmp_path / f"{name}.svg")
    assert dict(mpl.rcParams) == before
    for kind in ("png", "svg"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()
    with Image.open(tmp_path / "one.png") as image:
        assert image.width == pytest.approx(8.4 * 200, abs=1)
