"""Photo ids, and the files that stand for them: the one place where an id becomes a path, and a path an id.

An id is the path of a photo below its folder, with slashes and without extension: `p01`, `city_a/img 01`. All that is
about the photo is named by it: `images/city_a/img 01.jpg`, `masks/city_a/img 01.png`.
"""

import os
import re
import unicodedata
from collections.abc import Container, Iterable
from pathlib import Path, PurePath

from settings.errors import UserError

__all__ = [
    "ALLOWED",
    "FILE_ENDING",
    "composed",
    "file_of",
    "files_below",
    "id_of",
    "id_of_path",
    "is_photo_id",
    "photo_stem",
    "twins",
    "without_extension",
]

ALLOWED = "letters, digits, blanks and _-.()+@=, with '/' after folders"
"""What ids consist of, for messages."""
_PART = re.compile(r"\w([\w .()+@=-]*[\w.()+@=-])?")
FILE_ENDING = r"\.(jpe?g|png|bmp|tiff?|webp|npy|npz)"
"""A pattern of what files of photos, masks and maps end in, in lower case."""
_EXTENSION = re.compile(rf"{FILE_ENDING}$", re.IGNORECASE)


def composed(name: str) -> str:
    """The name with accented letters as single characters: file systems and lists write them in two forms."""
    return unicodedata.normalize("NFC", name)


def is_photo_id(text: str) -> bool:
    """Whether a text may be an id: then its files lie below their folder, and in the place of no other id's file."""
    *folders, name = text.split("/")
    # A folder `a.png` would lie where the mask of photo `a` does.
    if any(_EXTENSION.search(folder) for folder in folders):
        return False
    return all(_PART.fullmatch(part) for part in (*folders, name))


def twins(ids: Iterable[str]) -> tuple[str, str] | None:
    """The first two ids whose files would be one on some file system, since case or Unicode form alone differs."""
    first: dict[str, str] = {}
    for photo_id in ids:
        other = first.setdefault(composed(photo_id).casefold(), photo_id)
        if other != photo_id:
            return other, photo_id
    return None


def id_of(file: PurePath) -> str:
    """The id that a file stands for, by its path relative to the folder of such files."""
    return (file.parent / file.stem).as_posix()


def file_of(folder: Path, photo_id: str, suffix: str = "") -> Path:
    """`<folder>/<id><suffix>`, whether it is there or not; raises UserError for an id that leads out of the folder."""
    *folders, name = photo_id.split("/")
    is_inside = all(part.strip(".") for part in (*folders, name))
    if not is_inside or "\\" in photo_id or "\0" in photo_id:
        raise UserError(folder, f"photo {photo_id!r}", "an id that names a file inside the folder")
    return folder.joinpath(*folders, name + suffix)


def files_below(folder: Path, follow_links: bool = False) -> list[Path]:
    """All files of a folder and its subfolders, relative to it, sorted; a missing folder has none.

    Hidden ones are left out, which systems leave everywhere. A folder that is called like a picture is listed as a
    file; so is a link to a folder, unless links are followed. Raises UserError for a folder that cannot be read.
    """
    found: list[Path] = []
    # Not by pathlib, which looks at each file by itself: a data set may have a hundred thousand.
    for place, folders, files in os.walk(folder, onerror=_refuse, followlinks=follow_links):
        here = Path(place)
        closed = [name for name in folders if _EXTENSION.search(name)]
        if not follow_links:
            closed += [name for name in folders if (here / name).is_symlink() and name not in closed]
        # In place: what is left is what the walk goes into. A link that leads back would lead there for ever.
        folders[:] = [name for name in folders if name[0] != "." and name not in closed and not _leads_back(here, name)]
        within = here.relative_to(folder)
        found += [within / name for name in (*files, *closed) if name[0] != "."]
    return sorted(found, key=PurePath.as_posix)


def _leads_back(folder: Path, name: str) -> bool:
    """Whether a link in a folder leads to that folder or to one of those above it, by whatever way it was reached."""
    link = folder / name
    if not link.is_symlink():
        return False
    target = link.resolve()
    return any(above.resolve().is_relative_to(target) for above in (folder, *folder.parents))


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        found = f"an unreadable folder ({error.strerror})"
        raise UserError(error.filename, found, "a folder of files named by photo id") from None


def without_extension(name: str) -> str:
    """A name or path without the extension of a picture, or of an array; others are part of the name."""
    return _EXTENSION.sub("", name)


def photo_stem(name: str) -> str:
    """The last part of a path, without the extension of a picture: its photo, where photos lie in one folder."""
    return without_extension(re.split(r"[/\\]", name)[-1])


def id_of_path(path: str, known: Container[str]) -> str:
    """The photo that a path in another program's list means: the longest end of the path that is a known id.

    Slashes may be backslashes; the extension of a picture is left off. Where no end is known, it is the stem.
    """
    parts = re.split(r"[/\\]", without_extension(path))
    ends = ("/".join(parts[first:]) for first in range(len(parts)))
    return next((end for end in ends if end in known), parts[-1])
