"""Fetching VOC 2012 and SBD, from tiny archives made by hand: layout, SBD's .mat masks, and no network."""

import hashlib
import tarfile
from io import BytesIO
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from harness.inspection import download
from harness.inspection.download import DOWNLOADS, Archive, fetch_voc12, read_sbd_mask
from settings.datasets.voc12 import Voc12, Voc12Options
from settings.discovery import DATASETS
from settings.errors import UserError
from settings.masks import encode_mask

VOC = "VOCdevkit/VOC2012"
SBD = "benchmark_RELEASE/dataset"
PHOTOS = {"2007_t": "cat", "2007_v": "dog", "2008_a": "cat", "2008_b": "person"}


def mask_of(value: int) -> np.ndarray:
    mask_HW = np.zeros((6, 8), np.uint8)
    mask_HW[2:4, 1:5] = value
    return mask_HW


def mat(mask_HW: np.ndarray) -> bytes:
    buffer = BytesIO()
    savemat(buffer, {"GTcls": {"Segmentation": mask_HW, "CategoriesPresent": [1]}})
    return buffer.getvalue()


def photo() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (8, 6)).save(buffer, "JPEG")
    return buffer.getvalue()


def voc_files() -> dict[str, bytes]:
    files = {f"{VOC}/JPEGImages/{i}.jpg": photo() for i in PHOTOS}
    files |= {
        f"{VOC}/Annotations/{i}.xml": f"<a><object><name>{n}</name></object></a>".encode() for i, n in PHOTOS.items()
    }
    files |= {f"{VOC}/SegmentationClass/{i}.png": encode_mask(mask_of(8)) for i in ("2007_t", "2007_v")}
    return files | {
        f"{VOC}/ImageSets/Segmentation/train.txt": b"2007_t\n",
        f"{VOC}/ImageSets/Segmentation/val.txt": b"2007_v\n",
    }


def sbd_files() -> dict[str, bytes]:
    """SBD's own train and val hold photos of VOC's train and val too, in other splits."""
    values = {"2007_t": 3, "2007_v": 4, "2008_a": 8, "2008_b": 15}
    files = {f"{SBD}/cls/{i}.mat": mat(mask_of(value)) for i, value in values.items()}
    return files | {f"{SBD}/train.txt": b"2007_v\n2008_b\n", f"{SBD}/val.txt": b"2007_t\n2008_a\n"}


def pack(path: Path, files: dict[str, bytes]) -> Archive:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, BytesIO(content))
    return Archive("https://example.invalid/x", path.name, hashlib.md5(path.read_bytes()).hexdigest())


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where both archives lie already, as after a download; there is no network."""
    root = tmp_path / "data"
    packed = pack(root / ".fetching" / "voc.tar", voc_files()), pack(root / ".fetching" / "sbd.tgz", sbd_files())
    monkeypatch.setattr(download, "archives", lambda: packed)
    monkeypatch.setattr("settings.datasets.voc12.COUNTS", {"train": 1, "val": 1, "trainaug": 3})
    return root


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise URLError("no network in tests")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


def test_voc_and_sbd_become_one_data_set(root: Path) -> None:
    assert "is complete: {'train': 1, 'val': 1, 'dev': 2}" in fetch_voc12(root)
    dataset = Voc12(Voc12Options(root=root))
    assert dataset.splits == {"train": ("2007_t",), "val": ("2007_v",), "dev": ("2008_a", "2008_b")}
    assert np.array_equal(dataset.read_mask("2008_a"), mask_of(8))
    assert np.array_equal(dataset.read_mask("2008_b"), mask_of(15))
    assert sorted(path.name for path in root.iterdir()) == ["VOCdevkit"]
    assert "nothing was downloaded" in fetch_voc12(root)


def test_a_voc_folder_that_is_there_gets_what_it_lacks(root: Path) -> None:
    for name, content in voc_files().items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / ".fetching" / "voc.tar").unlink()
    assert "is complete" in fetch_voc12(root)


def test_without_a_network_it_says_what_to_do(root: Path) -> None:
    (root / ".fetching" / "voc.tar").unlink()
    with pytest.raises(UserError, match=r"example\.invalid/x: found no download .*no network.*voc\.tar \(md5 \w{32}\)"):
        fetch_voc12(root)
    assert not (root / "VOCdevkit").exists()


def test_a_damaged_sbd_mask_stops_before_the_data_set_is_complete(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    voc, _ = download.archives()
    damaged = {**sbd_files(), f"{SBD}/cls/2008_a.mat": b"MATLAB 5.0 no more"}
    packed = voc, pack(root / ".fetching" / "sbd.tgz", damaged)
    with monkeypatch.context() as patch:
        patch.setattr(download, "archives", lambda: packed)
        with pytest.raises(UserError, match=r"2008_a\.mat: found an unreadable file"):
            fetch_voc12(root)
    assert not (root / VOC / "ImageSets" / "Segmentation" / "trainaug.txt").exists()
    pack(root / ".fetching" / "sbd.tgz", sbd_files())
    packed = voc, pack(root / ".fetching" / "sbd.tgz", sbd_files())
    monkeypatch.setattr(download, "archives", lambda: packed)
    assert "is complete" in fetch_voc12(root)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (mat(mask_of(21)), "found mask value 21"),
        (mat(np.zeros((2, 3, 4), np.uint8)), "dimensions"),
        (b"", "unreadable"),
        (mat(mask_of(1))[:200], "unreadable"),
    ],
)
def test_odd_mat_files(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "x.mat"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_sbd_mask(path)


def test_a_mat_file_of_another_kind_or_none(tmp_path: Path) -> None:
    savemat(tmp_path / "x.mat", {"other": 1})
    for name, words in {"x.mat": "unreadable file .'GTcls'", "y.mat": "no such file"}.items():
        with pytest.raises(UserError, match=words):
            read_sbd_mask(tmp_path / name)


def test_every_download_that_a_data_set_declares_is_known() -> None:
    declared = {download for name in DATASETS.names() if (download := DATASETS.load(name).download)}
    assert declared == set(DOWNLOADS)


def test_the_archives_are_those_of_torchvision() -> None:
    voc, sbd = download.archives()
    assert voc.filename == "VOCtrainval_11-May-2012.tar" and sbd.filename == "benchmark.tgz"
    assert all(len(archive.md5) == 32 and archive.url.startswith("https://") for archive in (voc, sbd))
