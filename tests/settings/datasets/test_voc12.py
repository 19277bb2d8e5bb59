"""VOC 2012 in its own layout, on a tiny folder: splits, labels, masks, and every mistake refused by name."""

import pickle
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from settings.clean import Clean
from settings.datasets.voc12 import CLASSES, COUNTS, Voc12, Voc12Options, read_ids
from settings.discovery import DATASETS
from settings.errors import UserError
from settings.masks import write_mask
from settings.options import Options
from settings.setting import Target


def test_is_registered_under_its_file_name() -> None:
    assert DATASETS.load("voc12") is Voc12
    assert len(CLASSES) == 20
    assert (CLASSES[0], CLASSES[7], CLASSES[14], CLASSES[19]) == ("aeroplane", "cat", "person", "tvmonitor")


def test_dev_is_trainaug_without_train(voc: Any) -> None:
    dataset = voc.open()
    assert dataset.splits == {
        "train": ("2007_a", "2007_b"),
        "val": ("2008_v", "2008_w"),
        "dev": ("2009_c", "2009_d"),
    }
    assert dataset.training_ids == ("2007_a", "2007_b", "2009_c", "2009_d")
    assert dataset.name == "tiny"
    assert dataset.label_space.names == CLASSES


def test_photos_have_the_labels_of_their_annotation(voc: Any) -> None:
    dataset = voc.open()
    for photo_id, names in voc.classes.items():
        photo = dataset.photo(photo_id)
        assert photo.labels == tuple(sorted(CLASSES.index(name) for name in names))
        assert photo.content == sha256(voc.photo_path(photo_id).read_bytes()).hexdigest()
        assert photo.image().shape == (*voc.true_mask(photo_id).shape, 3)
        assert pickle.loads(pickle.dumps(photo)) == photo


def test_masks_are_read_from_the_folder_of_their_split(voc: Any) -> None:
    dataset = voc.open()
    for photo_id in voc.classes:
        assert np.array_equal(dataset.read_mask(photo_id), voc.true_mask(photo_id))
        assert dataset.mask_content(photo_id) == sha256(voc.mask_path(photo_id).read_bytes()).hexdigest()
    other = voc.voc / "SegmentationClass" / "2009_c.png"
    write_mask(other, np.zeros_like(voc.true_mask("2009_c")))
    assert dataset.read_mask("2009_c").any(), "dev's masks are SBD's, whatever else there is"


def test_fewer_classes(voc: Any) -> None:
    """In the order that is asked; other classes' pixels become 255, photos without a label are left out."""
    dataset = voc.open("person", "cat")
    assert dataset.splits == {"train": ("2007_a",), "val": ("2008_v", "2008_w"), "dev": ("2009_c",)}
    assert dataset.left_out == {"train": ("2007_b",), "val": (), "dev": ("2009_d",)}
    assert dataset.label_space.names == ("person", "cat")
    assert [dataset.photo(p).labels for p in ("2007_a", "2008_v", "2008_w", "2009_c")] == [(1,), (1,), (0,), (0, 1)]
    wanted = {0: 0, 8: 2, 15: 1}
    for photo_id in ("2007_a", "2008_v", "2009_c"):
        expected = [[wanted.get(int(value), 255) for value in row] for row in voc.true_mask(photo_id)]
        assert dataset.read_mask(photo_id).tolist() == expected


def test_photos_of_other_classes_alone_may_stay_as_negatives(voc: Any) -> None:
    dataset = Voc12(Voc12Options(root=voc.root, subset="tiny", classes=("person", "cat"), negatives=True))
    assert dataset.splits == voc.open().splits and not any(dataset.left_out.values())
    assert [dataset.photo(photo_id).labels for photo_id in ("2007_a", "2007_b", "2009_d")] == [(1,), (), ()]
    assert set(np.unique(dataset.read_mask("2007_b"))) <= {0, 255}
    assert dataset.identity() == voc.open("person", "cat").identity(), "ids and labels tell them apart in keys"


def test_a_map_of_mask_values(voc: Any) -> None:
    dataset = Voc12(Voc12Options(root=voc.root, subset="tiny", map={255: 0}))
    assert np.array_equal(
        dataset.read_mask("2007_a"), np.where(voc.true_mask("2007_a") == 255, 0, voc.true_mask("2007_a"))
    )
    assert dataset.identity() == {**voc.open().identity(), "map": "255:0"}


def test_identity_names_the_classes_in_order_and_no_path(voc: Any) -> None:
    one, two = voc.open("cat", "dog"), voc.open("dog", "cat")
    assert one.identity() == {"layout": "voc12", "name": "tiny", "version": 1, "classes": ("cat", "dog")}
    assert one.identity() != two.identity()
    assert str(voc.root) not in str(one.identity())


