"""Data that cannot mean what they seem to are refused at planning, from a few masks; all are read when in doubt."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from harness.reports.doubts import doubts
from harness.stages import plausible
from harness.stages.plausible import check_plausible
from harness.stages.rows import RowIdentity, RowPlace, _refuse_background_alone
from harness.store.layout import RowFiles
from harness.suites.suite import Recipe
from results.metrics.counts import Counts
from results.per_image import confusion_table, write_table
from settings.datasets.folder import Folder, FolderOptions
from settings.datasets.scenes import Scenes, ScenesOptions
from settings.errors import UserError
from settings.masks import write_mask

CLASSES = ("cat", "dog", "emu")


def folder(root: Path, values: tuple[int, ...] = (0, 1, 2, 3), count: int = 12, **options: object) -> Folder:
    """Photo i of train and of val shows class i % 3; `values` are those of background and classes in masks."""
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    (root / "classes.txt").write_text("\n".join(CLASSES))
    (root / "dev.txt").write_text("")
    labels = ["id,labels"]
    for split in ("train", "val"):
        ids = [f"{split}{i:03}" for i in range(count)]
        (root / f"{split}.txt").write_text("\n".join(ids))
        for i, photo_id in enumerate(ids):
            Image.new("RGB", (6, 4), (i, 0, 0)).save(root / "images" / f"{photo_id}.png")
            mask_HW = np.full((4, 6), values[0], np.uint8)
            mask_HW[1:3, 1:4] = values[1 + i % 3]
            write_mask(root / "masks" / f"{photo_id}.png", mask_HW)
            labels.append(f"{photo_id},{CLASSES[i % 3]}")
    (root / "labels.csv").write_text("\n".join(labels))
    return Folder(FolderOptions.model_validate({"root": root, **options}))


def check(dataset: Folder) -> None:
    check_plausible(dataset, [dataset.photo(photo_id) for photo_id in dataset.training_ids], ("train", "val", "val"))


def test_sound_data_are_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, read = folder(tmp_path / "mine"), []
    usual = Folder.read_mask
    monkeypatch.setattr(plausible, "SAMPLE", 3)
    monkeypatch.setattr(Folder, "read_mask", lambda self, photo_id: read.append(photo_id) or usual(self, photo_id))
    check(dataset)
    assert read == [f"{split}{i:03}" for split in ("train", "val") for i in (0, 4, 8)]


def test_masks_without_a_class(tmp_path: Path) -> None:
    line = r"mine/train: found no true mask with a pixel of any class .*25\.0% .*map: \"255:CLASS\"$"
    with pytest.raises(UserError, match=line):
        check(folder(tmp_path / "mine", (0, 255, 255, 255)))
    with pytest.raises(UserError, match=r"empty/train: found no true mask .*are these the right masks"):
        check(folder(tmp_path / "empty", (0, 0, 0, 0)))


def test_one_mask_with_a_class_is_found_beyond_the_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most photos of a set of defects show none."""
    dataset = folder(tmp_path / "mine", (0, 0, 0, 0))
    monkeypatch.setattr(plausible, "SAMPLE", 2)
    for split in ("train", "val"):
        write_mask(tmp_path / "mine" / "masks" / f"{split}011.png", np.full((4, 6), 3, np.uint8))
    for name in ("train", "val"):
        check_plausible(dataset, [], (name,))


def test_classes_in_another_order(tmp_path: Path) -> None:
    line = r"mine: found labels and masks that contradict .* in 12 of 12 photos.*map: \"1:3,2:1,3:2\".*data check"
    with pytest.raises(UserError, match=line):
        check(folder(tmp_path / "mine", (0, 2, 3, 1)))
    check(folder(tmp_path / "mended", (0, 2, 3, 1), map={2: 1, 3: 2, 1: 3}))


def test_labels_of_other_photos(tmp_path: Path) -> None:
    dataset = folder(tmp_path / "mine")
    table = tmp_path / "mine" / "labels.csv"
    turned = [f"train{i:03},{CLASSES[(i + 1 + i // 3 % 2) % 3]}" for i in range(12)]
    table.write_text("\n".join(["id,labels", *turned]))
    dataset = Folder(FolderOptions(root=tmp_path / "mine"))
    with pytest.raises(UserError, match=r"mine: found labels and masks of 12 of 12 photos without a class in common"):
        check(dataset)


def test_masks_that_cannot_be_read_are_left_to_their_stage(tmp_path: Path) -> None:
    dataset = folder(tmp_path / "mine", count=3)
    (tmp_path / "mine" / "masks" / "train001.png").write_bytes(b"no image")
    check(dataset)


def test_drawn_masks_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scenes, "read_mask", None)
    check_plausible(Scenes(ScenesOptions(classes=2, size=32, train=1, dev=0, val=1)), [], ("train", "val"))


def place(stage: str, recipe: str = "theirs") -> RowPlace:
    names = ("background", "cat", "dog")
    where = {
        "dataset": "mine",
        "split": "val",
        "recipe": recipe,
        "setting": "clean",
        "training_mode": "",
        "rng_seed": 0,
    }
    how = {"variant": "", "policy": "fixed", "classes": names, "supervision": "", "extra_in_stage_2": False}
    return RowPlace(**where, **how, stage=stage, protocol="voc/1")  # type: ignore[arg-type]


def test_a_row_of_background_alone_is_no_score() -> None:
    with pytest.raises(UserError, match=r"mine/val: found no true mask with a pixel of any class but background"):
        _refuse_background_alone(place("segmentation"), Counts(np.diag([9, 0, 0])))
    _refuse_background_alone(place("segmentation"), Counts(np.diag([9, 1, 0])))
    _refuse_background_alone(place("segmentation"), Counts.zero(3))


def test_masks_of_others_in_another_order_are_told_at_the_end(tmp_path: Path) -> None:
    confusion = Counts(np.array([[90, 0, 0], [0, 0, 30], [0, 20, 0]]))
    write_table(RowFiles(tmp_path).counts, confusion_table([("a", confusion)]))
    usual = {"localizer": {"name": "cam"}, "labeler": {"name": "threshold"}}
    recipes = {"ours": usual, "theirs": {"labeler": {"name": "folder", "options": {"root": "x"}}}}
    graph = {}
    for ref, at in enumerate((place("segmentation"), place("segmentation", "ours"))):
        graph[ref] = SimpleNamespace(identity=RowIdentity(row=at, threshold=None, steps=100, version=3))
    suite = SimpleNamespace(all_recipes=lambda: {name: Recipe.model_validate(one) for name, one in recipes.items()})
    recipes["theirs"]["segmenter"] = {"name": "folder"}
    run = SimpleNamespace(plan=SimpleNamespace(suite=suite, rows=tuple(graph), graph=graph))
    store = SimpleNamespace(open=lambda ref: SimpleNamespace(folder=tmp_path))
    assert doubts(store, run) == (
        "theirs, clean, segmentation: predicted values read as 1:2,2:1 would score mIoU 1.0000: "
        "classes in another order?",
    )
