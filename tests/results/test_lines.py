"""Means over rng seeds, holes, costs and the order of lines."""

from collections.abc import Callable

import pytest

from results.boards import boards
from results.lines import Column, Line, columns_of, lines_of
from results.rows import Row

MAPS, SEGMENTATION = Column("maps", ""), Column("segmentation", "ss")


def lines(rows: list[Row]) -> list[Line]:
    (board,) = boards(rows)
    return lines_of(board)


def test_mean_and_sample_deviation_over_rng_seeds(row: Callable[..., Row]) -> None:
    (line,) = lines([row(rng_seed=s, miou=m) for s, m in enumerate([0.25, 0.5, 0.75])])
    cell = line.cells[MAPS]
    assert (cell.mean(), cell.std(), line.rng_seeds) == (0.5, 0.25, (0, 1, 2))


def test_one_rng_seed_has_no_deviation(row: Callable[..., Row]) -> None:
    (line,) = lines([row(miou=0.3)])
    assert (line.cells[MAPS].mean(), line.cells[MAPS].std()) == (0.3, None)


def test_a_failed_seed_leaves_a_hole_and_no_mean(row: Callable[..., Row]) -> None:
    (line,) = lines([row(), row(rng_seed=1), row(rng_seed=2, status="failed", reason="non-finite loss")])
    cell = line.cells[MAPS]
    assert (cell.mean(), cell.std(), cell.holes) == (None, None, ("rng seed 2: non-finite loss",))


def test_a_seed_that_never_came_so_far_leaves_a_hole(row: Callable[..., Row]) -> None:
    (line,) = lines([row(), row(rng_seed=1), row(stage="segmentation")])
    assert line.cells[MAPS].mean() == 0.5
    assert line.cells[SEGMENTATION].holes == ("rng seed 1: no row",)


def test_a_row_without_any_defined_class_is_a_hole(row: Callable[..., Row]) -> None:
    (line,) = lines([row(miou=None, per_class=[None, None])])
    assert line.cells[MAPS].holes == ("rng seed 0: no class is defined",)


def test_columns_follow_the_pipeline(row: Callable[..., Row]) -> None:
    stages = [("segmentation", "ms+flip+crf"), ("segmentation", "ss"), ("pseudo_labels", ""), ("maps", ""),
              ("segmentation", "ms+flip"), ("refined", "")]  # fmt: skip
    (board,) = boards([row(stage=s, variant=v, split="train", evaluation_fingerprint="e") for s, v in stages])
    titles = [column.title for column in columns_of(board)]
    assert titles == [
        "maps",
        "refined",
        "pseudo labels",
        "segmentation ss",
        "segmentation ms+flip",
        "segmentation ms+flip+crf",
    ]


def test_lines_are_ordered_by_their_last_stage_and_holes_come_last(row: Callable[..., Row]) -> None:
    rows = [row(recipe=r, stage="segmentation", miou=m) for r, m in (("b", 0.4), ("a", 0.5), ("c", 0.4))]
    failed = row(recipe="0", stage="segmentation", status="failed", reason="killed")
    maps = [row(recipe="c", miou=0.9), row(recipe="0", miou=0.95)]
    assert [line.name for line in lines([*rows, failed, *maps])] == ["a", "c", "b", "0"]


def test_variants_are_never_compared_with_each_other(row: Callable[..., Row]) -> None:
    """Where a floor has no multi-scale row, lines are ordered by single-scale ones, if need be by the others alone."""
    every = [row(recipe=r, stage="segmentation", variant=v, miou=m)
             for r, v, m in (("a", "ss", 0.5), ("a", "ms", 0.6), ("b", "ss", 0.4), ("b", "ms", 0.9))]  # fmt: skip
    floor = row(recipe="floor", stage="segmentation", miou=0.45)
    assert [line.name for line in lines([*every, floor])] == ["a", "floor", "b"]
    assert [line.name for line in lines([r for r in every if r.variant == "ms"] + [floor])] == ["b", "a", "floor"]
    (first, *_) = lines(every)
    assert {column.variant: cell.mean() for column, cell in first.cells.items()} == {"ss": 0.5, "ms": 0.6}


def controls(row: Callable[..., Row]) -> list[Row]:
    """A floor and a ceiling, which have every stage, whatever was left out of the recipes."""
    floor = [
        row(recipe="all-background", supervision="", stage=s, miou=0.03) for s in ("pseudo_labels", "segmentation")
    ]
    return [*floor, row(recipe="full-supervision", supervision="M", stage="segmentation", miou=0.8)]


def test_lines_are_ordered_by_the_last_stage_that_most_of_them_have(row: Callable[..., Row]) -> None:
    """Without a second stage the floor's segmentation puts it above nothing."""
    cam = [row(recipe="cam", stage=s, miou=m) for s, m in (("maps", 0.5), ("pseudo_labels", 0.45))]
    seam = [row(recipe="seam", stage=s, miou=m) for s, m in (("maps", 0.4), ("pseudo_labels", 0.55))]
    names = [line.name for line in lines([*cam, *seam, *controls(row)])]
    assert names == ["full-supervision", "seam", "cam", "all-background"]
    # One recipe with a second stage is half of two: they are compared at the last one that both have.
    segmented = row(recipe="cam", stage="segmentation", miou=0.6)
    assert [line.name for line in lines([*cam, segmented, *seam, *controls(row)])][1:3] == ["seam", "cam"]


