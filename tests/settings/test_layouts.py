"""Folders that are laid out otherwise are answered with the command, or the change, that makes a data set of them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from settings.datasets.folder import Folder, FolderOptions
from settings.datasets.voc12 import Voc12, Voc12Options
from settings.errors import UserError
from settings.layouts import label_source, mend_of_layout, other_folders


def made(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("VOCdevkit/VOC2012/JPEGImages/a.jpg",), r"VOC's layout: seedbed data check voc12 --set root=\S*/it$"),
        (
            ("annotations/captions.json", "annotations/instances.json"),
            r"import-labels \S*/instances\.json \S*labels\.csv",
        ),
        (("Annotations/a.xml",), r"import-labels \S*/it/Annotations \S*/it/labels\.csv writes it too"),
        (("labelmap.txt",), r"import-masks \S*/it \S*/it/masks writes it too"),
        (("cat/a.jpg", "dog/b.PNG"), "one a class, are extra photos"),
        (("images/a.jpg", "masks/a.png"), "in the order of their mask values"),
    ],
)
def test_a_folder_without_classes(names: tuple[str, ...], words: str, tmp_path: Path) -> None:
    root = made(tmp_path / "it", *names)
    with pytest.raises(
        UserError, match=rf"classes\.txt: found no such file; expected class names, one a line; .*{words}"
    ):
        Folder(FolderOptions(root=root))


def test_voc_is_found_from_within(tmp_path: Path) -> None:
    inner = made(tmp_path, "VOCdevkit/VOC2012/JPEGImages/a.jpg") / "VOCdevkit" / "VOC2012"
    for root in (inner, inner.parent):
        assert mend_of_layout(root).endswith(f"root={tmp_path}")
        with pytest.raises(UserError, match=rf"expected the folder that holds VOCdevkit/VOC2012; root={tmp_path}$"):
            Voc12(Voc12Options(root=root))


def test_labels_are_looked_for_where_programs_keep_them(tmp_path: Path) -> None:
    assert label_source(tmp_path) is None
    made(tmp_path, "notes.json", "train_cls.txt")
    assert label_source(tmp_path) == tmp_path / "notes.json"
    made(tmp_path, "voc_cls_labels.npy")
    assert label_source(tmp_path) == tmp_path / "voc_cls_labels.npy"


def lists(root: Path) -> Path:
    (root / "classes.txt").write_text("cat\n")
    (root / "labels.csv").write_text("id,labels\na,cat\nb,cat\n")
    for name, photo_id in {"train": "a", "val": "b"}.items():
        (root / f"{name}.txt").write_text(f"{photo_id}\n")
    return root


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda root: (root / "train.txt").rename(root / "training.txt"), r"train\.txt: .*copy training\.txt there"),
        (
            lambda root: (root / "val.txt").unlink(),
            r"val\.txt: found no such file; .*list the photos of images/ by name",
        ),
        (
            lambda root: made(root, "JPEGImages/a.jpg"),
            "images: found no such folder; .*is it 'JPEGImages', with 1 picture",
        ),
        (
            lambda root: made(root, "masks/a.png", "photos/a.png"),
            "images: found no such folder; .*is it 'photos', with 1 picture",
        ),
        (lambda root: made(root, "masks/a.png"), "images: found no such folder; expected the photos, named by id$"),
        (lambda root: None, "images: found no such folder; expected the photos, named by id$"),
    ],
)
def test_lists_and_photos_under_other_names(spoil: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    spoil(lists(tmp_path))
    with pytest.raises(UserError, match=words):
        Folder(FolderOptions(root=tmp_path))


def test_folders_of_pictures_of_these_photos(tmp_path: Path) -> None:
    made(tmp_path, "images/a.jpg", "Labels/a.PNG", "other/x.png", "text/a.txt", ".cache/a.png")
    assert other_folders(tmp_path, ("images",), ["a"]) == ("Labels",)
