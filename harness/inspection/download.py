"""`seedbed data fetch`: PASCAL VOC 2012 and SBD, downloaded through torchvision, in the layout of our data set `voc12`.

Everything is made in `.fetching/` and moved into place, `trainaug.txt` last: without it nothing reads the data set. An
interrupted fetch goes on with the archives that are there already.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from http.client import HTTPException
from importlib import import_module
from pathlib import Path
from tarfile import TarError
from types import ModuleType
from typing import NamedTuple
from urllib.error import URLError

import numpy as np

from settings.config import data_root
from settings.datasets.voc12 import CLASSES, Voc12, Voc12Options
from settings.decoding import DAMAGED
from settings.errors import UserError
from settings.images import photo_size
from settings.lists import read_ids
from settings.masks import check_values, write_mask
from settings.records import Mask

__all__ = ["DOWNLOADS", "Archive", "archives", "fetch_voc12", "read_sbd_mask"]

Watch = Callable[[Sequence[str]], Iterable[str]]
SEGMENTATION = Path("ImageSets") / "Segmentation"


class Archive(NamedTuple):
    """A file to download and unpack: where it is, how it is called here, and the md5 that it must have."""

    url: str
    filename: str
    md5: str


def archives() -> tuple[Archive, Archive]:
    """VOC 2012 (train and val) and SBD, where torchvision says that they are."""
    sbd, voc = _torchvision("sbd").SBDataset, _torchvision("voc").DATASET_YEAR_DICT["2012"]
    return Archive(voc["url"], voc["filename"], voc["md5"]), Archive(sbd.url, sbd.filename, sbd.md5)


def fetch_voc12(root: Path | None, watch: Watch = iter) -> str:
    """Make `root`/VOCdevkit/VOC2012 with SBD's masks and `trainaug.txt`; says what was done. Raises UserError.

    A VOC folder that is there already is kept, and gets what it lacks of SBD.
    """
    root = (root or data_root("voc12")).expanduser()
    voc, work = root / "VOCdevkit" / "VOC2012", root / ".fetching"
    # Written last: where it is, all is.
    if (voc / SEGMENTATION / "trainaug.txt").is_file():
        return f"{voc} has all its parts; nothing was downloaded"
    try:
        voc_archive, sbd_archive = archives()
        if not voc.is_dir():
            _move(_unpacked(voc_archive, work) / "VOCdevkit" / "VOC2012", voc)
        _add_sbd(voc, _unpacked(sbd_archive, work) / "benchmark_RELEASE" / "dataset", work / "masks", watch)
        shutil.rmtree(work)
    except OSError as error:
        raise UserError(root, f"a folder that cannot be written ({error})", "about 10 GB of free space") from None
    # Opened as a run would open it: a folder that lacks something is told now.
    splits = Voc12(Voc12Options(root=root)).splits
    counts = {split: len(ids) for split, ids in splits.items()}
    return f"{voc} is complete: {counts}"


DOWNLOADS: Mapping[str, Callable[[Path | None, Watch], str]] = {"voc12": fetch_voc12}
"""What fills the folder `root` of a data set, by the name that the data set declares as its `download`."""


def read_sbd_mask(path: Path) -> Mask:
    """The classes of SBD's MATLAB file, uint8 (H, W); raises UserError for a missing or damaged file."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    expected = "an SBD file with GTcls.Segmentation"
    try:
        # As an open file: by its name, scipy would try other names too.
        with path.open("rb") as file:
            mask = np.asarray(loadmat(file)["GTcls"][0]["Segmentation"][0], np.uint8)
    except FileNotFoundError:
        raise UserError(path, "no such file", expected) from None
    except (*DAMAGED, MatReadError, NotImplementedError, MemoryError) as error:
        raise UserError(path, f"an unreadable file ({error})", expected) from None
    if mask.ndim != 2:
        raise UserError(path, f"{mask.ndim} dimensions", expected)
    check_values(path, mask, len(CLASSES) + 1)
    return mask


def _add_sbd(voc: Path, sbd: Path, work: Path, watch: Watch) -> None:
    """Write SBD's masks as `SegmentationClassAug` and, last, `trainaug.txt`: train and SBD without val."""
    train, val = (read_ids(voc / SEGMENTATION / f"{name}.txt") for name in ("train", "val"))
    # SBD's own train and val hold photos of VOC's train and val too, in other splits.
    coarse = {*read_ids(sbd / "train.txt"), *read_ids(sbd / "val.txt")}
    extra = sorted(coarse - {*train, *val})
    work.mkdir(parents=True, exist_ok=True)
    for photo_id in watch(extra):
        source = sbd / "cls" / f"{photo_id}.mat"
        mask = read_sbd_mask(source)
        size = photo_size(voc / "JPEGImages" / f"{photo_id}.jpg")
        if mask.shape != size:
            raise UserError(source, f"a mask of shape {mask.shape}", f"{size}")
        write_mask(work / f"{photo_id}.png", mask)
    lines = [f"{photo_id}\n" for photo_id in sorted({*train, *extra})]
    (work / "trainaug.txt").write_text("".join(lines), encoding="utf-8")
    # Only now, when all of them could be read: no data set is half there.
    for photo_id in extra:
        _move(work / f"{photo_id}.png", voc / "SegmentationClassAug" / f"{photo_id}.png")
    _move(work / "trainaug.txt", voc / SEGMENTATION / "trainaug.txt")


def _unpacked(archive: Archive, folder: Path) -> Path:
    """The folder with the archive's content; an archive that is there with the right md5 is not downloaded again."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _torchvision("utils").download_and_extract_archive(
            archive.url, str(folder), filename=archive.filename, md5=archive.md5
        )
    except (URLError, HTTPException, TimeoutError, ConnectionError, RuntimeError, EOFError, TarError) as error:
        mend = f"download it by other means to {folder / archive.filename} (md5 {archive.md5}) and fetch again"
        raise UserError(archive.url, f"no download ({error})", f"{archive.filename}", mend) from None
    return folder


def _torchvision(module: str) -> ModuleType:
    # By name: torchvision has no types, and a fetch alone needs it.
    return import_module(f"torchvision.datasets.{module}")


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)
