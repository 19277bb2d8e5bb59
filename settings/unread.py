"""What lies in a folder data set and no run reads: a misnamed file looks like one that is absent, unless it is told."""

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from settings.errors import counted
from settings.file_index import FileIndex
from settings.layouts import other_folders
from settings.photo_ids import id_of
from settings.stems import names_alike, told_renames

__all__ = ["Unread", "unread_files", "unread_folders", "unread_texts"]

LISTS = ("train.txt", "dev.txt", "val.txt", "test.txt")
_LIST_THEM = "list their ids in train.txt, dev.txt or val.txt if they are wanted"


class Unread(NamedTuple):
    """Files, or rows, of one kind that nothing reads, and what would change that."""

    noun: str
    place: str
    names: tuple[str, ...]
    mend: str

    def __str__(self) -> str:
        return f"nothing reads {counted(len(self.names), self.noun)} {self.place} ('{self.names[0]}'); {self.mend}"


def unread_files(name: str, index: FileIndex, listed: Collection[str], kinds: str, mend: str) -> tuple[Unread, ...]:
    """Those of the subfolder `name` that have another extension, and those whose id is not listed."""
    others = Unread("file", f"of another kind than {kinds} in {name}/", index.others, mend)
    unlisted = index.unlisted(listed)
    lacking = [photo_id for photo_id in sorted(listed) if photo_id not in index]
    if renames := names_alike(lacking, [id_of(Path(name)) for name in unlisted]):
        meant = next(iter(renames.values()))
        list_them = told_renames(renames, next(Path(name).suffix for name in unlisted if id_of(Path(name)) == meant))
    else:
        list_them = _LIST_THEM
    return _some(others, Unread("file", f"of no listed id in {name}/", unlisted, list_them))


def unread_folders(root: Path, listed: Collection[str]) -> tuple[Unread, ...]:
    """Subfolders that hold pictures of listed photos, and have another name than those that are read."""
    folders = other_folders(root, ("images", "masks"), listed)
    return _some(Unread("folder", "of pictures of listed photos", folders, "masks are read from masks/"))


def unread_texts(root: Path, labelled: Collection[str], listed: Collection[str]) -> tuple[Unread, ...]:
    """Further `.txt` files beside the lists, and rows of labels.csv whose ids are not listed."""
    # labelmap.txt says what colours of masks mean: `seedbed data import-masks` reads it.
    texts = {path.name for path in root.glob("*.txt")} - {*LISTS, "classes.txt", "labelmap.txt"}
    rows = tuple(sorted(set(labelled) - set(listed)))
    others = Unread("file", "beside the lists", tuple(sorted(texts)), f"the lists are {', '.join(LISTS)}")
    return _some(others, Unread("row", "of labels.csv, of no listed id", rows, _LIST_THEM))


def _some(*every: Unread) -> tuple[Unread, ...]:
    return tuple(unread for unread in every if unread.names)
