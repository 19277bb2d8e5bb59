"""A data set whose photos lie in subfolders and have blanks in their names, through a whole run and back again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import results
from harness.commands.score import open_named
from harness.reports.folder import write_leaderboard
from harness.reports.leaderboard import Finished, run_and_gather
from harness.stages.planning import make_plan
from harness.store.layout import RowFiles
from harness.store.store import Store
from harness.suites.suite import Recipe, Suite, load_suite
from results.per_image import image_ids, read_table
from results.scoring import score_split
from settings.errors import UserError
from settings.masks import read_mask, write_mask
from settings.saliency import write_saliency
from tests.harness.conftest import undrawn

IDS = [f"city_{city}/img {number:02d} ({city})" for city in "ab" for number in range(6)]
TRAIN, VAL = IDS[:4] + IDS[6:10], IDS[4:6] + IDS[10:]
SIZE = (12, 16)


def true_mask(photo_id: str) -> np.ndarray:
    mask_HW = np.zeros(SIZE, np.uint8)
    mask_HW[2:9, 3:12] = 1 + IDS.index(photo_id) % 2
    return mask_HW


def predicted(photo_id: str) -> np.ndarray:
    """The true mask, less its upper rows."""
    mask_HW = true_mask(photo_id)
    mask_HW[: 3 + IDS.index(photo_id) % 3] = 0
    return mask_HW


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set, and what other programs made of it: maps, saliency, pseudo labels of train, predictions of val."""
    root = tmp_path_factory.mktemp("place")
    rows = ["id,labels"]
    for photo_id in IDS:
        for folder in ("set/images", "set/masks", "maps", "saliency", "labels", "predictions"):
            (root / folder / photo_id).parent.mkdir(parents=True, exist_ok=True)
        mask_HW = true_mask(photo_id)
        image = np.full((*SIZE, 3), 40, np.uint8)
        image[mask_HW > 0] = (200, 90, 20 * IDS.index(photo_id))
        Image.fromarray(image).save(root / "set" / "images" / f"{photo_id}.jpg")
        write_mask(root / "set" / "masks" / f"{photo_id}.png", mask_HW)
        rows.append(f"{photo_id},{['cat', 'dog'][mask_HW.max() - 1]}")
        if photo_id in TRAIN:
            maps_CHW = (mask_HW > 0).astype(np.float32)[None]
            np.savez(root / "maps" / f"{photo_id}.npz", keys=np.array([mask_HW.max() - 1], int), maps=maps_CHW)
            write_saliency(root / "saliency" / f"{photo_id}.png", 255 * (mask_HW > 0).astype(np.uint8))
            write_mask(root / "labels" / f"{photo_id}.png", mask_HW)
        else:
            write_mask(root / "predictions" / f"{photo_id}.png", predicted(photo_id))
    texts = {"classes": "cat\ndog\n", "train": "\n".join(TRAIN), "val": "\n".join(VAL)}
    for name, text in texts.items():
        (root / "set" / f"{name}.txt").write_text(text)
    (root / "set" / "labels.csv").write_text("\n".join(rows))
    return root


def suite_of(place: Path, **recipes: dict[str, Any]) -> Suite:
    smoke = load_suite("smoke", [f"dataset={{name: folder, root: {place}/set, follow_links: true}}", "segmenter=null"])
    parsed = {name: Recipe.model_validate(recipe) for name, recipe in recipes.items()}
    return smoke.model_copy(update={"recipes": parsed, "references": (), "gallery": 0, "rng_seeds": (0, 1)})


def recipes_of(place: Path) -> dict[str, dict[str, Any]]:
    def folder(name: str, supervision: str = "I") -> dict[str, Any]:
        return {"name": "folder", "root": place / name, "supervision": supervision}

    return {
        "maps": {"localizer": folder("maps"), "labeler": {"name": "threshold", "threshold": 0.5}},
        "saliency": {"localizer": folder("maps"), "cue": folder("saliency", "S"), "labeler": "saliency"},
        "labels": {"labeler": folder("labels"), "segmenter": folder("predictions")},
        "predictions": {"segmenter": folder("predictions"), "declared_on": {"dev": 2}},
    }


@pytest.fixture(scope="module")
def finished(place: Path) -> Finished:
    with undrawn():
        return run_and_gather(suite_of(place, **recipes_of(place)), place / "store", "serial")


