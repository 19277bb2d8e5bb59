"""The policy `held_out`: the masks of dev choose thresholds, and count; where it has none, one line warns."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from harness.reports.leaderboard import Finished, run_and_gather
from harness.stages.planning import Plan, make_plan
from harness.stages.scoring import SelectIdentity
from harness.store.store import Store
from harness.suites.data import dataset_of
from harness.suites.suite import load_suite
from methods.localization import read_maps
from methods.upsampling import upsample
from results.rows import Row
from settings.datasets.scenes import Scenes
from settings.errors import UserError
from settings.revealing import revealed_ids
from tests.harness.conftest import ONLY_CAM

HELD_OUT = (*ONLY_CAM, "policies={held_out: segmentation, held_out(3): maps, oracle: maps}", "gallery=2")


@pytest.fixture(scope="module")
def finished(smoke: Finished, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Upon the smoke suite's store, which has the maps already."""
    store = tmp_path_factory.mktemp("held") / "store"
    shutil.copytree(smoke.run.store_folder, store)
    return run_and_gather(load_suite("smoke", HELD_OUT), store, "serial")


def plan_of(*overrides: str) -> Plan:
    return make_plan(load_suite("smoke", [*HELD_OUT, *overrides]))


def rows_of(finished: Finished, policy: str) -> dict[tuple[str, str], Row]:
    return {(row.recipe, row.stage): row for row in finished.board.rows if row.policy == policy}


def naive_choice(finished: Finished, ids: tuple[str, ...]) -> float:
    """The first of 0, 0.01 … 1 with the highest mIoU over these photos: foreground is what lies above it."""
    store, dataset = Store(finished.run.store_folder), dataset_of(finished.run.plan.suite.dataset)
    maps = {}
    for stage in finished.run.plan.graph.values():
        if stage.kind.name == "localizer_apply":
            maps |= {m.photo_id: m for m in read_maps(store.open(stage.ref).path("maps.safetensors"))}
    scores = []
    for step in range(101):
        confusion = np.zeros((3, 3), np.int64)
        for photo_id in ids:
            maps_CHW = upsample(maps[photo_id])
            values = np.array(maps[photo_id].class_ids)[maps_CHW.argmax(0)] + 1
            mask_HW = np.where(maps_CHW.max(0) > step / 100, values, 0)
            np.add.at(confusion, (dataset.read_mask(photo_id), mask_HW), 1)
        hits = confusion.diagonal()
        union = confusion.sum(0) + confusion.sum(1) - hits
        scores.append(np.mean((hits / np.maximum(union, 1))[union > 0]))
    return int(np.argmax(scores)) / 100


def test_the_threshold_is_the_best_on_dev_and_its_masks_are_counted(finished: Finished) -> None:
    rows = rows_of(finished, "held_out")
    maps, labels, segmentation = (rows["cam", stage] for stage in ("maps", "pseudo_labels", "segmentation"))
    dev = dataset_of(finished.run.plan.suite.dataset).splits["dev"]
    assert maps.threshold == pytest.approx(naive_choice(finished, dev)) and maps.threshold != 0.3
    assert labels.miou == maps.miou, "labels are cut at the same threshold"
    assert [(row.masks_chosen, row.masks_trained) for row in (maps, labels, segmentation)] == [(8, 0)] * 3
    assert (maps.split, maps.masks_scored) == ("train", 24)
    # 8 masks at 239.7 s, and a second for each of 2 classes and 32 photos.
    assert segmentation.label_hours == pytest.approx((8 * 239.7 + 64) / 3600, abs=0.01)


def test_n_masks_are_those_of_few_shot_and_count_as_n(finished: Finished) -> None:
    row = rows_of(finished, "held_out(3)")["cam", "maps"]
    revealed = revealed_ids(dataset_of(finished.run.plan.suite.dataset), 3, rng_seed=0)
    assert row.threshold == pytest.approx(naive_choice(finished, revealed))
    assert (row.masks_chosen, row.masks_trained, row.masks_scored) == (3, 0, 24)
    assert row.label_hours == pytest.approx((3 * 239.7 + 64) / 3600, abs=0.01)
    (table,) = (each for each in finished.board.tables if "policy held_out(3)" in each.title)
    best = rows_of(finished, "oracle")["cam", "maps"].miou
    assert table.lines[0][table.columns.index("oracle gap")] == f"{best - row.miou:.3f}"
    assert any("chosen in the run, on 3 of the true masks of dev" in note for note in table.notes)


