"""Rows at planning and in a run: what stands for a recipe's options, and masks that were used before the run."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import results
from harness.reports.leaderboard import run_and_gather
from harness.stages.lineage import Lineage
from harness.stages.planning import make_plan
from harness.stages.rows import RowIdentity
from harness.store.layout import Ref
from harness.store.record import Record
from harness.suites.data import dataset_of
from harness.suites.suite import load_suite
from settings.supervision import LedgerEntry
from tests.harness.conftest import ONLY_CAM

SMALL = (*ONLY_CAM, "gallery=0", "segmenter=none")


def identities(*changes: str) -> list[RowIdentity]:
    plan = make_plan(load_suite("smoke", (*SMALL, *changes)))
    found = [plan.graph[ref].identity for ref in plan.rows]
    return [identity for identity in found if isinstance(identity, RowIdentity)]


def options(*changes: str) -> str | None:
    """Of the recipe cam, which all of its rows must agree in."""
    (found,) = {identity.row.options for identity in identities(*changes) if identity.row.recipe == "cam"}
    return found


@pytest.mark.parametrize(
    "change",
    [
        "recipes.cam.labeler.threshold=0.6",
        "recipes.cam.localizer.training.epochs=3",
        "recipes.cam.refiners=[pamr]",
        "recipes.cam.localizer=seam",
        "recipes.cam.segmenter=deeplab",
        "backbone.size=96",
        "backbone.output_stride=32",
    ],
)
def test_other_options_are_another_row(change: str) -> None:
    assert options(change) != options()


@pytest.mark.parametrize(
    "same",
    [
        "recipes.cam.labeler={name: threshold, rule: constant}",
        "rng_seeds=[4]",
        "policies={fixed: maps}",
        "declared_on={dev: 3}",
        "settings={shuffled: {}}",
        "dataset.train=70",
    ],
)
def test_a_default_that_is_written_out_and_what_is_no_option_of_the_recipe_change_nothing(same: str) -> None:
    assert options(same) == options()


def test_how_a_recipe_runs_its_segmenter_is_an_option_and_what_a_suite_adds_is_none() -> None:
    plain = options("segmenter=deeplab")
    assert options("segmenter=deeplab", "segment=[{}, {flip: true}]") == plain
    assert options("segmenter={name: deeplab, inference: {flip: false}}") == plain
    assert options("segmenter={name: deeplab, inference: {flip: true}}") != plain


def test_of_files_by_other_programs_the_contents_count(tmp_path: Path) -> None:
    """Maps of another folder are other options, wherever the folder lies: what is the same has the same row."""
    dataset = dataset_of(load_suite("smoke").dataset)
    for name, value in (("one", 0.5), ("two", 0.25), ("copy", 0.5)):
        (tmp_path / name).mkdir()
        for photo_id in dataset.training_ids:
            keys = np.array(dataset.photo(photo_id).labels)
            maps = np.full((len(keys), 3, 3), value, np.float32)
            np.savez(tmp_path / name / f"{photo_id}.npz", keys=keys, maps=maps)
    recipe = "recipes={{cam: {{localizer: {{name: folder, root: {}, supervision: I}}, labeler: threshold}}}}"
    found = [options(recipe.format(tmp_path / name)) for name in ("one", "two", "copy")]
    assert found[0] == found[2] != found[1]


def test_a_recipe_whose_options_were_chosen_otherwise_says_so() -> None:
    def declared(*changes: str) -> set[tuple[str, str]]:
        return {(each.row.recipe, str(each.declared_on)) for each in identities("declared_on={dev: 5}", *changes)}

    assert declared() == {("cam", "{'dev': 5}"), ("all-background", "None")}
    assert declared("recipes.cam.declared_on={dev: 2}") == {("cam", "{'dev': 2}"), ("all-background", "None")}
    assert declared("recipes.cam.declared_on={}") == {("cam", "None"), ("all-background", "None")}


def test_two_option_sets_in_one_store_are_both_loaded(tmp_path: Path) -> None:
    for threshold in (0.5, 0.25):
        change = f"recipes.cam.labeler.threshold={threshold}"
        run_and_gather(load_suite("smoke", (*SMALL, "policies={fixed: maps}", change)), tmp_path, "serial")
    table = results.load(tmp_path)
    assert sorted(table[table["recipe"] == "cam"]["threshold"]) == [0.25, 0.5]
    assert table[table["recipe"] == "cam"]["options"].nunique() == 2


def test_masks_that_options_were_chosen_on_before_the_run_are_counted_and_cost_hours(tmp_path: Path) -> None:
    changes = ("declared_on={dev: 5}", "policies={fixed: pseudo_labels, oracle: maps}")
    finished = run_and_gather(load_suite("smoke", (*SMALL, *changes)), tmp_path, "serial")
    counted = {(row.recipe, row.policy): (row.masks_chosen, row.masks_declared) for row in finished.board.rows}
    # The oracle chooses on the 24 masks that it reports; a reference has no options of the suite's.
    assert counted == {("cam", "fixed"): (5, 5), ("cam", "oracle"): (29, 5), ("all-background", "fixed"): (0, 0)}
    hours = {row.label_hours for row in finished.board.rows if (row.recipe, row.policy) == ("cam", "fixed")}
    assert hours == {round((32 * 2 + 5 * 239.7) / 3600, 3)}
    assert "| 5+0 |" in finished.board.tables[0].to_markdown()


def lineage(*ledger: LedgerEntry) -> Lineage:
    """Of a row whose ancestors have read these masks, each another."""
    records = {}
    for number, entry in enumerate(ledger):
        record = Record("score", str(number), "attempt-0", {}, ledger=(entry.to_json(),))
        records[Ref("score", str(number))] = record
    return Lineage(records)


def entry(split: str, ids: Sequence[str]) -> LedgerEntry:
    return LedgerEntry("mask", split, "choose", "sweep", tuple(ids))


def test_a_mask_that_served_before_the_run_and_in_it_counts_once() -> None:
    read = lineage(entry("dev", "abc"), entry("dev", "bcd"), entry("train", "xy"))
    chosen = [read.row_fields(declared)["masks_chosen"] for declared in ({}, {"dev": 3}, {"dev": 9}, {"val": 2})]
    assert chosen == [4 + 2, 4 + 2, 9 + 2, 4 + 2 + 2]


def test_choosing_on_dev_again_costs_no_mask_more(tmp_path: Path) -> None:
    changes = ("report=dev", "declared_on={dev: 8}", "policies={fixed: maps, oracle: maps}")
    finished = run_and_gather(load_suite("smoke", (*SMALL, *changes)), tmp_path, "serial")
    assert {row.masks_chosen for row in finished.board.rows if row.recipe == "cam"} == {8}
