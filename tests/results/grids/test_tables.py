"""Tables of grids as they are shown, and as numbers."""

from csv import DictReader
from dataclasses import replace
from io import StringIO

import pytest

from results.grids.design import Design, Factor
from results.grids.grids import Grids, measured_grids
from results.grids.tables import ablation_table, level_shown, seeds_shown
from results.rows import Row
from tests.results.grids.conftest import MadeGrid, make_grid


def grids_of(grid: MadeGrid, design: Design | None = None, rows: list[Row] | None = None) -> Grids:
    return measured_grids(design or grid.design, rows or grid.rows, grid.counts)


def test_a_line_a_cell_with_its_levels_and_its_difference(grid: MadeGrid) -> None:
    (table,) = grids_of(grid).ablations
    assert table.title == "Ablation of co · scenes · clean · policy fixed"
    assert table.columns == (
        *("common", "refs", "pseudo labels", "Δ", "95 % interval", "verdict", "detectable", "rng seeds", "seconds"),
    )
    full, _, off, _ = table.lines
    assert (full[:2], full[3:7], off[:2]) == (("✓", "3"), ("–",) * 4, ("–", "3"))
    assert (off[3][0], off[5], off[7]) == ("-", "worse", "0–2")
    assert table.common == "Thresholds: declared before the run, the same for every cell"
    compare = "seedbed compare co--refs-0 co --leaderboard FOLDER --setting clean --policy 'fixed'"
    assert any(note.endswith(compare) for note in table.notes)


@pytest.mark.parametrize(
    ("policy", "declares", "told"),
    [
        ("held_out(16)", (), "Thresholds: chosen on 16 masks of dev, for every cell alike"),
        ("held_out", (), "Thresholds: chosen on the masks of dev, for every cell alike"),
        ("fixed", ("refs",), "Thresholds: declared before the run, one for each level of refs"),
    ],
)
def test_the_caption_says_how_thresholds_were_set(policy: str, declares: tuple[str, ...], told: str) -> None:
    grid = make_grid(policies=(policy,))
    (table,) = grids_of(grid, replace(grid.design, declares=declares)).ablations
    assert table.common == told
    assert r"\caption{Ablation of co $\cdot$ scenes $\cdot$ clean $\cdot$ policy" in table.to_latex()
    assert ("4 cells without a threshold to choose" in table.notes) == policy.startswith("held_out")
    assert f"{told.replace('_', chr(92) + '_')}.}}" in table.to_latex()


def test_numbers_are_those_of_the_differences(grid: MadeGrid) -> None:
    grids = grids_of(grid)
    records = list(DictReader(StringIO(grids.ablations[0].to_csv())))
    (board,) = grids.boards
    assert [(each["cell"], each["factor common"], each["factor refs"]) for each in records][2:] == [
        ("co--common-off", "off", "3"),
        ("co--common-off--refs-0", "off", "0"),
    ]
    found = board.cells["co--common-off"].against_full
    assert found is not None and records[0]["difference"] == ""
    fields = ("difference", "difference_low", "difference_high", "p_holm", "smallest_detectable")
    expected = (found.mean, found.low, found.high, found.p, found.smallest_detectable)
    assert [float(records[2][field]) for field in fields] == pytest.approx(expected)


def test_effects_and_interactions_have_a_table_each(grid: MadeGrid) -> None:
    mains, together = grids_of(grid).effects
    assert [line[0] for line in mains.lines] == ["common: on → off", "refs: 3 → 0"]
    assert mains.title == "Main effects in co · scenes · clean · policy fixed"
    (line,) = together.lines
    # Refs off helps where common is off, and does nothing where it is on.
    assert (line[0], line[4], line[6]) == ("common × refs", "more than the sum", "4")


def test_what_is_mixed_up_has_a_column(grid: MadeGrid) -> None:
    third = Factor("c", ("on", "off"))
    cells = {name: (*levels, "on") for name, levels in grid.design.cells.items()}
    cells = {
        name: (*levels[:2], "off" if number in (1, 2) else "on") for number, (name, levels) in enumerate(cells.items())
    }
    design = replace(grid.design, factors=(*grid.design.factors, third), cells=cells, words=(("common", "refs", "c"),))
    grids = grids_of(grid, design)
    assert [line[-1] for line in grids.effects[0].lines] == ["refs × c", "common × c", "common × refs"]
    assert grids.effects[0].columns[-1] == "mixed up with"
    told = "design: a fraction, 4 of 8 cells, resolution 3; its defining relation: common·refs·c"
    assert told in grids.ablations[0].notes


def test_supervision_that_differs_and_skipped_cells_are_told(grid: MadeGrid) -> None:
    rows = [replace(row, supervision="I+S") if row.recipe == "co--refs-0" else row for row in grid.rows]
    moved = {replace(row, supervision="I+S").identity: grid.sums[row.identity] for row in grid.rows}
    grid.sums |= moved
    design = replace(grid.design, cells={**grid.design.cells, "co--x-1": ("on", None)}, skipped={"co--x-1": "no maps"})
    (board,) = grids_of(grid, design, rows).boards
    notes = ablation_table(board).notes
    assert "supervision differs between cells: I in 3 cells, I+S in 1 cell" in notes
    assert "skipped: co--x-1: no maps" in notes and "·: means nothing in this cell" in notes


def test_levels_and_rng_seeds_as_they_are_shown() -> None:
    switch, number = Factor("a", ("on", "off")), Factor("b", ("3", "off"))
    shown = [
        level_shown(switch, "on"),
        level_shown(switch, "off"),
        level_shown(switch, None),
        level_shown(number, "off"),
    ]
    assert shown == ["✓", "–", "·", "off"]
    assert [seeds_shown(seeds) for seeds in ((0, 1, 2), (0, 2, 5), (3, 4), ())] == ["0–2", "0 2 5", "3 4", ""]


def test_shares_add_up_in_their_table() -> None:
    grid = make_grid(policies=("fixed", "held_out"), variance=True)
    (table,) = grids_of(grid).shares
    assert sum(record["share"] for record in table.records) == pytest.approx(1)
    assert table.lines[0][0] == "common" and table.lines[0][1] == f"{table.records[0]['share']:.1%}"
    assert "threshold policies: fixed, held_out" in table.notes
