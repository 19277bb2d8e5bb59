"""Metrics named among `diagnostics` give what the stored masks, counts and rows give by other ways."""

import shutil

import numpy as np
import pytest

from harness.reports.leaderboard import Finished, run_and_gather
from harness.stages.measures import MeasureIdentity
from harness.stages.planning import make_plan
from harness.store.store import Store
from harness.suites.data import dataset_of
from harness.suites.suite import load_suite
from results.metrics.boundary_iou import boundary_counts
from results.metrics.miou import iou
from settings.discovery import METRICS
from settings.errors import UserError
from settings.masks import read_mask
from tests.harness.conftest import ONLY_CAM, undrawn

METRIC_NAMES = METRICS.names()
MEASURED = (*ONLY_CAM, "gallery=0", f"diagnostics=[{', '.join(METRIC_NAMES)}]")


@pytest.fixture(scope="module")
def finished(smoke: Finished, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Upon the smoke suite's store, which has all but the measures."""
    store = tmp_path_factory.mktemp("measured") / "store"
    shutil.copytree(smoke.run.store_folder, store)
    with undrawn():
        return run_and_gather(load_suite("smoke", MEASURED), store, "serial")


def values(finished: Finished) -> dict[str, float | None]:
    return {each.measure: each.value for each in finished.board.diagnostics if each.recipe == "cam"}


def test_every_metric_is_measured_of_what_it_reads(finished: Finished) -> None:
    found = {(each.diagnostic, each.measure.split("; ")[1]) for each in finished.board.diagnostics}
    of_masks = {name for name in METRIC_NAMES if name != "pxap"}
    masks = {(name, of) for name in of_masks for of in ("pseudo labels, train", "segmentation, val")}
    assert found == {*masks, ("pxap", "maps, train")}
    assert all(each.value is None or 0 <= each.value <= 1 for each in finished.board.diagnostics)


def test_the_worst_class_is_that_of_the_row(finished: Finished) -> None:
    for stage, of in (("pseudo_labels", "pseudo labels, train"), ("segmentation", "segmentation, val")):
        (row,) = (r for r in finished.board.rows if (r.recipe, r.stage, r.policy) == ("cam", stage, "fixed"))
        worst = min(value for value in row.per_class if value is not None)
        assert values(finished)[f"IoU of the worst class; {of}"] == pytest.approx(worst, abs=1e-15)


def test_the_rims_are_those_of_the_stored_predictions(finished: Finished) -> None:
    store, dataset = Store(finished.run.store_folder), dataset_of(finished.run.plan.suite.dataset)
    (stage,) = (
        each
        for each in finished.run.plan.graph.values()
        if isinstance(each.identity, MeasureIdentity)
        and (each.identity.component.name, each.identity.of) == ("boundary_iou", "segmentation, val")
        and each.runtime.shown.recipe == "cam"
    )
    total = np.zeros((3, 3), np.int64)
    for ref in stage.inputs["masks"]:
        for path in sorted(store.open(ref).folder.glob("*.png")):
            total += boundary_counts(read_mask(path), dataset.read_mask(path.stem), 3).pixels
    hits, predicted, truth = total
    expected = np.nanmean(iou(hits, truth, predicted))
    assert values(finished)["boundary IoU; segmentation, val"] == pytest.approx(expected, abs=1e-15)
    ledger = store.record(stage.ref).ledger
    assert {(entry["split"], entry["purpose"], len(entry["ids"])) for entry in ledger} == {("val", "score", 16)}


def test_measures_change_no_row_and_stand_in_the_table(finished: Finished) -> None:
    plain = make_plan(load_suite("smoke", [*ONLY_CAM, "gallery=0"]))
    assert plain.rows == finished.run.plan.rows
    assert r"| mIoU of objects, small, \< 5 %; segmentation, val" in (finished.folder / "table.md").read_text()


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(UserError, match=r"diagnostics.*unknown diagnostic 'boundary'.*did you mean 'boundary_iou'"):
        make_plan(load_suite("smoke", ["diagnostics=[boundary]"]))