def test_every_kind_of_folder_is_read_by_such_ids(finished: Finished) -> None:
    assert finished.board.holes == 0
    fixed = [row for row in finished.board.rows if row.policy == "fixed"]
    assert {(row.recipe, row.stage): row.miou for row in fixed if row.stage != "segmentation"} == {
        (recipe, stage): 1.0
        for recipe, stages in {"maps": 2, "saliency": 1, "labels": 1}.items()
        for stage in ("pseudo_labels", "maps")[:stages]
    }


def test_predictions_of_val_are_one_row_of_the_table(finished: Finished) -> None:
    """With the score of naive counting, once for all rng seeds, and with the masks that the suite declares."""
    inside = {value: [0, 0] for value in range(3)}
    for photo_id in VAL:
        truth_HW, mask_HW = true_mask(photo_id), predicted(photo_id)
        for value, (shared, either) in inside.items():
            both, any_ = (truth_HW == value) & (mask_HW == value), (truth_HW == value) | (mask_HW == value)
            inside[value] = [shared + int(both.sum()), either + int(any_.sum())]
    expected = np.mean([shared / either for shared, either in inside.values()])
    rows = [row for row in finished.board.rows if row.recipe == "predictions"]
    (row,) = rows
    assert row.miou == pytest.approx(expected, abs=1e-12)
    assert (row.stage, row.split, row.supervision, row.training_mode) == ("segmentation", "val", "I", "")
    assert (row.photos, row.masks_chosen, row.masks_trained, row.rng_seed) == (4, 2, 0, 0)
    beside = [row.miou for row in finished.board.rows if (row.recipe, row.stage) == ("labels", "segmentation")]
    assert beside == [row.miou, row.miou]


def test_scoring_the_folder_gives_the_row(finished: Finished, place: Path) -> None:
    (row,) = (row for row in finished.board.rows if row.recipe == "predictions")
    (place / "mine.yaml").write_text(f"include: smoke\ndataset: {{name: folder, root: {place}/set}}\n")
    for name in (f"{place}/set", f"{place}/mine.yaml"):
        score = score_split(place / "predictions", open_named(name))
        assert (score.miou, score.fingerprint) == (row.miou, row.evaluation_fingerprint)
        assert (score.photos, score.class_names, score.extra) == (4, ("background", "cat", "dog"), ())
    train = score_split(place / "labels", open_named(f"{place}/set"), "train")
    (labels, _) = (row for row in finished.board.rows if (row.recipe, row.stage) == ("labels", "pseudo_labels"))
    assert (train.miou, train.fingerprint) == (labels.miou, labels.evaluation_fingerprint)
    with pytest.raises(UserError, match=r"predictions/city_.*: found no prediction.*; is it the split that was predi"):
        score_split(place / "predictions", open_named(f"{place}/set"), "train")
    with pytest.raises(UserError, match=r"--split: found unknown split 'test'; expected one of dev, train, val"):
        score_split(place / "predictions", open_named(f"{place}/set"), "test")


def test_counts_name_the_photos(finished: Finished, place: Path) -> None:
    store = Store(finished.run.store_folder)
    photos = {ref: image_ids(read_table(RowFiles(store.open(ref).folder).counts)) for ref in finished.run.plan.rows}
    assert set().union(*photos.values()) == {*VAL, *open_named(f"{place}/set").splits["train"]}
    assert set(results.load(place / "store")["recipe"]) == {"maps", "saliency", "labels", "predictions"}


def test_masks_that_nothing_scores_lie_in_subfolders(place: Path, tmp_path: Path) -> None:
    """Without true masks a run gives away its pseudo labels and predictions, as the photos lie."""
    (tmp_path / "set").mkdir()
    for name in ("images", "classes.txt", "train.txt", "val.txt", "labels.csv"):
        (tmp_path / "set" / name).symlink_to(place / "set" / name)
    recipe = {"labels": recipes_of(place)["labels"]}
    finished = run_and_gather(suite_of(tmp_path, **recipe), tmp_path / "store", "serial")
    write_leaderboard(finished.run, finished.board, tmp_path / "board")
    for photo_id in VAL:
        mask_HW = read_mask(tmp_path / "board" / "predictions-labels-clean-0" / f"{photo_id}.png")
        assert np.array_equal(mask_HW, predicted(photo_id))
    assert len(list((tmp_path / "board").glob("pseudo_labels-labels-clean-0/*/*.png"))) == len(TRAIN)


def test_a_prediction_that_is_not_there_ends_the_plan(place: Path) -> None:
    recipe = {"segmenter": {"name": "folder", "root": place / "labels", "supervision": "I"}}
    with pytest.raises(
        UserError, match=r"labels/city_a/img 04 \(a\)\.png: found no such file; expected the mask of photo"
    ):
        make_plan(suite_of(place, mine=recipe))
