"""PASCAL VOC 2012 in its own layout (VOCdevkit/VOC2012): the field's benchmark, or a named subset of it.

Splits: train and val are `ImageSets/Segmentation/{train,val}.txt`; dev is `trainaug.txt` without train.
Image-level labels come from `Annotations/*.xml`, masks from `SegmentationClass` (train, val) and
`SegmentationClassAug` (dev; from SBD, coarser).
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from settings.config import data_root, existing_folder
from settings.dataset import TEST, Dataset, ServerLayout
from settings.errors import UserError, counted, kind_of, unknown_name
from settings.hashing import content_of
from settings.images import photo_size, read_photo
from settings.layouts import VOC_FOLDER, voc_root
from settings.lists import read_ids
from settings.masks import check_size, check_values, read_mask
from settings.options import AbsolutePath, Options
from settings.records import UNKNOWN, LabelSpace, Mask, Photo
from settings.value_maps import ValueMap, lookup_table, value_map_text

__all__ = ["CLASSES", "COUNTS", "Voc12", "Voc12Options"]

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
MASK_FOLDERS = ("SegmentationClass", "SegmentationClassAug", "SegmentationObject")
COUNTS = {"train": 1464, "val": 1449, "trainaug": 10582}
"""Photos in the lists of the whole data set."""
OWN_CLASSES = (
    "own classes in this layout are no VOC: use the data set `folder` (`seedbed data import-labels` reads XML)"
)
FROM_SBD = "it comes from SBD: `seedbed data fetch voc12` adds it to what is there"


class Voc12Options(Options):
    """Where the data lie and which part of them is used."""

    root: AbsolutePath | None = Field(
        None, description="the folder that holds VOCdevkit/; else the user's configuration"
    )
    subset: str = Field("", max_length=64, pattern=r"^[\w.-]*$", description="what rows call a subset of VOC 2012")
    classes: tuple[str, ...] = Field((), description="only these; other classes' pixels become 255")
    negatives: bool = Field(False, description="keep photos that show none of the classes; else they are left out")
    map: ValueMap = Field({}, description="what values of masks stand for in VOC's: 0:255,1:0 and so on; others stay")


class Voc12(Dataset):
    """VOC 2012; photos whose labels are all outside `classes` are left out, unless `negatives` keeps them."""

    options_model = Voc12Options
    download = "voc12"

    def __init__(self, options: Voc12Options) -> None:
        self._folder = _voc_folder(options.root or data_root("voc12"))
        self.label_space = LabelSpace(_checked_classes(options.classes))
        self.name = options.subset or "voc12"
        self._value_of, self._values = _mask_values(self.label_space), options.map
        _check_sbd(self._folder)
        lists = {name: read_ids(self._folder / "ImageSets" / "Segmentation" / f"{name}.txt") for name in COUNTS}
        _check_counts(self._folder, lists, options.subset)
        _check_disjoint(self._folder, lists)
        dev = sorted(set(lists.pop("trainaug")) - set(lists["train"]))
        listed = {**lists, "dev": dev}
        found = {name: self._used(ids, options.negatives) for name, ids in listed.items()}
        self.splits = {name: tuple(labels_of) for name, labels_of in found.items()}
        self.left_out = {name: tuple(sorted(set(ids) - set(found[name]))) for name, ids in listed.items()}
        self._labels = {photo_id: labels for labels_of in found.values() for photo_id, labels in labels_of.items()}

    def photo(self, photo_id: str) -> Photo:
        """The JPEG with the labels of its annotation; one of the test set has none."""
        path = self._photo_path(photo_id)
        labels = self._labels.get(photo_id)
        if labels is None:
            if photo_id not in self._test:
                raise UserError(self.name, f"photo '{photo_id}'", "an id of train, dev or val")
            labels = ()
        content = content_of(path)
        return Photo(photo_id, labels, content, partial(read_photo, path, content), file=path)

    def test_ids(self) -> tuple[str, ...]:
        """Those of `ImageSets/Segmentation/test.txt`, which comes with the test set's own archive."""
        return tuple(sorted(self._test))

    def server_layout(self, split: str) -> ServerLayout:
        """As the evaluation server of VOC wants it: competition 6, training on any data; values are VOC's classes."""
        values = np.zeros(256, np.uint8)
        for class_id, name in enumerate(self.label_space.names):
            values[class_id + 1] = CLASSES.index(name) + 1
        return ServerLayout(f"results/VOC2012/Segmentation/comp6_{split}_cls", values)

    @cached_property
    def _test(self) -> frozenset[str]:
        # Read when it is asked for: no run reads it, and whatever is wrong with it is no run's business.
        path = self._folder / "ImageSets" / "Segmentation" / f"{TEST}.txt"
        return frozenset(read_ids(path)) if path.exists() else frozenset()

    def read_mask(self, photo_id: str) -> Mask:
        """Other classes' pixels are 255; raises UserError when mask and photo differ in size."""
        path = self._mask_path(photo_id)
        found: Mask = lookup_table(self._values)[read_mask(path)]
        check_values(path, found, len(CLASSES) + 1)
        mask: Mask = self._value_of[found]
        check_size(path, mask, photo_size(self._photo_path(photo_id)))
        return mask

    def mask_content(self, photo_id: str) -> str:
        """sha256 of the PNG file."""
        return content_of(self._mask_path(photo_id))

    def mask_file(self, photo_id: str) -> Path:
        """The PNG file of train and val, or that of dev's coarser masks."""
        return self._mask_path(photo_id)

    def mask_folders(self) -> tuple[Path, ...]:
        """Masks of classes and of instances."""
        return tuple(self._folder / name for name in MASK_FOLDERS)

    def identity(self) -> dict[str, Any]:
        """The classes in their order: they decide which labels and mask values there are."""
        identity = {"layout": "voc12", "name": self.name, "version": self.version, "classes": self.label_space.names}
        if self._values:
            identity["map"] = value_map_text(self._values)
        return identity

    def _photo_path(self, photo_id: str) -> Path:
        return self._folder / "JPEGImages" / f"{photo_id}.jpg"

    def _mask_path(self, photo_id: str) -> Path:
        coarse = photo_id in self.splits["dev"]
        return self._folder / ("SegmentationClassAug" if coarse else "SegmentationClass") / f"{photo_id}.png"

    def _used(self, ids: Iterable[str], negatives: bool) -> dict[str, tuple[int, ...]]:
        """The labels of those photos that have any, in id order; with `negatives`, of all."""
        labels_of = {photo_id: self._read_labels(photo_id) for photo_id in sorted(ids)}
        return {photo_id: labels for photo_id, labels in labels_of.items() if labels or negatives}

    def _read_labels(self, photo_id: str) -> tuple[int, ...]:
        path = self._folder / "Annotations" / f"{photo_id}.xml"
        try:
            if path.exists() and not path.is_file():
                # A pipe would be waited for without end.
                raise OSError(kind_of(path))
            names = {element.text or "" for element in ElementTree.parse(path).getroot().findall("object/name")}
        except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
            raise UserError(path, f"an unreadable annotation ({error})", "an XML file with object names") from None
        for name in sorted(names - set(CLASSES)):
            raise unknown_name(path, "VOC class", name, CLASSES, OWN_CLASSES)
        return tuple(i for i, name in enumerate(self.label_space.names) if name in names)


