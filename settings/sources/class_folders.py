"""A folder for each class, as collections and crawlers leave them: `<root>/<class>/<file>`.

Photos are the JPEG and PNG files by their names; hidden files and folders do not count. What else lies about
(texts, videos, folders in folders, links that lead nowhere) is passed over and told by `passed_over`. Folders that mean
one class are joined; a folder with any other name is a mistake, so that a misspelt class is not lost in silence.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from settings.aliases import Aliases
from settings.errors import UserError, unknown_name
from settings.extra_ids import extra_id
from settings.file_index import check_inside
from settings.hashing import content_of
from settings.images import read_photo
from settings.options import AbsolutePath, Options
from settings.records import LabelSpace, Photo
from settings.source import ExtraSource, Kind

__all__ = ["ClassFolders", "ClassFoldersOptions"]

PHOTOS = (".jpg", ".jpeg", ".png")
EXPECTED = "a folder that holds a folder of photos for each class"


class ClassFoldersOptions(Options):
    """Where the tree lies, and which of its folders are left out."""

    root: AbsolutePath = Field(description="the folder that holds a folder for each class")
    skip: tuple[str, ...] = Field((), description="folders that are left out")
    follow_links: bool = Field(False, description="read files that symbolic links name outside the folder")


class ClassFolders(ExtraSource):
    """Photos by class: `place` is `<folder>/<stem>`; what they really show is not known."""

    options_model = ClassFoldersOptions
    options: ClassFoldersOptions

    def photos(self, kind: Kind, space: LabelSpace, aliases: Aliases) -> tuple[Photo, ...]:
        """The photos of all folders.

        Raises UserError for a missing tree or one without photos, a folder whose name is no class's (with the nearest
        one), a missing folder among the skipped ones, and links that leave the tree.
        """
        photos: list[Photo] = []
        for folder in self._folders():
            otherwise = f"or leave it out by skip: [{folder.name}]"
            class_id = aliases.class_id(folder.name, space, folder, otherwise)
            photos += (self._photo(path, kind, class_id, space) for path in self._files(folder))
        if not photos:
            raise UserError(self.options.root, "no photo", f"{EXPECTED} ({', '.join(PHOTOS)})")
        return tuple(sorted(photos, key=lambda photo: photo.id))

    def passed_over(self) -> tuple[str, ...]:
        """The files of other kinds that lie in the tree, by their names relative to the root."""
        within = (entry for folder in self._folders() for entry in _entries(folder) if not _is_photo(entry))
        beside = (entry for entry in _entries(self.options.root) if not entry.is_dir())
        return tuple(sorted(str(entry.relative_to(self.options.root)) for entry in (*beside, *within)))

    def identity(self) -> dict[str, Any]:
        """The layout's name and version; labels and pixels are identified photo by photo."""
        return {"name": "class_folders", "version": self.version}

    def _photo(self, path: Path, kind: Kind, class_id: int, space: LabelSpace) -> Photo:
        folder = path.parent.name
        photo_id = extra_id(kind, space.names[class_id], path.stem, f"{folder}/{path.name}")
        content = content_of(path)
        load = partial(read_photo, path, content)
        return Photo(photo_id, (class_id,), content, load, kind, f"{folder}/{path.stem}", path)

    def _folders(self) -> list[Path]:
        """The folders of classes; raises UserError for a missing tree and for skipped folders that are not there."""
        folders = [entry for entry in _entries(self.options.root) if entry.is_dir()]
        names = [folder.name for folder in folders]
        for name in self.options.skip:
            if name not in names:
                raise unknown_name("skip", "folder", name, names)
        return [folder for folder in folders if folder.name not in self.options.skip]

    def _files(self, folder: Path) -> Iterator[Path]:
        """The folder's photos; raises UserError for a link that leaves the tree."""
        for path in (folder, *filter(_is_photo, _entries(folder))):
            if path.is_symlink() and not self.options.follow_links:
                check_inside(path, self.options.root)
            if path != folder:
                yield path


def _entries(folder: Path) -> list[Path]:
    """What is in a folder and not hidden, by name."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(folder, f"an unreadable folder ({reason})", EXPECTED) from None


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in PHOTOS and path.is_file()
