"""A cue that is trained: on photos without labels, once for all recipes, and measured on both splits' masks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.reports.leaderboard import Finished, run_and_gather
from harness.stages.planning import Plan, make_plan
from harness.store.store import Store
from harness.suites.data import dataset_of
from harness.suites.suite import load_suite
from methods.cues.c2am import C2am
from settings.records import Photo
from tests.harness.conftest import undrawn

CUE = "{name: c2am, training: {epochs: 2, batch: 8}}"
RECIPES = f"""{{
    coattention: null, cam: null, cam+saliency: null,
    shaped: {{localizer: {{name: cam, hidden: 16, training: {{epochs: 1}}}}, cue: {CUE}, labeler: saliency}},
    named: {{cue: {CUE}, labeler: label_in_saliency}},
}}"""
OVERRIDES = (f"recipes={RECIPES}", "references=[]", "segmenter=none", "gallery=0", "diagnostics=[cue]")
GIVEN: list[Photo] = []


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    fit = C2am.fit

    def noting(self: Any, photos: Any, *rest: Any) -> Any:
        GIVEN.extend(photos)
        return fit(self, photos, *rest)

    with undrawn(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(C2am, "fit", noting)
        yield run_and_gather(load_suite("smoke", OVERRIDES), tmp_path_factory.mktemp("cues") / "store", "serial")


def plan_of(*overrides: str) -> Plan:
    return make_plan(load_suite("smoke", (*OVERRIDES, *overrides)))


def test_it_trains_once_on_all_photos_and_on_no_label(finished: Finished) -> None:
    dataset = dataset_of(finished.run.plan.suite.dataset)
    assert [photo.id for photo in GIVEN] == [*dataset.training_ids]
    assert not any(photo.labels for photo in GIVEN)
    assert {row.supervision for row in finished.board.rows} == {"I"}
    assert finished.board.holes == 0


@pytest.mark.parametrize("split", ["dev", "train"])
def test_its_iou_is_that_of_the_stored_maps(finished: Finished, split: str) -> None:
    dataset, store = dataset_of(finished.run.plan.suite.dataset), Store(finished.run.store_folder)
    both = either = 0
    for ref, stage in finished.run.plan.graph.items():
        for photo_id in stage.runtime.ids if stage.kind.name == "cue" else ():
            if photo_id in dataset.splits[split]:
                with Image.open(store.open(ref).path(f"{photo_id}.png")) as picture:
                    shown = np.asarray(picture).astype(int) * 2 > 255
                truth = dataset.read_mask(photo_id)
                both += int((shown & (truth > 0) & (truth != 255)).sum())
                either += int(((shown | (truth > 0)) & (truth != 255)).sum())
    found = {record.measure: record.value for record in finished.board.diagnostics}
    assert either > 0
    assert found[f"foreground IoU of the cue, {split}"] == both / either
    assert len(found) == len(finished.board.diagnostics) == 2


def test_what_only_apply_reads_trains_nothing_anew() -> None:
    def fits(*overrides: str) -> set[str]:
        return {ref.key for ref in plan_of(*overrides).graph if ref.kind == "cue_fit"}

    assert len(fits()) == 1
    assert fits("recipes.named.cue.threshold=0.2", "recipes.shaped.cue.threshold=0.2") == fits()
    assert len(fits("recipes.named.cue.alpha=0.5")) == 2


def test_a_cue_without_a_fit_has_no_weights() -> None:
    kinds = {"cue", "label"}
    graph = plan_of("recipes.named.cue=scenes").graph
    stages = [s for s in graph.values() if s.kind.name in kinds and "named" in s.group]
    assert stages
    assert not any("weights" in stage.inputs for stage in stages)


def test_the_folder_tells(finished: Finished) -> None:
    text = Path(finished.folder / "table.md").read_text()
    assert "| shaped | clean | frozen | foreground IoU of the cue, train |" in text
