"""Maps and masks that left a finished run and come back as recipes of their own score what they scored there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.conversion.maps import import_maps
from harness.reports.leaderboard import Finished, run_and_gather
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
