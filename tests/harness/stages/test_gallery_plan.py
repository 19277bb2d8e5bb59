"""Which photos a run draws, and that the best, median and worst are those of independent code."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.drawing import sheet
from harness.drawing.sheet import Column, Row
from harness.reports.leaderboard import Finished, run_and_gather
from harness.stages.gallery import spread
from harness.stages.graph import Stage
from harness.stages.planning import make_plan
from harness.store.store import Store
from harness.suites.data import dataset_of
from harness.suites.suite import load_suite
from settings.datasets.scenes import Scenes
from settings.records import LabelSpace


def galleries(*overrides: str) -> list[Stage]:
    plan = make_plan(load_suite("smoke", ["references=[]", *overrides]))
    return [plan.graph[ref] for ref in plan.pictures if plan.graph[ref].label.startswith("cam ·")]


def naive_miou(prediction: np.ndarray, truth: np.ndarray) -> float:
    values = sorted({*np.unique(prediction).tolist(), *np.unique(truth).tolist()})
    ious = [((prediction == v) & (truth == v)).sum() / ((prediction == v) | (truth == v)).sum() for v in values]
    return float(np.mean(ious))


def test_the_sheet_by_score_shows_the_best_the_median_and_the_worst(smoke: Finished) -> None:
    """The scores come from the pseudo labels' own PNGs; scenes have no unknown pixel."""
    store, dataset = Store(smoke.run.store_folder), dataset_of(smoke.run.plan.suite.dataset)
    stages = [smoke.run.plan.graph[ref] for ref in smoke.run.plan.pictures]
    (stage,) = (s for s in stages if s.label == "cam · clean · gallery by score")
    scores = {}
    for photo_id in dataset.splits["train"]:
        (path,) = (
            p for ref in stage.inputs["pseudo_labels"] if (p := store.open(ref).path(f"{photo_id}.png")).exists()
        )
        scores[photo_id] = naive_miou(np.asarray(Image.open(path)), dataset.read_mask(photo_id))
    ranked = sorted(scores, key=lambda photo_id: (-scores[photo_id], photo_id))
    (entry,) = store.record(stage.ref).ledger
    assert (entry["purpose"], entry["split"]) == ("show", "train")
    assert len(ranked) == 24
    assert set(entry["ids"]) == {ranked[0], ranked[1], ranked[11], ranked[23]}


def test_a_run_leaves_the_sheets_of_each_recipe_in_its_folder(smoke: Finished) -> None:
    names = {path.name for path in smoke.folder.glob("gallery-*.png")}
    assert {"gallery-cam-clean.png", "gallery-cam-clean-by-score.png", "gallery-cam-clean-val.png"} <= names
    assert not list(smoke.folder.glob("photos-*.png"))


def test_photos_are_spread_evenly() -> None:
    assert spread(list("abcdefghij"), 4) == list("acfh")
    assert spread(list("abc"), 10) == list("abc")
    assert spread([], 3) == spread(list("abc"), 0) == []


def test_all_recipes_and_settings_are_drawn_on_the_same_photos() -> None:
    spread_out, by_score, of_val = galleries("gallery=4")
    assert list(spread_out.runtime.ids) == ["train_00000", "train_00006", "train_00012", "train_00018"]
    assert len(by_score.runtime.ids) == 24 and by_score.photos == 4
    assert "scores" in by_score.inputs
    assert by_score.inputs["masks"] == spread_out.inputs["masks"]  # one segmentation serves both
    assert list(of_val.runtime.ids) == ["val_00000", "val_00004", "val_00008", "val_00012"]
    assert of_val.runtime.split == "val" and of_val.runtime.title == "cam · clean · photos spread over val"


PREDICTED = {"maps", "pseudo_labels", "masks"}


@pytest.mark.parametrize(
    ("overrides", "columns"),
    [
        (
            ["policies={fixed: segmentation}"],
            [{"maps", "pseudo_labels", "masks"}, {"maps", "pseudo_labels", "masks", "scores"}, {"masks"}],
        ),
        (["policies={fixed: pseudo_labels}"], [{"maps", "pseudo_labels"}, {"maps", "pseudo_labels", "scores"}]),
        (["policies={fixed: maps}"], [{"maps", "pseudo_labels"}]),
        (["gallery=0"], []),
    ],
)
def test_nothing_is_trained_for_the_sake_of_a_picture(overrides: list[str], columns: list[set[str]]) -> None:
    assert [set(stage.inputs) for stage in galleries(*overrides)] == columns


def test_pictures_are_of_the_first_rng_seed_and_of_the_split_that_is_reported() -> None:
    assert len(galleries("rng_seeds=[3, 4]")) == 3
    drawn = galleries("report=dev")
    assert [stage.runtime.split for stage in drawn] == ["dev", "dev"]
    assert all(photo_id.startswith("dev_") for stage in drawn for photo_id in stage.runtime.ids)


def test_others_photos_are_drawn_as_outlines_and_for_the_users_eyes(
    smoke: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage again, on scenes that are somebody else's."""
    store = tmp_path / "store"
    shutil.copytree(smoke.run.store_folder, store)
    shutil.rmtree(store / "gallery")
    monkeypatch.setattr(Scenes, "photos_are_ours", False)
    suite = load_suite("smoke")
    alone = suite.model_copy(update={"recipes": {"cam": suite.recipes["cam"]}, "references": ()})
    again = run_and_gather(alone, store, "serial", folder=tmp_path / "board")
    ours, outlines = (tmp_path / "board" / f"{name}-cam-clean-by-score.png" for name in ("photos", "gallery"))
    assert again.board.holes == 0
    assert ours.read_bytes() == (smoke.folder / "gallery-cam-clean-by-score.png").read_bytes()
    assert outlines.read_bytes() != ours.read_bytes()


def test_photos_without_masks_are_drawn_without_a_column_of_truth(
    smoke: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network is that of the store with masks; what is drawn is counted where the sheets are made."""
    store = tmp_path / "store"
    shutil.copytree(smoke.run.store_folder, store)
    monkeypatch.setattr(Scenes, "has_mask", lambda self, photo_id: False)
    heads: dict[str, list[str]] = {}
    Image.new("RGB", (4, 4)).save(tmp_path / "sheet.png")
    picture = (tmp_path / "sheet.png").read_bytes()

    def to_png(rows: list[Row], columns: list[Column], space: LabelSpace, title: str) -> bytes:
        heads[title] = [str(len(rows)), *(column.head for column in columns)]
        return picture

    monkeypatch.setattr(sheet, "to_png", to_png)
    suite = load_suite("smoke", ["gallery=3", "diagnostics=[]"])
    alone = suite.model_copy(update={"recipes": {"cam": suite.recipes["cam"]}, "references": ()})
    finished = run_and_gather(alone, store, "serial", folder=tmp_path / "board")
    assert finished.exit_code == 0 and not finished.board.rows
    assert heads == {
        "cam · clean · photos spread over train": ["3", "localization maps", "pseudo label", "prediction"],
        "cam · clean · photos spread over val": ["3", "prediction"],
    }
    names = {path.name for path in (tmp_path / "board").glob("gallery-*.png")}
    assert names == {"gallery-cam-clean.png", "gallery-cam-clean-val.png"}
