"""What the page takes from counts: errors, threshold curves, photos, gains; and numbers of papers."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from results.counted import ImageSums
from results.metrics.sweep import Sweep
from results.page import Counts, Shown
from results.page.content import board_of
from results.page.heat_maps import Cell, gains
from results.page.steps import steps_of
from results.page.thresholds import draw_thresholds, threshold_curves
from results.page.waterfalls import draw_waterfalls, with_steps
from results.published import published
from results.rows import Row
from results.shown import Table


def sums_of(confusion_NKK: np.ndarray) -> ImageSums:
    hits, predicted, truth = (
        np.diagonal(confusion_NKK, axis1=1, axis2=2),
        confusion_NKK.sum(axis=1),
        confusion_NKK.sum(axis=2),
    )
    return ImageSums(
        tuple(f"p{n}" for n in range(len(confusion_NKK))), hits, predicted, truth, confusion_NKK.sum(axis=0)
    )


def test_errors_add_up_to_what_is_lost(shown: Callable[..., Shown], row: Callable[..., Row]) -> None:
    one = row(classes=["background", "cat", "dog"], per_class=[0.5, 0.5, 0.5])
    confusion = np.array([[[50, 4, 0], [6, 30, 3], [0, 7, 20]]])
    board = shown([one], counts=Counts({one.identity: sums_of(confusion)}))
    errors = board_of(board.tables[0], board).errors
    assert errors is not None and errors.scored == "maps"
    ((name, (_, cat, _)),) = errors.lines
    assert name == "cam · clean"
    # The union of the cat: 39 true and 41 predicted pixels, 30 of them both.
    assert cat == ("cat", "0.600", "0.120", "0.080", "0.200", "dog 0.200")
    assert float(cat.missed) + float(cat.taken) + float(cat.confused) == pytest.approx(1 - float(cat.iou))


def test_errors_want_counts_of_every_rng_seed(shown: Callable[..., Shown], row: Callable[..., Row]) -> None:
    rows = [row(rng_seed=seed) for seed in range(2)]
    board = shown(rows, counts=Counts({rows[0].identity: sums_of(np.ones((1, 2, 2), int))}))
    assert board_of(board.tables[0], board).errors is None


def test_a_threshold_curve_is_the_mean_over_rng_seeds_with_the_used_and_the_best_threshold(
    shown: Callable[..., Shown], row: Callable[..., Row]
) -> None:
    rows = [row(rng_seed=seed, threshold=0.5) for seed in range(2)]
    # Four thresholds: all background exceeds one of them, all of the disc three.
    histogram = np.zeros((2, 2, 5), np.int64)
    histogram[0, 1, 1], histogram[1, 1, 3] = 60, 40
    other = np.zeros((2, 2, 5), np.int64)
    other[0, 1, 1], other[1, 1, 1] = 50, 50
    sweeps = [Sweep(histogram), Sweep(other)]
    counts = Counts({}, {each.identity: sweep for each, sweep in zip(rows, sweeps, strict=True)})
    (curve,) = threshold_curves(shown(rows).tables[0], counts)
    # Of the first: all disc below 0.25, then right, then all background; of the second all background from 0.25 on.
    assert curve.miou.tolist() == pytest.approx(
        [(0.4 / 2 + 0.5 / 2) / 2, (1 + 0.25) / 2, (1 + 0.25) / 2, (0.3 + 0.25) / 2]
    )
    assert (curve.used, curve.at_used, curve.best) == pytest.approx((0.5, 0.625, 0.25))
    figure = draw_thresholds([curve])
    drawn, best, used = figure.axes[0].lines
    assert drawn.get_ydata().tolist() == curve.miou.tolist()
    assert (best.get_xdata(), used.get_xdata()) == ([0.25], [0.5])


def test_gains_are_the_comparisons_with_clean() -> None:
    columns = ("recipe", "against", "Δ", "95 % interval", "verdict")
    lines = (
        ("cam, web", "cam, clean", "+0.020", "[+0.010, +0.030]", "better"),
        ("cam, shuffled", "cam, clean", "-0.040", "[-0.050, -0.030]", "worse"),
        ("irn, web", "cam, web", "+0.100", "[+0.090, +0.110]", "better"),
    )
    records = tuple(
        {"recipe": recipe, "setting": setting, "against": "cam", "against_setting": against, "difference": difference}
        for recipe, setting, against, difference in (
            ("cam", "web", "clean", 0.02),
            ("cam", "shuffled", "clean", -0.04),
            ("irn", "web", "web", 0.1),
        )
    )
    compared = Table("Planned comparisons, maps", columns, lines, (), records)
    found = gains(Table("board", (), (), sections=(compared,)))
    assert found is not None and found.columns == ("web", "shuffled")
    web, shuffled = Cell("+0.020 [+0.010, +0.030] better", 0.5), Cell("-0.040 [-0.050, -0.030] worse", 1.0, True)
    assert found.rows == (("cam", (web, shuffled)),)
    assert gains(Table("board", (), ())) is None


def test_a_waterfall_has_a_bar_for_each_step(shown: Callable[..., Shown], row: Callable[..., Row]) -> None:
    scores = {"maps": 0.4, "pseudo_labels": 0.6, "segmentation": 0.5}
    rows = [row(stage=stage, miou=miou) for stage, miou in scores.items()]
    steps = steps_of(shown(rows).tables[0].records)
    assert steps is not None
    bars = draw_waterfalls(steps).axes[0].patches
    assert [(bar.get_y(), bar.get_height()) for bar in bars] == [
        pytest.approx(each) for each in ((0, 0.4), (0.4, 0.2), (0.6, -0.1))
    ]


def test_refined_maps_begin_with_the_maps_that_were_refined(
    shown: Callable[..., Shown], row: Callable[..., Row]
) -> None:
    rows = [
        row(recipe="cam", miou=0.4),
        row(recipe="cam+irn", stage="refined", miou=0.5),
        # Other maps: trained for longer.
        row(recipe="cam+crf", stage="refined", miou=0.6, localizer_epochs=9),
    ]
    steps = steps_of(shown(rows).tables[0].records)
    assert steps is not None and steps.has_others
    maps = {name: (of_line[0], of_line[1].told) for name, of_line in steps.rows}
    assert maps["cam+irn · clean"] == ((0.4, None, "cam"), "+0.100")
    assert maps["cam+crf · clean"] == ((None, None, ""), "")


def test_pseudo_labels_that_are_the_maps_once_more_are_no_step(
    shown: Callable[..., Shown], row: Callable[..., Row]
) -> None:
    board = shown([row(stage=stage, miou=0.4) for stage in ("maps", "pseudo_labels")])
    assert steps_of(board.tables[0].records) is None


def test_the_floor_is_told_and_has_no_waterfall(shown: Callable[..., Shown], row: Callable[..., Row]) -> None:
    rows = [
        row(recipe=recipe, stage=stage, miou=miou)
        for recipe, miou in (("cam", 0.5), ("all-background", 0.125))
        for stage in ("pseudo_labels", "segmentation")
    ]
    found = shown(rows, counts=Counts())
    steps = steps_of(found.tables[0].records)
    assert steps is not None and [name for name, _ in with_steps(steps)] == ["cam · clean"]
    # Where lines have intervals, for which it takes counts, they are held against the floor too.
    ranked = replace(
        found.tables[0],
        columns=(*found.tables[0].columns, "Δ"),
        lines=tuple((*line, "–") for line in found.tables[0].lines),
    )
    board = board_of(ranked, found)
    place = [title for title, _, _ in board.columns].index("above the floor")
    assert [line.cells[place][0] for line in board.lines] == ["+0.375", "+0.000"]


def test_photos_have_the_scores_of_every_line(shown: Callable[..., Shown], row: Callable[..., Row]) -> None:
    rows = [row(recipe=recipe) for recipe in "ab"]
    a = np.array([[[10, 0], [0, 10]], [[20, 0], [0, 0]]])
    b = np.array([[[10, 0], [5, 5]], [[20, 0], [0, 0]]])
    board = shown(rows, counts=Counts({rows[0].identity: sums_of(a), rows[1].identity: sums_of(b)}))
    (scores,) = board_of(board.tables[0], board).photos
    assert (scores.lines, scores.photos, scores.split) == (("a · clean", "b · clean"), ("p0", "p1"), "train")
    assert scores.shown == ((0,), ())
    # (10 / 15 + 5 / 10) / 2, and the background alone.
    assert scores.per_mille == ((1000, 1000), (583, 1000))


def test_published_numbers_have_sources_and_stand_in_no_table() -> None:
    (table,) = published("voc12")
    assert [table.lines[0][table.columns.index(name)] for name in ("method", "seed", "val")] == ["CAM", "48.9", "–"]
    assert all(line[table.columns.index("source")] != "–" for line in table.lines)
    assert any("not comparable" in note for note in table.notes)
    # A part of a data set is another data set.
    assert published("scenes") == published("voc12-animals") == []


def test_published_numbers_stand_beside_ranked_boards_of_their_data_set(
    shown: Callable[..., Shown], row: Callable[..., Row]
) -> None:
    board = shown([row(dataset="voc12"), row(dataset="voc12", policy="oracle")])
    assert [len(board_of(table, board).published) for table in board.tables] == [1, 0]
