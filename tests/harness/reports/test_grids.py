"""A suite with a grid from plan to folder: what cells cost together, tables and figures, and all of it made anew."""

import shutil
from pathlib import Path

import pytest

from harness.execution.costs import Costs
from harness.reports.estimate import estimate, grid_cost
from harness.reports.files import LeaderboardFiles
from harness.reports.grids import grids_shown
from harness.reports.leaderboard import Finished, run_and_gather
from harness.reports.page import shown_of
from harness.reports.reprint import reprint
from harness.reports.sides import LeaderboardPlace, Wanted, sides_of_rows
from harness.stages.planning import make_plan
from harness.store.store import Store
from harness.suites.suite import Suite, load_suite
from results.page import Counts
from results.pair import compared
from settings.errors import UserError
from tests.harness.conftest import undrawn

GRID = """
include: smoke
gallery: 0
references: []
segmenter: none
rng_seeds: [0, 1]
policies: {fixed: pseudo_labels, oracle: null}
recipes:
  coattention: null
  cam+saliency: null
  cam: null
  prior: {localizer: centre_prior, labeler: {name: threshold, threshold: 0.3}}
grid:
  of: prior
  factors:
    alpha: {4: {}, 1: {labeler.alpha: 1.0}}
    power: {on: {labeler.rule: power}, off: {labeler.rule: constant}}
    background: {off: {}, on: {labeler.rule: maps}}
"""
WRITTEN = (
    *("grid.json", "grid.md", "grid.csv", "grid.tex", "grid.png", "grid.svg"),
    *("effects.csv", "effects.png", "effects.svg"),
)
CELLS = ["prior", "prior--power-off", "prior--alpha-1", "prior--alpha-1--power-off"]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    path = tmp_path_factory.mktemp("suite") / "tiny.yaml"
    path.write_text(GRID)
    return load_suite(path)


@pytest.fixture(scope="module")
def finished(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    with undrawn():
        return run_and_gather(suite, tmp_path_factory.mktemp("grid") / "store", "serial")


def test_the_folder_has_the_grid_and_the_terminal_its_tables(finished: Finished) -> None:
    assert finished.exit_code == 0
    assert {path.name for path in finished.folder.iterdir()} >= set(WRITTEN)
    titles = [table.title for table in finished.board.grid_tables]
    assert titles == [
        f"{what} prior · scenes · clean · policy fixed"
        for what in ("Ablation of", "Main effects in", "Interactions of two factors in")
    ]
    text = (finished.folder / "grid.md").read_text(encoding="utf-8")
    assert text.startswith("# tiny\n") and "| 1 | – | – |" in text
    # What power and background both set cannot be together.
    assert "skipped: prior--background-on, prior--power-off--background-on, prior--alpha-1--background-on, " in text
    shown = shown_of(
        LeaderboardFiles(finished.folder), [], [], Counts(), Path(), True, grids_shown(finished.board.grids, Path())
    )
    assert [further.table.lines for further in shown.further] == [each.lines for each in finished.board.grid_tables]
    # Commands on the page name the folder, and levels that are not the full method's stand out.
    assert any("--leaderboard . --setting clean" in note for note in shown.further[0].table.notes)
    assert [further.levels for further in shown.further] == [3, 0, 0]
    assert [further.draw is not None for further in shown.further] == [True, True, False]
    # Drawn on the page as a figure, and not shown as a picture once more.
    assert shown.pictures == ()


def test_the_folder_makes_the_same_grid_anew(finished: Finished, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished.folder, tmp_path / finished.folder.name))
    for name in WRITTEN[1:]:
        (folder / name).unlink()
    anew = reprint(folder).grids
    assert anew is not None
    assert [table.title for table in anew.tables] == [each.title for each in finished.board.grid_tables]
    for name in WRITTEN:
        assert (folder / name).read_bytes() == (finished.folder / name).read_bytes(), name
    (folder / "grid.json").write_text('{"base": "prior"}')
    with pytest.raises(UserError, match=r"grid\.json: found no grid \('factors'\); expected what a run wrote"):
        reprint(folder)


def test_behind_a_difference_lies_a_comparison_of_two_recipes(finished: Finished) -> None:
    place = LeaderboardPlace(finished.folder)
    wanted = Wanted(setting="clean", policy="fixed")
    sides = sides_of_rows("prior--alpha-1", "prior", place, place, wanted)
    pair = compared(sides.a, sides.b)
    (found,) = [each for each in finished.board.grid_tables[0].records if each["cell"] == "prior--alpha-1"]
    numbers = [found["difference"], found["difference_low"], found["difference_high"], found["smallest_detectable"]]
    whole = pair.difference
    assert numbers == pytest.approx([whole.mean, whole.low, whole.high, whole.smallest_detectable])


def test_plan_tells_what_cells_cost_together_alone_and_at_least(suite: Suite, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    costs, plan = Costs(store), make_plan(suite)
    seconds = {ref: costs.seconds(stage) for ref, stage in plan.graph.items()}
    behind = {}
    for cell in CELLS:
        wanted, pending = set(), [ref for ref in plan.rows if plan.graph[ref].identity.row.recipe == cell]  # type: ignore[attr-defined]
        while pending:
            ref = pending.pop()
            if ref not in wanted:
                wanted.add(ref)
                pending.extend(plan.graph[ref].needs())
        behind[cell] = wanted
    every = set.union(*behind.values())
    lonely = {ref for ref in every if sum(ref in each for each in behind.values()) == 1}
    found = grid_cost(plan, store)
    assert found is not None
    assert (found.cells, found.combinations, found.skipped) == (4, 8, 4)
    assert found.together == pytest.approx(sum(seconds[ref] for ref in every))
    assert found.alone == pytest.approx(sum(seconds[ref] for each in behind.values() for ref in each))
    most = max(sum(seconds[ref] for ref in each - lonely) for each in behind.values())
    assert found.bound == pytest.approx(sum(seconds[ref] for ref in lonely) + most)
    assert found.bound <= found.together < found.alone
    told = estimate(suite, tmp_path / "store").to_text()
    assert "grid of prior: 4 cells (full; 8 combinations of levels, 4 skipped); in an empty store they cost" in told
    assert estimate(load_suite("smoke"), tmp_path / "store").to_json()["grid"] is None
