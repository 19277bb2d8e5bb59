"""Maps and labels as the field's programs write them: what these read in them, and what comes back by an import."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness.conversion.forms import write_labels_form, write_map_form
from harness.conversion.labels import import_labels
from harness.conversion.maps import import_maps
from methods.base import LocalizationMaps
from methods.npz import read_npz
from methods.upsampling import upsample
from settings.errors import UserError

MAPS = np.random.default_rng(0).random((2, 4, 5)).astype(np.float32)
RECORD = LocalizationMaps("city a/p", (2, 14), MAPS, (9, 14))
LARGE = upsample(RECORD)
LABELS = {"2007_000032": (0, 2), "2007_000039": (), "2008_000001": (1,)}


def imported(folder: Path, output: Path, photo: str = "city a/p.npz") -> dict[str, np.ndarray]:
    import_maps(folder, output)
    return read_npz(output / photo, ("keys", "maps"))


def test_irns_own_programs_read_its_dictionaries(tmp_path: Path) -> None:
    write_map_form("irn", tmp_path, RECORD)
    content = np.load(tmp_path / "city a/p.npy", allow_pickle=True).item()
    # As in cam_to_ir_label.py and make_sem_seg_labels.py.
    assert np.pad(content["keys"] + 1, (1, 0), mode="constant").tolist() == [0, 3, 15]
    assert np.array_equal(content["high_res"], LARGE) and content["high_res"].shape == (2, 9, 14)
    strided_CHW = torch.nn.functional.interpolate(torch.from_numpy(MAPS)[None], (3, 4), mode="bilinear")[0]
    assert isinstance(content["cam"], torch.Tensor) and torch.equal(content["cam"], strided_CHW)


@pytest.mark.parametrize("form", ["irn", "psa"])
def test_maps_come_back_bit_by_bit(form: str, tmp_path: Path) -> None:
    write_map_form(form, tmp_path / "theirs", RECORD)
    found = imported(tmp_path / "theirs", tmp_path / "ours")
    assert found["keys"].tolist() == [2, 14] and np.array_equal(found["maps"], LARGE)
    again = LocalizationMaps("city a/p", (2, 14), found["maps"].copy(), (9, 14))
    write_map_form(form, tmp_path / "again", again)
    first, second = (
        np.load(tmp_path / name / "city a/p.npy", allow_pickle=True).item() for name in ("theirs", "again")
    )
    last = "high_res" if form == "irn" else 14
    assert np.array_equal(first[last], second[last])


def test_psa_has_a_map_a_class_id(tmp_path: Path) -> None:
    write_map_form("psa", tmp_path, RECORD)
    content = np.load(tmp_path / "city a/p.npy", allow_pickle=True).item()
    assert list(content) == [2, 14] and np.array_equal(content[14], LARGE[1])


def test_mcis_has_a_grey_png_a_class_id(tmp_path: Path) -> None:
    write_map_form("mcis", tmp_path / "theirs", RECORD)
    with Image.open(tmp_path / "theirs/city a/p_14.png") as image:
        assert image.mode == "L" and np.array_equal(np.asarray(image), np.rint(LARGE[1] * 255).astype(np.uint8))
    found = imported(tmp_path / "theirs", tmp_path / "ours")
    # In the order of the files' names.
    assert found["keys"].tolist() == [14, 2] and found["maps"].dtype == np.uint8
    assert np.abs(found["maps"][::-1] / 255 - LARGE).max() <= 0.5 / 255 + 1e-6


def test_a_photo_without_labels_has_no_maps(tmp_path: Path) -> None:
    empty = LocalizationMaps("p", (), np.zeros((0, 4, 5), np.float32), (9, 14))
    for form in ("irn", "psa"):
        write_map_form(form, tmp_path / form, empty)
        assert imported(tmp_path / form, tmp_path / f"{form}-back", "p.npz")["keys"].tolist() == []
    write_map_form("mcis", tmp_path / "mcis", empty)
    assert not (tmp_path / "mcis").exists()


@pytest.mark.parametrize("name", ["cls_labels.npy", "train_cls.txt"])
def test_labels_come_back(name: str, tmp_path: Path) -> None:
    write_labels_form(tmp_path / name, LABELS, 3)
    (tmp_path / "classes.txt").write_text("cat\ndog\ncow\n")
    (tmp_path / "train.txt").write_text("".join(f"{photo_id}\n" for photo_id in LABELS))
    import_labels([tmp_path / name], tmp_path / "labels.csv", first_class=0)
    rows = ["id,labels", "2007_000032,cat;cow", "2007_000039,", "2008_000001,dog"]
    assert (tmp_path / "labels.csv").read_text().splitlines() == rows


def test_irns_labels_are_called_by_numbers(tmp_path: Path) -> None:
    write_labels_form(tmp_path / "cls_labels.npy", LABELS, 3, "numbers")
    content = np.load(tmp_path / "cls_labels.npy", allow_pickle=True).item()
    assert list(content) == [2007000032, 2007000039, 2008000001]
    assert content[2007000032].dtype == np.float32 and content[2007000032].tolist() == [1, 0, 1]
    assert f"{str(2007000032)[:4]}_{str(2007000032)[4:]}" in LABELS


@pytest.mark.parametrize(
    ("name", "photo", "message"),
    [
        ("labels.csv", "p", r"labels\.csv: found a file that ends in '\.csv'; expected cls_labels\.npy"),
        ("labels.txt", "a b", r"labels\.txt: found photo 'a b', with a blank, in a list; .*; write a \.npy"),
        ("labels.npy", "p01", "--keys: found numbers, and photo 'p01'; expected ids such as 2007_000032"),
        ("file/labels.npy", "2007_1", r"labels\.npy: found a file that cannot be written"),
    ],
)
def test_labels_that_cannot_be_written(name: str, photo: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=message):
        write_labels_form(tmp_path / name, {photo: (0,)}, 2, "numbers")