def test_data_sets_can_be_sent_to_other_processes(voc: Any) -> None:
    dataset = voc.open("cat", "person")
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.splits == dataset.splits
    assert [copy.photo(p) for p in copy.training_ids] == [dataset.photo(p) for p in dataset.training_ids]
    assert np.array_equal(copy.read_mask("2009_c"), dataset.read_mask("2009_c"))


def test_a_part_of_voc_must_bear_a_name(voc: Any) -> None:
    with pytest.raises(UserError, match=r"ImageSets: found \{.*'train': 2.*name a subset with dataset\.subset"):
        voc.open(subset="")


def test_the_whole_of_voc_needs_no_name(voc: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("settings.datasets.voc12.COUNTS", {"train": 2, "val": 2, "trainaug": 4})
    assert voc.open(subset="").name == "voc12"
    assert COUNTS == {"train": 1464, "val": 1449, "trainaug": 10582}


def test_the_folder_may_come_from_the_configuration(voc: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDBED_CONFIG", str(tmp_path / "c.yaml"))
    (tmp_path / "c.yaml").write_text(f"data: {{voc12: {voc.root}}}\n")
    assert Voc12(Voc12Options(subset="tiny")).splits["train"] == ("2007_a", "2007_b")
    (tmp_path / "c.yaml").write_text("data: {voc12: /nowhere}\n")
    with pytest.raises(UserError, match=r"dataset\.root: found no folder '/nowhere/VOCdevkit/VOC2012'"):
        Voc12(Voc12Options(subset="tiny"))


@pytest.mark.parametrize("ending", ["\r\n", "\n\n\n", "  \n", "\n"])
def test_lists_may_have_other_line_ends(voc: Any, ending: str) -> None:
    path = voc.list_path("train")
    path.write_bytes(f"2007_b{ending}2007_a{ending}{ending}".encode())
    assert read_ids(path) == ("2007_b", "2007_a")
    assert voc.open().splits["train"] == ("2007_a", "2007_b")


@pytest.mark.parametrize("odd", ["../2007_a", "/etc/passwd", "2007\0a", "a /b", "a//b", "..", ".a", "-a", "a\\b"])
def test_odd_ids_are_refused_with_their_line(voc: Any, odd: str) -> None:
    voc.list_path("val").write_text(f"2008_v\n{odd}\n")
    with pytest.raises(UserError, match=rf"val\.txt:2: found id {re.escape(repr(odd))}; expected letters, digits"):
        voc.open()


def test_an_id_twice_is_refused_with_both_lines(voc: Any) -> None:
    voc.list_path("val").write_text("2008_v\n\n2008_w\n2008_v\n")
    with pytest.raises(UserError, match=r"val\.txt:4: found id '2008_v' again; expected each id once \(line 1\)"):
        voc.open()


def test_a_list_that_is_not_there_or_no_text(voc: Any) -> None:
    voc.list_path("val").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"val\.txt: found an unreadable list"):
        voc.open()
    voc.list_path("val").unlink()
    with pytest.raises(UserError, match=r"val\.txt: found an unreadable list"):
        voc.open()


def test_voc_without_what_sbd_adds(voc: Any) -> None:
    for path in (voc.voc / "SegmentationClassAug").iterdir():
        path.unlink()
    (voc.voc / "SegmentationClassAug").rmdir()
    with pytest.raises(
        UserError, match=r"SegmentationClassAug: found no such folder.*from SBD: `seedbed data fetch voc12`"
    ):
        voc.open()
    voc.list_path("trainaug").rename(voc.list_path("train_aug"))
    with pytest.raises(
        UserError, match=r"trainaug\.txt: found no such file, but train_aug\.txt.*; rename train_aug\.txt"
    ):
        voc.open()
    (voc.list_path("train").parent / "list").mkdir()
    voc.list_path("train_aug").rename(voc.list_path("list/train_aug"))
    with pytest.raises(UserError, match=r"but list/train_aug\.txt.*; rename list/train_aug\.txt to trainaug\.txt"):
        voc.open()
    voc.list_path("list/train_aug").unlink()
    with pytest.raises(
        UserError, match=r"trainaug\.txt: found no such file.*from SBD: `seedbed data fetch voc12` adds"
    ):
        voc.open()


@pytest.mark.parametrize("split", ["train", "trainaug"])
def test_photos_of_val_are_never_trained_on(voc: Any, split: str) -> None:
    path = voc.list_path(split)
    path.write_text(path.read_text() + "2008_w\n")
    with pytest.raises(UserError, match=r"ImageSets: found photo '2008_w' in val and in train"):
        voc.open()


def test_annotations_that_are_missing_or_damaged(voc: Any) -> None:
    voc.annotation_path("2009_d").write_text("<annotation><object>")
    with pytest.raises(UserError, match=r"2009_d\.xml: found an unreadable annotation"):
        voc.open()
    voc.annotation_path("2009_d").unlink()
    with pytest.raises(UserError, match=r"2009_d\.xml: found an unreadable annotation .*expected an XML file"):
        voc.open()


def test_unknown_classes(voc: Any) -> None:
    with pytest.raises(UserError, match=r"dataset\.classes: found unknown VOC class 'hors'; .*did you mean 'horse'\?"):
        voc.open("hors")
    with pytest.raises(UserError, match=r"dataset\.classes: found a class twice"):
        voc.open("cat", "dog", "cat")
    voc.annotate("2007_a", "dog", "kat")
    with pytest.raises(
        UserError, match=r"2007_a\.xml: found unknown VOC class 'kat'; .*did you mean 'cat'\?.*own classes .*`folder`"
    ):
        voc.open()


def test_ids_of_no_split(voc: Any) -> None:
    for photo_id in ("2010_x", "../../x"):
        with pytest.raises(UserError, match=f"tiny: found photo '{photo_id}'; expected an id of train, dev or val"):
            voc.open().photo(photo_id)


def test_a_missing_photo(voc: Any) -> None:
    voc.photo_path("2007_a").unlink()
    with pytest.raises(UserError, match=r"2007_a\.jpg: found an unreadable file .*expected a file that can be read"):
        voc.open().photo("2007_a")


def test_masks_that_do_not_fit(voc: Any) -> None:
    dataset, path = voc.open(), voc.mask_path("2007_a")
    write_mask(path, np.zeros((10, 8), np.uint8))
    with pytest.raises(UserError, match=r"2007_a\.png: found 8×10 pixels; expected the photo's 10×8"):
        dataset.read_mask("2007_a")
    write_mask(path, np.full((8, 10), 21, np.uint8))
    with pytest.raises(UserError, match=r"2007_a\.png: found mask value 21; expected 0\.\.20 or 255"):
        dataset.read_mask("2007_a")
    Image.new("RGB", (10, 8)).save(path)
    with pytest.raises(UserError, match=r"2007_a\.png: found mode RGB"):
        dataset.read_mask("2007_a")
    path.unlink()
    with pytest.raises(UserError, match=r"2007_a\.png: found no such file"):
        dataset.read_mask("2007_a")


def test_a_mask_of_a_sideways_photo_is_upright(voc: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 10)).save(voc.photo_path("2007_a"), exif=exif)
    assert voc.open().read_mask("2007_a").shape == (8, 10)


