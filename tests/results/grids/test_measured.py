"""What is told of a measured grid: differences as of any two lines, effects of all cells, refused cells by name."""

from dataclasses import replace

import pytest

from results.counted import joined_sums
from results.grids.measured import GridBoard, grid_boards, grid_variances
from results.statistics import contrast, corrected, difference, samples
from tests.results.grids.conftest import FOUND, NAMES, MadeGrid, make_grid


def board_of(grid: MadeGrid) -> GridBoard:
    (board,) = grid_boards(grid.design, grid.rows, grid.counts)
    return board


def test_a_cell_is_held_against_the_full_method_as_two_lines_are(grid: MadeGrid) -> None:
    board = board_of(grid)
    sums = [joined_sums([grid.sums[row.identity] for row in grid.rows if row.recipe == name]) for name in NAMES]
    full, *others = samples(sums)
    expected = corrected([difference(other, full) for other in others])
    assert [board.cells[name].against_full for name in NAMES] == [None, *expected]
    assert (board.column.stage, board.images, board.rng_seeds) == ("pseudo_labels", 40, (0, 1, 2))
    verdicts = [each.verdict for each in expected]
    assert verdicts == ["not separated", "worse", "worse"]


def test_effects_are_contrasts_of_all_cells(grid: MadeGrid) -> None:
    board = board_of(grid)
    drawn = samples([joined_sums([grid.sums[row.identity] for row in grid.rows if row.recipe == n]) for n in NAMES])
    weights = {"common: on → off": [-0.5, -0.5, 0.5, 0.5], "refs: 3 → 0": [-0.5, 0.5, -0.5, 0.5]}
    mains = corrected([contrast(drawn, each) for each in weights.values()])
    told = {effect.name: found for effect, found in board.effects}
    assert list(told) == [*weights, "common × refs"]
    for name, expected in zip(weights, mains, strict=True):
        assert (told[name].mean, told[name].low, told[name].p) == pytest.approx(
            (expected.mean, expected.low, expected.p), abs=1e-12
        )
    together = contrast(drawn, [1, -1, -1, 1])
    assert told["common × refs"].mean == pytest.approx(together.mean, abs=1e-12)
    assert told["common × refs"].p == pytest.approx(together.p, rel=1e-6)


def test_a_cell_of_other_masks_or_photos_is_refused_by_name(grid: MadeGrid) -> None:
    for field, what in (
        ("evaluation_fingerprint", "scored on masks of fingerprint"),
        ("training_fingerprint", "trained on photos and labels of fingerprint"),
    ):
        other = [replace(row, **{field: "0" * 64}) if row.recipe == NAMES[1] else row for row in grid.rows]
        (board,) = grid_boards(grid.design, other, grid.counts)
        assert list(board.cells) == [NAMES[0], *NAMES[2:]]
        letter = getattr(grid.rows[0], field)[0]
        assert f"refused: {NAMES[1]}: {what} {'0' * 12}, where co has {letter * 12} (pseudo labels)" in board.notes
        # Only pairs without it are left: common, read where refs is 3.
        assert [effect.name for effect, _ in board.effects] == ["common: on → off", "refs: 3 → 0"]
        assert set(board.effects[0][0].weights) == {"co", "co--common-off"}


def test_a_cell_with_a_hole_has_no_difference(grid: MadeGrid) -> None:
    hole = replace(grid.rows[-1], status="failed", miou=None, reason="out of memory", counts="")
    (board,) = grid_boards(grid.design, [*grid.rows[:-1], hole], grid.counts)
    assert board.cells[NAMES[3]].against_full is None
    assert f"nothing is told of {NAMES[3]}, policy fixed: rng seed 2: out of memory" in board.notes


def test_skipped_cells_and_grids_without_the_full_method(grid: MadeGrid) -> None:
    skipped = replace(grid.design, skipped={NAMES[1]: "no"})
    (board,) = grid_boards(skipped, [row for row in grid.rows if row.recipe != NAMES[1]], grid.counts)
    assert not any(NAMES[1] in note for note in board.notes)
    assert grid_boards(grid.design, [row for row in grid.rows if row.recipe != "co"], grid.counts) == []


def test_the_oracle_has_no_board() -> None:
    grid = make_grid(policies=("fixed", "oracle"))
    assert board_of(grid).policy == "fixed"


def test_policies_are_a_factor_of_the_variance() -> None:
    grid = make_grid(policies=("fixed", "held_out(16)"), variance=True)
    (variance,) = grid_variances(grid.design, grid.rows, grid.counts)
    told = {share.name: share.interval for share in variance.shares}
    assert list(told) == [
        *("common", "refs", "threshold policy", "common × refs", "common × threshold policy"),
        *("refs × threshold policy", "higher interactions", "rng seed"),
    ]
    assert told["common"].low > 0.8 > told["refs"].high and sum(each.mean for each in told.values()) == pytest.approx(1)
    assert (variance.cells, variance.policies, variance.rng_seeds) == (8, ("fixed", "held_out(16)"), (0, 1, 2))


def test_shares_need_every_cell() -> None:
    fewer = {name: share for name, share in FOUND.items() if name != NAMES[3]}
    grid = make_grid(fewer, variance=True)
    (variance,) = grid_variances(grid.design, grid.rows, grid.counts)
    assert not variance.shares and "no shares: they need every cell under every policy" in variance.notes