def _voc_folder(root: Path) -> Path:
    wanted = root / VOC_FOLDER
    folder = existing_folder(wanted)
    if folder is None:
        above = voc_root(root)
        mend = f"root={above}" if above else ""
        raise UserError("dataset.root", f"no folder '{wanted}'", "the folder that holds VOCdevkit/VOC2012", mend)
    return folder


def _check_sbd(folder: Path) -> None:
    """Raise UserError where VOC's own archive is there and what SBD adds to it is not."""
    lists, name = folder / "ImageSets" / "Segmentation", "trainaug.txt"
    if (lists / "train.txt").is_file() and not (lists / name).exists():
        # The same list as other programs call it.
        others = sorted(str(path.relative_to(lists)) for path in lists.rglob("*aug*.txt"))
        if others:
            expected = f"the list {name}"
            raise UserError(lists / name, f"no such file, but {others[0]}", expected, f"rename {others[0]} to {name}")
        raise UserError(lists / name, "no such file", "the list of dev's photos", FROM_SBD)
    masks = folder / "SegmentationClassAug"
    if (lists / name).is_file() and not masks.exists():
        raise UserError(masks, "no such folder", "the masks of trainaug", FROM_SBD)


def _checked_classes(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in CLASSES:
            raise unknown_name("dataset.classes", "VOC class", name, CLASSES, OWN_CLASSES)
    if len(set(names)) < len(names):
        raise UserError("dataset.classes", "a class twice", "each class once")
    return names or CLASSES


def _check_counts(folder: Path, lists: dict[str, tuple[str, ...]], subset: str) -> None:
    found = {name: len(ids) for name, ids in lists.items()}
    if found != COUNTS and not subset:
        expected = f"VOC 2012's {COUNTS}"
        raise UserError(folder / "ImageSets", f"{found} photos", expected, "name a subset with dataset.subset")


def _check_disjoint(folder: Path, lists: dict[str, tuple[str, ...]]) -> None:
    shared = sorted(set(lists["val"]) & {*lists["train"], *lists["trainaug"]})
    if shared:
        such = counted(len(shared), "such photo")
        found = f"photo '{shared[0]}' in val and in train or trainaug ({such})"
        raise UserError(folder / "ImageSets", found, "photos of val that nothing is trained on")


def _mask_values(label_space: LabelSpace) -> Mask:
    """VOC's mask value → ours, for all 256 values."""
    values = np.full(256, UNKNOWN, np.uint8)
    values[0] = 0
    for class_id, name in enumerate(label_space.names):
        values[CLASSES.index(name) + 1] = class_id + 1
    return values
