"""Files found by photo id: no path is ever built from an id, so that no id can lead out of the folder."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from settings.errors import UserError, kind_of
from settings.photo_ids import composed, file_of, files_below, id_of
from settings.stems import alike

__all__ = ["FileIndex", "check_inside"]


LEFT_BY_SYSTEMS = ("Thumbs.db", "desktop.ini")


class FileIndex:
    """The files `<id><extension>` below a subfolder, whatever the case of their extensions; read once."""

    def __init__(self, root: Path, name: str, extensions: tuple[str, ...], follow_links: bool) -> None:
        self._root, self._folder, self._follow = root, root / name, follow_links
        self._expected = " or ".join(filter(None, [", ".join(extensions[:-1]), extensions[-1]]))
        if not follow_links:
            check_inside(self._folder, root)
        self._names: dict[str, list[str]] = defaultdict(list)
        self._others: list[str] = []
        for path in files_below(self._folder, follow_links):
            if path.suffix.lower() in extensions:
                self._names[composed(id_of(path))].append(path.as_posix())
            else:
                self._others.append(path.as_posix())

    def __contains__(self, photo_id: object) -> bool:
        return isinstance(photo_id, str) and composed(photo_id) in self._names

    @property
    def others(self) -> tuple[str, ...]:
        """The files of other extensions, by their paths within the subfolder, less those that systems leave there."""
        return tuple(name for name in self._others if Path(name).name not in LEFT_BY_SYSTEMS)

    def unlisted(self, listed: Iterable[str]) -> tuple[str, ...]:
        """The paths within the subfolder of files whose photo is not among `listed`."""
        known = frozenset(map(composed, listed))
        stray = (names for photo_id, names in self._names.items() if photo_id not in known)
        return tuple(sorted(name for names in stray for name in names))

    def path(self, photo_id: str) -> Path:
        """The one file of a photo; raises UserError for none, two, something else than a file, and a link outside."""
        names = self._names.get(composed(photo_id))
        if names is None:
            raise self._missing(photo_id)
        if len(names) > 1:
            raise UserError(self._folder, f"{' and '.join(sorted(names))}", f"one file for photo '{photo_id}'")
        path = self._folder / names[0]
        if not path.is_file():
            raise UserError(path, kind_of(path), f"a {self._expected} file")
        if path.is_symlink() and not self._follow:
            check_inside(path, self._root)
        return path

    def _missing(self, photo_id: str) -> UserError:
        where = file_of(self._folder, photo_id, self._expected.split(",")[0].split(" ")[0])
        expected = f"a {self._expected} file for photo '{photo_id}'"
        return UserError(where, "no such file", expected, self._mend(photo_id))

    def _mend(self, photo_id: str) -> str:
        if others := [name for name in self._others if id_of(Path(name)) == photo_id]:
            return f"convert {others[-1]}"
        if link := self._link_above(photo_id):
            return f"{link} is a link: copy what it leads to, or set follow_links=true"
        same = alike(photo_id, self._names)
        if same.endswith(f"/{photo_id}") or photo_id.endswith(f"/{same}"):
            return f"is it '{self._names[same][0]}'? Then move it, or list the id '{same}'"
        if same.casefold() == photo_id.casefold() and same:
            return f"did you mean '{same}'?"
        return f"is it '{self._names[same][0]}'? Then rename it" if same else ""

    def _link_above(self, photo_id: str) -> Path | None:
        """The first link on the way to a photo's file that was not followed."""
        folder = self._folder
        for part in photo_id.split("/")[:-1]:
            folder /= part
            if folder.is_symlink() and not self._follow:
                return folder
        return None


def check_inside(path: Path, root: Path) -> None:
    """Raise UserError for a symbolic link that leads out of `root`; what does not exist passes."""
    try:
        real = path.resolve()
    except (OSError, RuntimeError) as error:
        raise UserError(path, f"a link that leads nowhere ({error})", f"a file inside {root}") from None
    if not real.is_relative_to(root.resolve()):
        mend = "copy it, or set follow_links=true"
        raise UserError(path, f"a link to '{real}'", f"a file inside {root}", mend)
