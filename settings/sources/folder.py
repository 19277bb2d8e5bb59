"""A `folder` data set as extra photos: those of train and dev with exactly one label among the target's classes.

Its classes are mapped to the target's; its other classes do not count (where cars are no class, a cat beside
a car is a cat). Its val photos stay out, since somebody scores on them; its masks are never looked at.
"""

from typing import Any

from pydantic import Field

from settings.aliases import Aliases
from settings.config import existing_folder
from settings.datasets.folder import Folder, FolderOptions
from settings.errors import UserError
from settings.extra_ids import extra_id
from settings.options import AbsolutePath, Options
from settings.records import LabelSpace, Photo
from settings.source import ExtraSource, Kind

__all__ = ["FolderPhotos", "FolderPhotosOptions"]


class FolderPhotosOptions(Options):
    """Where the data set lies."""

    root: AbsolutePath = Field(description="the folder that holds classes.txt, labels.csv, the lists and images/")
    follow_links: bool = Field(False, description="read files that symbolic links name outside the folder")


class FolderPhotos(ExtraSource):
    """Photos of a `folder` data set; `place` is the photo's id there."""

    options_model = FolderPhotosOptions
    options: FolderPhotosOptions

    def photos(self, kind: Kind, space: LabelSpace, aliases: Aliases) -> tuple[Photo, ...]:
        """The photos with one label.

        Raises UserError as the data set does for its files, and where no photo has exactly one label.
        """
        dataset = self._dataset()
        meant = _class_ids(dataset.label_space, space, aliases)
        photos: list[Photo] = []
        for photo_id in dataset.training_ids:
            photo = dataset.photo(photo_id)
            labels = {meant[label] for label in photo.labels if label in meant}
            if len(labels) == 1:
                photos.append(_extra(photo, kind, labels.pop(), space))
        if not photos:
            expected = f"photos of train or dev with one label among {', '.join(space.names)}"
            raise UserError(self.options.root, "no photo with one label", expected)
        return tuple(sorted(photos, key=lambda photo: photo.id))

    def identity(self) -> dict[str, Any]:
        """The layout's name and version; labels and pixels are identified photo by photo."""
        return {"name": "folder", "version": self.version}

    def _dataset(self) -> Folder:
        # Never kept: it reads masks, which must not be within reach of a setting's photos.
        root, follow_links = self.options.root, self.options.follow_links
        if existing_folder(root) is None:
            raise UserError(root, "no folder", "a folder that holds classes.txt and images/")
        return Folder(FolderOptions(root=root, name="extra", follow_links=follow_links))


def _class_ids(own: LabelSpace, space: LabelSpace, aliases: Aliases) -> dict[int, int]:
    """The target's class ids by the data set's own, for the classes that mean one."""
    found = {class_id: aliases.find(name, space) for class_id, name in enumerate(own.names)}
    return {own_id: class_id for own_id, class_id in found.items() if class_id is not None}


def _extra(photo: Photo, kind: Kind, class_id: int, space: LabelSpace) -> Photo:
    name = space.names[class_id]
    photo_id = extra_id(kind, name, photo.id, f"{name}/{photo.id}.jpg")
    return Photo(photo_id, (class_id,), photo.content, photo.load, kind, photo.id, photo.file)
