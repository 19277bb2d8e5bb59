"""Anyone's photos: lists of ids, a table of image-level labels, and masks where there are any.

    classes.txt               one name a line; background is implied
    train.txt val.txt         photo ids, one a line; dev.txt too, else a fixed share of train becomes dev
    test.txt                  photos that no run reads, for `seedbed predict`; there need not be any
    labels.csv                id,labels with names separated by ';'; an empty cell, or 'none', for a photo of no class
    images/<id>.jpg           or .jpeg, .png
    masks/<id>.png            palette or 8-bit grey: 0 background, 1 the first class, 255 void; others by `map`

Photos in subfolders have these in their ids: `city_a/img 01` is images/city_a/img 01.jpg with masks/city_a/img 01.png.
Each photo of train and dev needs a row. One that shows no class is trained on as a negative of all of them.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cached_property, partial
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import Field

from settings.config import existing_folder
from settings.dataset import TEST, Dataset
from settings.discovery import DATASETS
from settings.errors import UserError, counted
from settings.file_index import FileIndex, check_inside
from settings.hashing import content_of
from settings.images import photo_size, read_photo
from settings.layouts import PICTURES, label_source, mend_of_layout, mend_of_list, mend_of_no_photos
from settings.lists import read_classes, read_ids, read_labels
from settings.masks import check_size, check_values, read_mask
from settings.options import AbsolutePath, Options
from settings.photo_ids import composed, id_of_path, twins
from settings.records import LabelSpace, Mask, Photo
from settings.stems import alike
from settings.unread import Unread, unread_files, unread_folders, unread_texts
from settings.value_maps import ValueMap, lookup_table, value_map_text

__all__ = ["DEV_SHARE", "Folder", "FolderOptions"]

DEV_SHARE = 0.2
_AS_PNG = "save masks as <id>.png, with class indices as values (`seedbed data import-masks` makes them of JSON)"
Splits = Mapping[str, tuple[str, ...]]


class FolderOptions(Options):
    """Where the data lie, and how dev is chosen where no list names it."""

    root: AbsolutePath = Field(
        description="the folder that holds classes.txt, labels.csv, the lists, images/ and masks/"
    )
    name: str = Field("", max_length=64, pattern=r"^(\w[\w.-]*)?$", description="what rows call it; else the folder's")
    dev_share: float | None = Field(
        None, ge=0, lt=1, description=f"share of train that becomes dev where there is no dev.txt; default {DEV_SHARE}"
    )
    map: ValueMap = Field({}, description="what values of masks stand for: 0:255,1:0 and so on; others stay")
    follow_links: bool = Field(False, description="read files that symbolic links name outside the folder")


class Folder(Dataset):
    """A folder of photos; those of train may lack masks, and photos may show no class."""

    options_model = FolderOptions

    def __init__(self, options: FolderOptions) -> None:
        root, self._follow = existing_folder(options.root), options.follow_links
        if root is None:
            expected = "a folder that holds classes.txt and images/"
            raise UserError("dataset.root", f"no folder '{options.root}'", expected)
        self._root = root
        self._values = options.map
        self.name = _checked_name(options.name, self._root)
        self.label_space = LabelSpace(read_classes(self._list_of_classes()))
        self._labels = read_labels(self._table_of_labels(), self.label_space.names)
        self._photos = FileIndex(self._root, "images", PICTURES, self._follow)
        self.splits = self._read_splits(options.dev_share)
        self._known = frozenset(chain.from_iterable(self.splits.values()))
        if not (self._root / "images").exists():
            mend = mend_of_no_photos(self._root)
            raise UserError(self._root / "images", "no such folder", "the photos, named by id", mend)
        self._masks = FileIndex(self._root, "masks", (".png",), self._follow)

    def photo(self, photo_id: str) -> Photo:
        """The photo with its labels of labels.csv (a val photo need not have any)."""
        path = self._photo_path(photo_id)
        content, labels = content_of(path), self._labels.get(photo_id, ())
        return Photo(photo_id, labels, content, partial(read_photo, path, content), file=path)

    def test_ids(self) -> tuple[str, ...]:
        """Those of `test.txt`, where there is one."""
        return tuple(sorted(self._test))

    def has_mask(self, photo_id: str) -> bool:
        """Whether there is a mask file; nothing is read."""
        return photo_id in self._masks

    def read_mask(self, photo_id: str) -> Mask:
        """The mask; raises UserError for values above the classes, and when mask and photo differ in size."""
        path = self._masks.path(photo_id)
        mask: Mask = lookup_table(self._values)[read_mask(path)]
        check_values(path, mask, self.label_space.foreground + 1)
        check_size(path, mask, photo_size(self._photo_path(photo_id)))
        return mask

    def mask_content(self, photo_id: str) -> str:
        """sha256 of the PNG file; raises UserError for a photo without a mask."""
        return content_of(self._masks.path(photo_id))

    def mask_file(self, photo_id: str) -> Path:
        """`masks/<id>.png`; raises UserError for a photo without a mask."""
        return self._masks.path(photo_id)

    def mask_folders(self) -> tuple[Path, ...]:
        """`masks/`."""
        return (self._root / "masks",)

    def identity(self) -> dict[str, Any]:
        """Name and classes in their order; labels and pixels are identified photo by photo."""
        identity = {"layout": "folder", "name": self.name, "version": self.version, "classes": self.label_space.names}
        if self._values:
            identity["map"] = value_map_text(self._values)
        return identity

    def unread(self) -> tuple[Unread, ...]:
        """What lies in the folder and no run reads; no file is opened."""
        return (
            *unread_files("images", self._photos, self._known | self._test, "JPEG and PNG", "convert them"),
            *unread_files("masks", self._masks, self._known, "PNG", _AS_PNG),
            *unread_folders(self._root, self._known),
            *unread_texts(self._root, self._labels, self._known),
        )

    @cached_property
    def _test(self) -> frozenset[str]:
        # Read when it is asked for: no run reads it, and whatever is wrong with it is no run's business.
        path = self._file(f"{TEST}.txt")
        return frozenset(read_ids(path, self._photos)) if path.exists() else frozenset()

    def _photo_path(self, photo_id: str) -> Path:
        if photo_id not in self._known and photo_id not in self._test:
            raise UserError(self.name, f"photo {photo_id!r}", "an id of train, dev or val")
        return self._photos.path(photo_id)

    def _file(self, name: str) -> Path:
        path = self._root / name
        if not self._follow:
            check_inside(path, self._root)
        return path

    def _list_of_classes(self) -> Path:
        """`classes.txt`; raises UserError that tells what else lies in the folder."""
        path = self._file("classes.txt")
        if not path.exists():
            raise UserError(path, "no such file", "class names, one a line", mend_of_layout(self._root))
        return path

    def _table_of_labels(self) -> Path:
        """`labels.csv`; raises UserError that tells how other forms of labels, or masks, become one."""
        path = self._file("labels.csv")
        if not path.exists():
            # Masks are named last: labels from them are more than image-level supervision has.
            source = label_source(self._root) or self._root / "masks"
            expected = "CSV with the columns id,labels, names of classes separated by ';'"
            raise UserError(path, "no such file", expected, f"seedbed data import-labels {source} {path} makes it")
        return path

    def _read_splits(self, dev_share: float | None) -> Splits:
        lists = self._read_lists()
        self._labels = _under_listed_ids(self._labels, frozenset(chain.from_iterable(lists.values())))
        if "dev" in lists and dev_share is not None:
            raise UserError("dataset.dev_share", "a share although there is dev.txt", "one of the two")
        trained = {split: ids for split, ids in lists.items() if split != "val"}
        for split, ids in trained.items():
            self._check_rows(split, ids)
        if "dev" not in lists:
            trained = _divided(lists["train"], DEV_SHARE if dev_share is None else dev_share)
        splits = {split: tuple(sorted(ids)) for split, ids in {**trained, "val": lists["val"]}.items()}
        for split, expected in {"train": "one, besides those of dev", "val": "one"}.items():
            if not splits[split]:
                raise UserError(self._root / f"{split}.txt", "no photo to use", f"at least {expected}")
        return splits

    def _read_lists(self) -> Splits:
        """The ids of train and val, and of dev where it is listed; no photo is in two lists."""
        names = ("train", "val", *(["dev"] if (self._root / "dev.txt").exists() else []))
        lists: dict[str, tuple[str, ...]] = {}
        for name in names:
            path = self._file(f"{name}.txt")
            if not path.exists():
                raise UserError(path, "no such file", "photo ids, one a line", mend_of_list(self._root, name))
            ids = read_ids(path, self._photos)
            for other, taken in lists.items():
                if shared := sorted(set(ids) & set(taken)):
                    found = f"photo '{shared[0]}' of {other}.txt again ({counted(len(shared), 'such photo')})"
                    raise UserError(self._root / f"{name}.txt", found, "each photo in one list")
            lists[name] = ids
        if pair := twins(chain.from_iterable(lists.values())):
            found = f"photos '{pair[0]}' and '{pair[1]}'"
            raise UserError(self._root, found, "ids that differ in more than case", "rename one photo")
        return lists

    def _check_rows(self, split: str, ids: Iterable[str]) -> None:
        """Raise UserError where labels.csv does not mention a photo: whether it shows a class is not known then."""
        if unmentioned := sorted(set(ids) - set(self._labels)):
            such = counted(len(unmentioned), "such photo")
            found = f"no row for photo '{unmentioned[0]}' of {split}.txt ({such})"
            mend = f"write '{unmentioned[0]},' for a photo that shows no class"
            if meant := alike(unmentioned[0], set(self._labels) - set(ids)):
                mend = f"is it the row '{meant}'? Then write the ids of the lists"
            raise UserError(self._root / "labels.csv", found, "a row for each photo of train and dev", mend)


def _under_listed_ids(labels: Mapping[str, tuple[int, ...]], listed: frozenset[str]) -> dict[str, tuple[int, ...]]:
    """The labels, with rows under the photo's file name (`images/a.jpg`) or in another Unicode form under its id."""
    by_id: dict[str, list[str]] = {}
    for name in labels:
        by_id.setdefault(id_of_path(composed(name), listed), []).append(name)
    read = dict(labels)
    for photo_id in listed:
        rows = by_id.get(photo_id, [])
        # Two rows for one photo contradict each other, or not: nobody can tell which is meant.
        if photo_id not in labels and len(rows) == 1:
            read[photo_id] = read.pop(rows[0])
    return read


def _divided(ids: Iterable[str], share: float) -> dict[str, tuple[str, ...]]:
    """Train and dev; a photo's place depends on its id alone, so that further photos move none."""
    parts: dict[str, list[str]] = {"train": [], "dev": []}
    for photo_id in ids:
        place = int(sha256(f"dev {photo_id}".encode()).hexdigest()[:13], 16) / 16**13
        parts["dev" if place < share else "train"].append(photo_id)
    return {split: tuple(part) for split, part in parts.items()}


def _checked_name(name: str, root: Path) -> str:
    found = name or re.sub(r"[^\w.-]+", "-", root.resolve().name).strip("-.")[:64]
    if not found or found in DATASETS.names():
        raise UserError("dataset.name", f"'{found}'", "a name that no other data set has", "set dataset.name")
    return found