def test_options() -> None:
    for subset in ("a/b", "x" * 65, "a b"):
        with pytest.raises(ValueError, match="subset"):
            Voc12Options(subset=subset)
    with pytest.raises(ValueError, match="rot"):
        Voc12Options.model_validate({"rot": "/data"})


def test_real_photos(real_data: Path) -> None:
    """Labels come from annotations, masks from another hand: they agree on nearly every photo."""
    animals = ("cat", "cow", "dog", "horse", "sheep", "person")
    root = real_data / "voc12-animals"
    dataset = Voc12(Voc12Options(root=root, subset="voc12-animals", classes=animals))
    assert {name: len(ids) for name, ids in dataset.splits.items()} == {"train": 437, "dev": 1000, "val": 445}
    weak = Clean(Options()).offer(Target.of(dataset)).weak
    assert len(weak.photos) == 1437
    agree = 0
    for photo_id in dataset.splits["train"][::3]:
        photo, values = dataset.photo(photo_id), set(np.unique(dataset.read_mask(photo_id)).tolist()) - {0, 255}
        agree += {label + 1 for label in photo.labels} == values
    assert agree >= 0.95 * len(dataset.splits["train"][::3])


def test_photos_of_the_test_set_have_neither_labels_nor_masks(voc: Any) -> None:
    assert voc.open().test_ids() == ()
    lists = voc.voc / "ImageSets" / "Segmentation"
    (lists / "test.txt").write_text("2010_t\n2010_s\n", encoding="utf-8")
    for photo_id in ("2010_t", "2010_s"):
        voc.photo_path(photo_id).write_bytes(voc.photo_path("2008_v").read_bytes())
    dataset = voc.open()
    assert set(dataset.splits) == {"train", "dev", "val"} and dataset.test_ids() == ("2010_s", "2010_t")
    photos = dataset.eval_set("test").photos
    assert [(photo.id, photo.labels) for photo in photos] == [("2010_s", ()), ("2010_t", ())]
    assert photos[0].image().shape == dataset.photo("2008_v").image().shape
    with pytest.raises(UserError, match="an id of train, dev or val"):
        dataset.photo("2010_u")


def test_a_server_gets_the_values_of_voc(voc: Any) -> None:
    layout = voc.open("person", "cat").server_layout("test")
    assert layout.folder == "results/VOC2012/Segmentation/comp6_test_cls"
    assert layout.values[:3].tolist() == [0, 15, 8]
    assert voc.open().server_layout("val").values[:21].tolist() == list(range(21))