def test_more_masks_than_dev_has_are_refused() -> None:
    with pytest.raises(UserError, match=r"found held_out\(9\); expected at most the 8 masks that scenes/dev has"):
        make_plan(load_suite("smoke", ["policies={held_out(9): maps}"]))


def test_a_threshold_is_not_chosen_by_image_level_labels() -> None:
    with pytest.raises(UserError, match=r"policies=.*: found 'image_level'; .*no threshold can be chosen by them"):
        load_suite("smoke", ["policies={image_level: maps}"])


def test_what_has_no_threshold_stands_on_the_same_board(finished: Finished) -> None:
    rows = rows_of(finished, "held_out")
    assert rows["all-background", "segmentation"].masks_chosen == 0
    table = finished.board.tables[0]
    assert "policy held_out" in table.title and {line[0] for line in table.lines} == {"cam †", "all-background †"}
    assert {row.recipe for row in finished.board.rows if row.policy == "oracle"} == {"cam"}
    plan = plan_of("references=[few-shot(4)]")
    chosen = [stage for stage in plan.graph.values() if stage.kind.name == "select"]
    assert len(chosen) == 3 and all("cam" in stage.label for stage in chosen)


def test_pictures_and_curves_are_of_the_chosen_threshold(finished: Finished) -> None:
    graph = finished.run.plan.graph
    drawn = [graph[ref] for ref in finished.run.plan.pictures]
    labels = {graph[ref] for stage in drawn for ref in stage.inputs.get("pseudo_labels", ())}
    choices = [graph[ref].identity for label in labels for ref in label.inputs["select"]]
    assert {choice.policy for choice in choices if isinstance(choice, SelectIdentity)} == {"held_out"}
    assert "segmenter" in (finished.folder / "training.csv").read_text()


def test_the_ledger_says_that_dev_was_read_to_choose(finished: Finished) -> None:
    store, graph = Store(finished.run.store_folder), finished.run.plan.graph
    identities = {ref: stage.identity for ref, stage in graph.items()}
    (ref,) = (r for r, one in identities.items() if isinstance(one, SelectIdentity) and one.policy == "held_out")
    entries = [entry for sweep in graph[ref].inputs["sweeps"] for entry in store.record(sweep).ledger]
    assert {(entry["split"], entry["purpose"]) for entry in entries} == {("dev", "choose")}
    assert {photo_id[:4] for entry in entries for photo_id in entry["ids"]} == {"dev_"}


def test_without_masks_of_dev_the_declared_threshold_stays_and_one_line_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scenes, "has_mask", lambda self, photo_id: not photo_id.startswith("dev_"))
    plan = plan_of()
    warned = [note for note in plan.notes if note.startswith("WARNING")]
    assert warned == ["WARNING: scenes/dev has no true mask, so these thresholds stay, chosen on other data: cam 0.3"]
    fixed = make_plan(load_suite("smoke", [*HELD_OUT, "policies={fixed: segmentation, oracle: maps}"]))
    assert plan.targets == fixed.targets and not fixed.notes
    both = make_plan(
        load_suite("smoke", [*HELD_OUT, "policies={held_out(3): maps, held_out: segmentation, oracle: maps}"])
    )
    assert both.targets == fixed.targets


def test_dev_is_not_reported_and_chosen_on_at_once() -> None:
    with pytest.raises(UserError, match=r"policies.*a choice on dev, which `report: dev` reports"):
        plan_of("report=dev")


def test_the_starter_chooses_on_dev_and_null_takes_a_policy_away(tmp_path: Path) -> None:
    assert load_suite("starter").policies == {"held_out": "segmentation", "oracle": "maps"}
    path = tmp_path / "mine.yaml"
    path.write_text("include: starter\npolicies: {fixed: maps, held_out: null}\n")
    assert load_suite(path).policies == {"fixed": "maps", "oracle": "maps"}
    assert load_suite("scenes-leaderboard").policies == {"fixed": "segmentation", "oracle": "maps"}
