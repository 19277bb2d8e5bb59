"""Another folder data set as extra photos: which of its photos, under which labels, and never a mask."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from settings.aliases import Aliases
from settings.discovery import SOURCES
from settings.errors import UserError
from settings.masks import write_mask
from settings.records import LabelSpace, Photo
from settings.sources.folder import FolderPhotos, FolderPhotosOptions

SPACE = LabelSpace(("aeroplane", "cat", "dog"))
ONE = {"a": "cat", "d": "plane;airplane", "g.1": "dog", "val": "cat"}
LABELS = ONE | {"b": "cat;car", "c": "cat;plane", "e": "car", "f": ""}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "scenes"  # a data set of ours has this name
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    for index, photo_id in enumerate(LABELS):
        Image.new("RGB", (5, 3), (index, 9, 9)).save(root / "images" / f"{photo_id}.png")
        write_mask(root / "masks" / f"{photo_id}.png", np.ones((3, 5), np.uint8))
    (root / "classes.txt").write_text("car\nairplane\nplane\ncat\ndog\n")
    (root / "train.txt").write_text("a\nb\nc\nd\ne\nf\n")
    (root / "dev.txt").write_text("g.1\n")
    (root / "val.txt").write_text("val\n")
    (root / "labels.csv").write_text("id,labels\n" + "".join(f"{i},{names}\n" for i, names in LABELS.items()))
    return root


def photos(root: Path, space: LabelSpace = SPACE, **options: object) -> tuple[Photo, ...]:
    source = FolderPhotos(FolderPhotosOptions.model_validate({"root": root, **options}))
    return source.photos("single_label", space, Aliases())


def test_photos_with_one_label_of_the_label_space(root: Path) -> None:
    assert SOURCES.load("folder") is FolderPhotos
    found = photos(root)
    assert [(photo.id, photo.labels, photo.place) for photo in found] == [
        ("single_label.aeroplane.d", (0,), "d"),
        ("single_label.cat.a", (1,), "a"),
        ("single_label.cat.b", (1,), "b"),
        ("single_label.dog.g.1", (2,), "g.1"),
    ]
    assert {photo.source for photo in found} == {"single_label"}
    assert found[3].image()[0, 0].tolist() == [2, 9, 9]
    cars = photos(root, LabelSpace(("car", "cat")))
    assert [photo.id for photo in cars] == ["single_label.car.e", "single_label.cat.a", "single_label.cat.c"]


def test_without_dev_list_all_of_train_is_used(root: Path) -> None:
    (root / "dev.txt").unlink()
    (root / "train.txt").write_text("a\nb\nd\ng.1\n")
    assert [photo.place for photo in photos(root)] == ["d", "a", "b", "g.1"]


def test_masks_are_not_looked_at(root: Path) -> None:
    before = photos(root)
    for path in (root / "masks").iterdir():
        path.write_bytes(b"no mask")
    assert photos(root) == before
    source = FolderPhotos(FolderPhotosOptions(root=root))
    assert set(vars(source)) == {"options"}
    read = [photo.load.args[0] for photo in before]  # type: ignore[attr-defined]
    assert read == [root / "images" / f"{photo.place}.png" for photo in before]
    for path in (root / "masks").iterdir():
        path.unlink()
    (root / "masks").rmdir()
    assert photos(root) == before


def test_what_cannot_be_used_is_refused(root: Path) -> None:
    with pytest.raises(
        UserError, match=r"found no photo with one label; expected photos of train or dev with one label among ox"
    ):
        photos(root, LabelSpace(("ox", "bee")))
    (root / "train.txt").write_text("a\n../a\n")
    with pytest.raises(UserError, match=r"train\.txt:2: found id '\.\./a'"):
        photos(root)
    with pytest.raises(UserError, match=r"nowhere: found no folder; expected a folder that holds classes\.txt"):
        photos(root / "nowhere")


def test_links_that_leave_the_folder(root: Path, tmp_path: Path) -> None:
    before = photos(root)
    (root / "images").rename(tmp_path / "outside")
    (root / "images").symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match=r"images: found a link to .*; copy it, or set follow_links=true"):
        photos(root)
    assert photos(root, follow_links=True) == before
