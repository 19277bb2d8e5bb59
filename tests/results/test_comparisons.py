"""Which lines are held against which, and what is said of them."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from benchmarks.verdicts import confusions
from results.boards import boards
from results.comparisons import CountsOf, Verdicts, verdicts
from results.counted import ImageSums
from results.lines import Column, Line, lines_of
from results.rows import Row
from results.statistics import paired_difference

MAPS = Column("maps", "")


def sums(counts_NKK: np.ndarray) -> ImageSums:
    images = tuple(f"{n:03}" for n in range(len(counts_NKK)))
    diagonal = np.diagonal(counts_NKK, axis1=1, axis2=2)
    return ImageSums(images, diagonal, counts_NKK.sum(axis=1), counts_NKK.sum(axis=2), counts_NKK.sum(axis=0))


def board(
    row: Callable[..., Row], names: Sequence[tuple[str, str, int]], **fields: Sequence[str]
) -> tuple[list[Line], CountsOf]:
    """Lines of (recipe, setting, rng seeds), the second half of them by 0.1 worse in what they find.

    `fields` are further fields of rows, a value for each line.
    """
    rows: list[Row] = []
    counts: dict[tuple[object, ...], ImageSums] = {}
    good, bad = confusions(np.random.default_rng(0), 3, 0.003, 0.1)
    for place, (recipe, setting, seeds) in enumerate(names):
        for seed in range(seeds):
            others = {name: values[place] for name, values in fields.items()}
            own = row(recipe=recipe, setting=setting, rng_seed=seed, miou=0.9 - 0.1 * place, **others)
            rows.append(own)
            counts[own.identity] = sums((good if 2 * place < len(names) else bad)[seed])
    (found,) = boards(rows)
    return lines_of(found), lambda own: counts.get(own.identity)


def told(row: Callable[..., Row], *names: tuple[str, str, int]) -> tuple[list[Line], Verdicts]:
    lines, counts = board(row, names)
    found = verdicts(lines, MAPS, counts, [len(line.rng_seeds) >= 3 for line in lines])
    assert found is not None
    return lines, found


def pairs(lines: list[Line], found: Verdicts) -> set[str]:
    names = [f"{line.name}/{line.setting}" for line in lines]
    return {f"{names[each.line]} {names[each.other]}" for each in found.comparisons}


def test_the_planned_comparisons(row: Callable[..., Row]) -> None:
    lines, found = told(
        row,
        ("cam", "clean", 3), ("cam+irn", "clean", 3), ("cam+irn+pamr", "clean", 3),
        ("cam", "web", 3), ("seam", "web", 3), ("seam", "clean", 3),
    )  # fmt: skip
    assert pairs(lines, found) == {
        "cam+irn/clean cam/clean",
        "cam+irn+pamr/clean cam/clean",
        "cam+irn+pamr/clean cam+irn/clean",
        "cam/web cam/clean",
        "seam/web cam/web",
        "seam/web seam/clean",
        "seam/clean cam/clean",
    }


def test_options_that_differ_between_settings_leave_them_comparable(row: Callable[..., Row]) -> None:
    """As where a cue has other files for a setting's extra photos: the line's name then tells the options."""
    names = [("cam", "clean", 3), ("cam", "web", 3), ("seam", "clean", 3), ("seam", "web", 3)]
    lines, counts = board(row, names, options=["1a", "2b", "3c", "4d"])
    found = verdicts(lines, MAPS, counts, [True] * 4)
    assert found is not None
    recipes = [f"{line.option_set.recipe}/{line.setting}" for line in lines]
    assert {f"{recipes[each.line]} {recipes[each.other]}" for each in found.comparisons} == {
        "cam/web cam/clean",
        "seam/clean cam/clean",
        "seam/web cam/web",
        "seam/web seam/clean",
    }


def test_a_recipe_is_held_against_cam_on_its_own_backbone(row: Callable[..., Row]) -> None:
    names = [("cam", "clean", 3), ("cam", "clean", 3), ("seam", "clean", 3), ("floor", "clean", 3)]
    lines, counts = board(row, names, backbone=["vgg", "resnet", "resnet", ""], options=["1", "2", "3", ""])
    found = verdicts(lines, MAPS, counts, [True] * 4)
    assert found is not None
    assert [(lines[each.line].name, lines[each.other].option_set.backbone) for each in found.comparisons] == [
        ("seam", "resnet")
    ]


def test_without_cam_its_counterpart_is_the_yardstick(row: Callable[..., Row]) -> None:
    lines, found = told(row, ("cam+saliency", "clean", 3), ("common+saliency+coverage", "clean", 3))
    assert pairs(lines, found) == {"common+saliency+coverage/clean cam+saliency/clean"}


def test_what_a_search_found_is_held_against_the_default_options_and_their_yardstick(row: Callable[..., Row]) -> None:
    names = ("cam+irn", "seam", "seam+irn", "seam+irn-searched", "cam+irn-searched")
    lines, found = told(row, *((name, "clean", 3) for name in names))
    assert pairs(lines, found) == {
        "seam+irn/clean cam+irn/clean",
        "seam+irn/clean seam/clean",
        "seam+irn-searched/clean cam+irn/clean",
        "seam+irn-searched/clean seam+irn/clean",
        "cam+irn-searched/clean cam+irn/clean",
    }


def test_values_are_those_of_the_paired_difference(row: Callable[..., Row]) -> None:
    _, found = told(row, ("cam", "clean", 3), ("seam", "clean", 3))
    (only,) = found.comparisons
    assert only.is_yardstick
    good, bad = confusions(np.random.default_rng(0), 3, 0.003, 0.1)
    expected = paired_difference(bad, good)
    assert (only.difference.mean, only.difference.p) == pytest.approx((expected.mean, expected.p))
    assert only.difference.verdict == "worse"
    assert [found.standings[n].rank for n in range(2)] == [1, 2]
    assert (found.separated, found.rng_seeds, found.images) == (1.0, 3, 120)
    assert found.floor == pytest.approx(expected.smallest_detectable)
    assert found.intervals[0].low < found.intervals[0].mean < found.intervals[0].high


def test_a_line_with_one_rng_seed_is_compared_over_images_and_has_no_place(row: Callable[..., Row]) -> None:
    _, found = told(row, ("cam", "clean", 3), ("seam", "clean", 1))
    (only,) = found.comparisons
    assert (only.difference.seeds, only.difference.seeds_tested) == (1, False)
    assert list(found.standings) == [0]
    assert set(found.intervals) == {0, 1}


def test_lines_without_counts_are_left_out(row: Callable[..., Row]) -> None:
    lines, counts = board(row, [("cam", "clean", 3), ("seam", "clean", 3)])
    found = verdicts(lines, MAPS, lambda own: counts(own) if own.recipe == "cam" else None, [True, True])
    assert found is not None
    assert (set(found.intervals), found.comparisons) == ({0}, ())
    assert verdicts(lines, MAPS, lambda own: None, [True, True]) is None


def test_one_image_tells_nothing(row: Callable[..., Row]) -> None:
    own = row()
    (line,) = lines_of(boards([own])[0])
    single = ImageSums(("a",), *[np.ones((1, 3), np.int64)] * 3, np.eye(3, dtype=np.int64))
    assert verdicts([line], MAPS, lambda _: single, [True]) is None
