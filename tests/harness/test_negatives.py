"""Photos that show no class, from a folder to the table: trained on, labelled all background, scored."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.reports.leaderboard import Finished, run_and_gather
from harness.stages.planning import make_plan
from harness.store.store import Artefact, Store
from harness.suites.suite import Suite, load_suite
from settings.errors import UserError
from settings.masks import read_mask, write_mask
from tests.harness.conftest import undrawn

COUNTS = {"train": 20, "dev": 2, "val": 2}


def write_folder(root: Path, negatives: bool = True, classes: tuple[str, ...] = ("crack",)) -> Path:
    """Walls with a blue window each; every second one has a red crack, or all of them where there are no negatives."""
    rng, rows = np.random.default_rng(0), ["id,labels"]
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    (root / "classes.txt").write_text("\n".join(classes))
    for split, count in COUNTS.items():
        ids = [f"{split}{i:02}" for i in range(count)]
        (root / f"{split}.txt").write_text("\n".join(ids))
        for i, photo_id in enumerate(ids):
            image_HWC = rng.integers(120, 140, (64, 64, 3)).astype(np.uint8)
            mask_HW = np.zeros((64, 64), np.uint8)
            image_HWC[16:40, 40:60] = (30, 30, 220)
            top, left = rng.integers(0, 36, 2) // (1, 3)
            labels = []
            if i % 2 or not negatives:
                image_HWC[top : top + 24, left : left + 24] = (220, 30, 30)
                mask_HW[top : top + 24, left : left + 24] = 1
                labels = ["crack"]
            Image.fromarray(image_HWC).save(root / "images" / f"{photo_id}.png")
            write_mask(root / "masks" / f"{photo_id}.png", mask_HW)
            rows.append(f"{photo_id},{';'.join(labels)}")
    (root / "labels.csv").write_text("\n".join(rows))
    return root


def suite(root: Path, *overrides: str) -> Suite:
    """The smoke suite on these photos, with CAM alone."""
    cam = "{name: cam, hidden: 0, training: {epochs: 60, batch: 8, learning_rate: 0.2}}"
    recipes = f"{{cam: {{localizer: {cam}, labeler: {{name: threshold, threshold: 0.6}}}}}}"
    dataset = f"{{name: folder, root: {root}}}"
    given = (f"dataset={dataset}", f"recipes={recipes}", "references=[]", "gallery=2", "backbone.output_stride=8")
    return load_suite("smoke", (*given, *overrides))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("negatives")
    with undrawn():
        return run_and_gather(suite(write_folder(folder / "walls")), folder / "store", "serial")


def artefacts(finished: Finished, kind: str) -> list[Artefact]:
    graph, store = finished.run.plan.graph, Store(finished.run.store_folder)
    return [store.open(ref) for ref in graph if ref.kind == kind]


def test_the_class_is_found_and_segmentation_is_trained_on_all_photos(finished: Finished) -> None:
    assert finished.board.holes == 0
    ious = {(row.recipe, row.stage, row.policy): row.per_class for row in finished.board.rows}
    # Every photo has a window, as large as a crack: maps of both would have an IoU of at most ½.
    assert ious["cam", "maps", "oracle"][1] > 0.5
    (weak_set,) = artefacts(finished, "weak_set")
    photos = json.loads(weak_set.path("photos.json").read_text(encoding="utf-8"))["photos"]
    assert [(photo["id"], photo["labels"]) for photo in photos] == [
        (f"{split}{i:02}", [0] * (i % 2)) for split in ("dev", "train") for i in range(COUNTS[split])
    ]
    fits = [stage for stage in finished.run.plan.graph.values() if stage.kind.name.endswith("_fit")]
    assert [stage.photos for stage in fits] == [22, 22]


def test_pseudo_labels_of_negatives_are_all_background(finished: Finished) -> None:
    (labels,) = artefacts(finished, "label")
    shown = {path.stem: set(np.unique(read_mask(path)).tolist()) for path in labels.folder.glob("*.png")}
    assert len(shown) == 22
    for photo_id, values in shown.items():
        assert values == ({0, 1} if int(photo_id[-2:]) % 2 else {0}), photo_id


def test_the_sheet_by_score_shows_photos_with_a_class(finished: Finished) -> None:
    sheets = [stage for stage in finished.run.plan.graph.values() if stage.kind.name == "gallery"]
    (by_score,) = [stage for stage in sheets if "scores" in stage.inputs]
    assert by_score.runtime.ids == tuple(f"train{i:02}" for i in range(1, COUNTS["train"], 2))


def test_an_only_class_without_negatives_is_refused_before_the_run(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "walls", negatives=False)
    line = (
        r"^walls, setting clean: found 'crack' as label of all 22 photos to train on: no classifier can learn what it "
        r"is not; expected photos with and without a class; add photos without it[^\n]*$"
    )
    with pytest.raises(UserError, match=line):
        make_plan(suite(root))
    # What trains no classifier has nothing to miss.
    make_plan(suite(root, "recipes={}", "references=[all-background, centre-prior, untrained-cam, full-supervision]"))


def test_one_of_several_classes_without_negatives_is_told_once_a_setting(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "walls", negatives=False, classes=("crack", "damp"))
    table = root / "labels.csv"
    table.write_text(table.read_text().replace("train03,crack", "train03,crack;damp"))
    plan = make_plan(suite(root, "settings={clean: {}, shuffled: {}}", "rng_seeds=[0, 1]"))
    told = [note for note in plan.notes if "no classifier can learn" in note]
    assert [note.split(";")[0] for note in told] == [
        f"setting {name}: 'crack' as label of all 22 photos to train on: no classifier can learn what it is not"
        for name in ("clean", "shuffled")
    ]
