"""Maps and masks that left a finished run and come back as recipes of their own score what they scored there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.conversion.maps import import_maps
from harness.reports.leaderboard import Finished, run_and_gather
from harness.stages.planning import make_plan
from harness.store.store import Store
from harness.suites.suite import Recipe, load_suite
from methods.localization import read_maps
from results.rows import Row
from settings.errors import UserError
from settings.masks import read_mask, write_mask


def stages(finished: Finished, kind: str, recipe: str = "cam · clean") -> list[Any]:
    """The artefacts of one kind of stage."""
    graph, store = finished.run.plan.graph, Store(finished.run.store_folder)
    return [store.open(s.ref) for s in graph.values() if s.kind.name == kind and s.label.startswith(recipe)]


def scores(finished: Finished, recipe: str, stage: str) -> tuple[float, list[float]]:
    rows: dict[Any, Row] = {(row.recipe, row.stage, row.policy): row for row in finished.board.rows}
    row = rows[recipe, stage, "fixed"]
    return row.miou, list(row.per_class)


def run(tmp_path: Path, **recipes: dict[str, Any]) -> Finished:
    """The smoke suite with other recipes, which end in the segmenter of its `cam`."""
    smoke = load_suite("smoke")
    segmenter = smoke.recipes["cam"].segmenter
    mine = {name: Recipe.model_validate({**recipe, "segmenter": segmenter}) for name, recipe in recipes.items()}
    suite = smoke.model_copy(update={"recipes": mine, "references": (), "gallery": 0})
    return run_and_gather(suite, tmp_path / "store", "serial")


@pytest.fixture
def outside(smoke: Finished, tmp_path: Path) -> Path:
    """The smoke run's maps as `.npy` dictionaries and its pseudo labels as PNGs."""
    (tmp_path / "npy").mkdir()
    (tmp_path / "masks").mkdir()
    for artefact in stages(smoke, "localizer_apply"):
        for record in read_maps(artefact.path("maps.safetensors")):
            content: Any = {"keys": np.array(record.class_ids), "high_res": record.maps_CHW}
            np.save(tmp_path / "npy" / f"{record.photo_id}.npy", content)
    for artefact in stages(smoke, "label"):
        for path in artefact.folder.glob("*.png"):
            write_mask(tmp_path / "masks" / path.name, read_mask(path))
    return tmp_path


def test_maps_and_masks_from_elsewhere_score_what_their_makers_scored(smoke: Finished, outside: Path) -> None:
    import_maps(outside / "npy", outside / "maps")
    finished = run(
        outside,
        maps={
            "localizer": {"name": "folder", "root": outside / "maps", "supervision": "I+L"},
            "labeler": smoke.run.plan.suite.recipes["cam"].labeler,
        },
        masks={"labeler": {"name": "folder", "root": outside / "masks", "supervision": "I"}},
    )
    assert finished.board.holes == 0
    for stage in ("maps", "pseudo_labels", "segmentation"):
        assert scores(finished, "maps", stage) == scores(smoke, "cam", stage)
    for stage in ("pseudo_labels", "segmentation"):
        assert scores(finished, "masks", stage) == scores(smoke, "cam", stage)
    assert {(row.recipe, row.supervision) for row in finished.board.rows} == {("maps", "I+L"), ("masks", "I")}
    assert {row.tier for row in finished.board.rows} == {"scored"} and {row.tier for row in smoke.board.rows} == {
        "recomputed"
    }


def test_a_photo_without_a_file_ends_the_plan(outside: Path) -> None:
    missing = sorted((outside / "masks").iterdir())[3]
    missing.unlink()
    with pytest.raises(UserError, match=rf"{missing.name}: found no such file.*photo '{missing.stem}'"):
        run(outside, masks={"labeler": {"name": "folder", "root": outside / "masks", "supervision": "I"}})
    assert not (outside / "store").exists()


def test_the_same_files_at_another_place_are_the_same_stages(outside: Path) -> None:
    for place in ("masks", "moved"):
        (outside / "masks").rename(outside / place)
        finished = run(outside, masks={"labeler": {"name": "folder", "root": outside / place, "supervision": "I"}})
    assert finished.run.stages_run == 0


def test_predictions_from_elsewhere_score_what_their_maker_scored(smoke: Finished, tmp_path: Path) -> None:
    for artefact in stages(smoke, "segment"):
        for path in artefact.folder.glob("val_*.png"):
            write_mask(tmp_path / "predictions" / path.name, read_mask(path))
    mine = {"name": "folder", "root": tmp_path / "predictions", "supervision": "I"}
    suite = smoke.run.plan.suite.model_copy(
        update={"recipes": {"mine": Recipe.model_validate({"segmenter": mine})}, "references": (), "gallery": 0}
    )
    finished = run_and_gather(suite, tmp_path / "store", "serial")
    assert scores(finished, "mine", "segmentation") == scores(smoke, "cam", "segmentation")
    of_cam = next(row for row in smoke.board.rows if (row.recipe, row.stage) == ("cam", "segmentation"))
    (row,) = finished.board.rows
    assert row.evaluation_fingerprint == of_cam.evaluation_fingerprint


def planned(tmp_path: Path, recipe: str) -> list[str]:
    """The labels of the rows of one recipe, under two settings with two rng seeds."""
    changes = [f"recipes={{mine: {recipe}}}", "references=[]", "gallery=0"]
    changes += ["settings={clean: {}, shuffled: {}}", "rng_seeds=[0, 1]"]
    plan = make_plan(load_suite("smoke", changes))
    return [plan.graph[ref].label for ref in plan.rows]


def test_predictions_alone_are_one_measurement(tmp_path: Path) -> None:
    """No setting and no rng seed changes them: they must not look as if they had been made more than once."""
    for number in range(16):
        write_mask(tmp_path / f"val_{number:05d}.png", np.zeros((48, 48), np.uint8))
    folder = f"{{segmenter: {{name: folder, root: '{tmp_path}', supervision: I}}}}"
    assert planned(tmp_path, folder) == ["mine · clean · rng seed 0 · row segmentation fixed"]
    with pytest.raises(UserError, match=r"supervision: found .*what the files were made with"):
        planned(tmp_path, folder.replace(", supervision: I", ""))
    (tmp_path / "val_00003.png").unlink()
    with pytest.raises(UserError, match=r"val_00003\.png: found no such file"):
        planned(tmp_path, folder)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("{}", r"recipes\.mine: found nothing that makes pseudo labels; expected a labeler, or reveal"),
        ("{segmenter: none}", "recipes.mine: found nothing that makes pseudo labels"),
        ("{localizer: cam}", "expected a labeler, which makes pseudo labels of what localizer and cue give"),
        ("{labeler: all_background, reveal: all}", "a labeler, or true masks that are revealed, and not both"),
    ],
)
def test_a_recipe_that_makes_nothing_to_train_on_is_refused(tmp_path: Path, recipe: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        planned(tmp_path, recipe)