def test_a_line_without_the_last_stage_is_placed_by_the_one_before(row: Callable[..., Row]) -> None:
    rows = [row(recipe=r, stage="segmentation", miou=m) for r, m in (("a", 0.7), ("b", 0.6), ("c", 0.5))]
    rows += [row(recipe=r, stage="pseudo_labels", miou=m) for r, m in (("a", 0.6), ("b", 0.4), ("c", 0.3))]
    without = [row(recipe="lone", stage="pseudo_labels", miou=0.5), row(recipe="low", miou=0.02)]
    names = [line.name for line in lines([*rows, *without, *controls(row)])]
    # `low` has maps alone, which nobody else has, and fewer right pixels than the floor.
    assert names == ["full-supervision", "a", "lone", "b", "c", "all-background", "low"]
    better = row(recipe="low", miou=0.2)
    assert [line.name for line in lines([*rows, better, *controls(row)])][-2:] == ["low", "all-background"]


def test_costs(row: Callable[..., Row]) -> None:
    rows = [row(rng_seed=s, seconds=10.0 * (s + 1), masks_chosen=4) for s in range(2)]
    rows += [row(rng_seed=s, stage="segmentation", seconds=40.0, masks_trained=3, stale=["cam"]) for s in range(2)]
    (line,) = lines([*rows, row(rng_seed=2, seconds=10.0), row(rng_seed=2, stage="segmentation", seconds=10.0)])
    assert line.seconds == pytest.approx((40 + 40 + 10) / 3)
    assert (line.masks_chosen, line.masks_trained, line.stale) == (4, 3, ("cam",))


def test_a_mean_of_another_field_wants_it_of_every_row(row: Callable[..., Row]) -> None:
    """Rows of older versions tell no score of the decided pixels."""
    labels = [row(rng_seed=s, stage="pseudo_labels", miou_covered=m) for s, m in enumerate([0.5, 0.75])]
    (line,) = lines(labels)
    cell = line.cells[Column("pseudo_labels", "")]
    assert (cell.mean("miou_covered"), cell.mean("coverage"), cell.std("coverage")) == (0.625, None, None)
    (line,) = lines([*labels, row(rng_seed=2, stage="pseudo_labels")])
    assert line.cells[Column("pseudo_labels", "")].mean("miou_covered") is None


def test_two_option_sets_of_one_recipe_are_two_lines_told_apart_by_what_differs(row: Callable[..., Row]) -> None:
    sets = [("vgg16", 224, "aaaaaaaa"), ("vgg16", 224, "bbbbbbbb"), ("vgg16", 320, "cccccccc"), ("lite0", 320, "d" * 8)]
    rows = [row(backbone=b, backbone_size=s, options=o, miou=0.5 - n / 10) for n, (b, s, o) in enumerate(sets)]
    rows += [row(recipe="irn", backbone="vgg16", backbone_size=224, options="e" * 8, miou=0.05), row(miou=0.01)]
    assert [line.name for line in lines(rows)] == [
        "cam (vgg16, 224 px, options aaaaaaaa)",
        "cam (vgg16, 224 px, options bbbbbbbb)",
        "cam (vgg16, 320 px)",
        "cam (lite0, 320 px)",
        "irn",
        "cam (options not recorded)",
    ]
    two = [row(options=o, rng_seed=s, miou=m) for o, s, m in (("a", 0, 0.5), ("b", 0, 0.7), ("b", 1, 0.9))]
    assert [(line.name, line.rng_seeds, line.cells[MAPS].mean()) for line in lines(two)] == [
        ("cam (options b)", (0, 1), 0.8),
        ("cam (options a)", (0,), 0.5),
    ]


def test_cells_that_were_read_off_the_same_counts_say_so(row: Callable[..., Row]) -> None:
    labels = {"stage": "pseudo_labels"}
    cam = [row(counts=f"c{s}", rng_seed=s, **also) for s in range(2) for also in ({}, labels)]
    other = [row(recipe="irn", rng_seed=s, counts=c, miou=0.4) for s, c in enumerate(("c0", "c1"))]
    alone = [row(recipe="pamr", rng_seed=s, counts=c, miou=0.3) for s, c in enumerate(("c0", "d1"))]
    old = [row(recipe="old", miou=0.2, **also) for also in ({}, labels)]
    told = {
        (line.name, column.stage): (cell.same_counts_as, cell.same_counts_in)
        for line in lines([*cam, *other, *alone, *old])
        for column, cell in line.cells.items()
    }
    assert {place: text for place, text in told.items() if any(text)} == {
        ("cam", "pseudo_labels"): ("maps", ""),
        ("irn", "maps"): ("maps", "cam, setting clean"),
    }
