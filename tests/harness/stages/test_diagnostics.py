"""What is measured beside the rows is what independent code computes from the artefacts; nothing is measured twice."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import load_file

from harness.reports.gathering import gather
from harness.reports.leaderboard import Finished, run_and_gather
from harness.stages.fit import held_out_ids
from harness.stages.graph import Stage
from harness.stages.planning import Plan, make_plan
from harness.store.store import Artefact, Store
from harness.suites.data import dataset_of
from harness.suites.suite import Suite, load_suite
from methods.base import LocalizationMaps
from methods.localizers.cam import Cam
from methods.localizers.coattention import CoAttention
from methods.upsampling import upsample
from results.diagnostics import Measured
from settings.records import Mask

SUITE = """
include: smoke
dataset: {name: scenes, classes: 2, size: 48, train: 16, dev: 9, val: 4}
references: []
gallery: 0
policies: {fixed: maps}
diagnostics: [classifier, maps]
"""
SEEN: dict[int, set[str]] = {}
"""The ids that the fits of a run were given, by how many."""


@pytest.fixture(scope="module")
def suite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("suite") / "measured.yaml"
    path.write_text(SUITE)
    return path


@pytest.fixture(scope="module")
def finished(suite_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    with pytest.MonkeyPatch.context() as patch:
        for kind in (Cam, CoAttention):
            patch.setattr(kind, "fit", partial_fit(kind.fit))
        yield run_and_gather(load_suite(suite_file), tmp_path_factory.mktemp("measured") / "store", "serial")


def partial_fit(fit: Any) -> Any:
    """The same fit, which notes the photos that it is given."""

    def noting(self: Any, weak: Any, *rest: Any) -> Any:
        SEEN[len(weak.photos)] = {photo.id for photo in weak.photos}
        return fit(self, weak, *rest)

    return noting


def plan_of(suite_file: Path, *overrides: str) -> Plan:
    return make_plan(load_suite(suite_file, overrides))


def stage_of(plan: Plan, kind: str, recipe: str) -> Stage:
    (stage,) = (s for s in plan.graph.values() if s.kind.name == kind and s.label.startswith(f"{recipe} ·"))
    return stage


def opened(finished: Finished, kind: str, recipe: str) -> tuple[Stage, Artefact]:
    stage = stage_of(finished.run.plan, kind, recipe)
    return stage, Store(finished.run.store_folder).open(stage.ref)


def value(finished: Finished, recipe: str, measure: str) -> float:
    (found,) = (m for m in finished.board.diagnostics if (m.recipe, m.measure) == (recipe, measure))
    assert found.value is not None
    return found.value


def naive_map(scores_NK: np.ndarray, labels_NK: np.ndarray) -> float:
    """For each positive the precision among all that score at least as high; their mean, then that of the classes."""
    precisions = []
    for scores, labels in zip(scores_NK.T, labels_NK.T, strict=True):
        if labels.any():
            precisions.append(np.mean([labels[scores >= score].mean() for score in scores[labels > 0]]))
    return float(np.mean(precisions))


def naive_flatness(pairs: Sequence[tuple[LocalizationMaps, Mask]], where: str) -> float:
    """Pixel by pixel, over the maps that are not 0 everywhere."""
    shares = []
    for maps, truth_HW in pairs:
        for map_HW, class_id in zip(upsample(maps), maps.class_ids, strict=True):
            value = class_id + 1 if where == "inside" else 0
            pixels = [map_HW[y, x] for y, x in zip(*np.nonzero(truth_HW == value), strict=True)]
            if pixels and map_HW.any():
                shares.append(np.mean(pixels, dtype=np.float64) / map_HW.max())
    return float(np.mean(shares))


def test_only_the_held_out_fit_leaves_the_fifth_out(finished: Finished) -> None:
    dataset = dataset_of(finished.run.plan.suite.dataset)
    left_out = set(held_out_ids(dataset))
    assert len(left_out) == 2
    assert {25: set(dataset.training_ids), 23: set(dataset.training_ids) - left_out} == SEEN


@pytest.mark.parametrize("recipe", ["cam", "coattention"])
def test_classifier_map_is_that_of_the_left_out_photos(finished: Finished, recipe: str) -> None:
    stage, artefact = opened(finished, "examine", recipe)
    dataset = dataset_of(finished.run.plan.suite.dataset)
    with np.load(artefact.path("scores.npz"), allow_pickle=False) as arrays:
        ids, scores_NK, labels_NK = (arrays[name] for name in ("ids", "scores_NK", "labels_NK"))
    assert tuple(ids) == held_out_ids(dataset)
    for photo_id, labels in zip(ids.tolist(), labels_NK, strict=True):
        assert tuple(np.flatnonzero(labels)) == dataset.photo(photo_id).labels
    assert len(np.unique(scores_NK)) == scores_NK.size
    assert value(finished, recipe, "classifier mAP") == pytest.approx(naive_map(scores_NK, labels_NK), abs=1e-12)
    (entry,) = artefact.record.ledger
    assert (entry["kind"], entry["purpose"], entry["split"]) == ("image_labels", "choose", "dev")
    assert entry["ids"] == ids.tolist()
    assert set(json.loads(artefact.path("measures.json").read_text())["per_class"]) == set(dataset.label_space.names)
    (fit,) = stage.inputs["weights"]
    assert finished.run.plan.graph[fit].runtime.held_out


@pytest.mark.parametrize("where", ["inside", "outside"])
@pytest.mark.parametrize("recipe", ["cam", "coattention"])
def test_flatness_is_that_of_the_stored_maps(finished: Finished, recipe: str, where: str) -> None:
    stage, artefact = opened(finished, "diagnose", recipe)
    dataset, store = dataset_of(finished.run.plan.suite.dataset), Store(finished.run.store_folder)
    maps_CHW: dict[str, np.ndarray] = {}
    for ref in stage.inputs["maps"]:
        maps_CHW |= load_file(store.open(ref).path("maps.safetensors"))
    how = "bilinear" if recipe == "cam" else "bicubic"
    records = [
        LocalizationMaps(photo_id, dataset.photo(photo_id).labels, maps_CHW[photo_id], (48, 48), how)
        for photo_id in dataset.splits["dev"]
    ]
    pairs = [(record, dataset.read_mask(record.photo_id)) for record in records]
    assert value(finished, recipe, f"flatness {where}, maps") == pytest.approx(naive_flatness(pairs, where), rel=1e-5)
    (entry,) = artefact.record.ledger
    assert (entry["kind"], entry["purpose"], entry["split"]) == ("mask", "score", "dev")
    assert tuple(entry["ids"]) == dataset.splits["dev"]


def test_every_kind_of_map_and_the_attention_are_measured(finished: Finished) -> None:
    names = {m.measure for m in finished.board.diagnostics if m.recipe == "coattention"}
    views = ("maps", "basic", "own", "mirrored pair", "mirror image", "scale 0.5", "references")
    assert names == {
        *(f"flatness {where}, {name}" for where in ("inside", "outside") for name in views),
        *("classifier mAP", "attention entropy (nats)", "uniform attention"),
    }
    # 64 pixels at stride 16 are 4 × 4 positions.
    assert value(finished, "coattention", "uniform attention") == pytest.approx(np.log(16))
    assert 0 < value(finished, "coattention", "attention entropy (nats)") <= np.log(16) + 1e-6


def test_recipes_with_one_localizer_are_measured_once_under_the_first_name(finished: Finished) -> None:
    assert {m.recipe for m in finished.board.diagnostics} == {"cam", "coattention"}
    assert set(finished.run.plan.suite.recipes) == {"cam", "cam+saliency", "coattention"}
    assert len(finished.run.plan.diagnostics) == 4


def test_the_folder_tells_diagnostics_and_training_losses(finished: Finished) -> None:
    table = pd.read_csv(finished.folder / "diagnostics.csv").set_index(["recipe", "measure"])
    assert len(table) == len(finished.board.diagnostics)
    assert table.loc["cam", "classifier mAP"]["value"].item() == value(finished, "cam", "classifier mAP")
    text = (finished.folder / "table.md").read_text()
    line = f"| cam | clean | frozen | classifier mAP | {value(finished, 'cam', 'classifier mAP'):.3f} | 1 |"
    assert text.index("## Diagnostics") < text.index(line)
    losses = pd.read_csv(finished.folder / "training.csv")
    assert list(losses) == ["recipe", "setting", "rng_seed", "step", "epoch", "term", "value"]
    assert set(losses["recipe"]) == {"cam", "coattention"} and set(losses["step"]) == {"localizer"}
    assert not losses.duplicated(["recipe", "setting", "rng_seed", "step", "epoch", "term"]).any()
    graph = finished.run.plan.graph.values()
    (fit,) = (s for s in graph if s.label == "coattention · clean · rng seed 0 · localizer fit")
    log = json.loads(Store(finished.run.store_folder).open(fit.ref).path("log.json").read_text())
    mine = losses[losses["recipe"] == "coattention"]
    assert set(mine["term"]) == {"basic", "common", "contrastive", "learning_rate"}
    for row in mine.to_dict("records"):
        assert row["value"] == pytest.approx(log[row["epoch"]][row["term"]], rel=1e-12)
    with Image.open(finished.folder / "training.png") as picture:
        assert picture.width > 1000


def test_diagnostics_change_no_row(suite_file: Path) -> None:
    plain, measured = plan_of(suite_file, "diagnostics=[]"), plan_of(suite_file)
    assert plain.rows == measured.rows
    assert plain.diagnostics == ()
    extra = {stage.kind.name for ref, stage in measured.graph.items() if ref not in plain.graph}
    assert extra == {"localizer_fit", "examine", "diagnose"}


def test_what_only_apply_reads_leaves_the_classifier_alone(suite_file: Path) -> None:
    one, other = (plan_of(suite_file, f"recipes.coattention.localizer.references={n}") for n in (1, 2))
    assert stage_of(one, "examine", "coattention").key == stage_of(other, "examine", "coattention").key
    assert stage_of(one, "diagnose", "coattention").key != stage_of(other, "diagnose", "coattention").key


def test_without_dev_or_classifier_there_is_nothing_to_measure(suite_file: Path, monkeypatch: Any) -> None:
    assert plan_of(suite_file, "dataset.dev=0").diagnostics == ()
    monkeypatch.setattr("settings.datasets.scenes.Scenes.has_mask", lambda self, photo_id: False)
    assert {ref.kind for ref in plan_of(suite_file).diagnostics} == {"examine"}


def test_at_most_128_photos_spread_over_dev_are_measured(suite_file: Path) -> None:
    stage = stage_of(plan_of(suite_file, "dataset.dev=256"), "diagnose", "cam")
    assert list(stage.runtime.ids) == [f"dev_{number:05d}" for number in range(0, 256, 2)]


def test_fine_tuned_fits_are_measured_on_features_of_their_own(suite_file: Path, tmp_path: Path) -> None:
    suite = load_suite(suite_file, ["training_mode=fine_tuned"])
    alone = suite.model_copy(update={"recipes": {"cam": suite.recipes["cam"]}})
    finished = run_and_gather(alone, tmp_path, "serial")
    assert finished.board.holes == 0
    stage, artefact = opened(finished, "examine", "cam")
    with np.load(artefact.path("scores.npz")) as arrays:
        assert value(finished, "cam", "classifier mAP") == pytest.approx(
            naive_map(arrays["scores_NK"], arrays["labels_NK"])
        )
    made_of = [finished.run.plan.graph[ref] for ref in stage.inputs["features"]]
    assert all(features.inputs["backbone"] == stage.inputs["weights"] for features in made_of)
    assert {photo_id for features in made_of for photo_id in features.runtime.ids} == set(stage.runtime.ids)


def test_a_localizer_may_have_no_scores(suite_file: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(Cam, "scores_NK", lambda *_: None)
    suite = load_suite(suite_file, ["diagnostics=[classifier]"])
    finished = run_and_gather(suite.model_copy(update={"recipes": {"cam": suite.recipes["cam"]}}), tmp_path, "serial")
    assert (finished.exit_code, finished.board.diagnostics) == (0, ())
    assert "Diagnostics" not in (finished.folder / "table.md").read_text()


def test_a_failed_measurement_is_a_hole_until_it_is_mended(
    finished: Finished, suite_file: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    def broken(*_: object) -> None:
        raise ArithmeticError("no scores today")

    suite: Suite = load_suite(suite_file)
    suite = suite.model_copy(update={"recipes": {"cam": suite.recipes["cam"]}, "diagnostics": ("classifier",)})
    with monkeypatch.context() as patch:
        patch.setattr(Cam, "scores_NK", broken)
        failed = run_and_gather(suite, tmp_path, "serial")
    (hole,) = failed.board.diagnostics
    assert hole == Measured("cam", "clean", "frozen", 0, "classifier", "", None, "ArithmeticError: no scores today")
    assert (failed.exit_code, failed.board.holes) == (1, 1)
    assert "| classifier | ✗ [1] | 1 |" in (failed.folder / "table.md").read_text()
    mended = run_and_gather(suite, tmp_path, "serial")
    assert (mended.exit_code, mended.run.stages_run) == (0, 1)
    assert mended.board.diagnostics == tuple(
        m for m in finished.board.diagnostics if (m.recipe, m.diagnostic) == ("cam", "classifier")
    )
    assert "✗" not in (mended.folder / "table.md").read_text()
    assert gather(mended.run).diagnostics == mended.board.diagnostics
