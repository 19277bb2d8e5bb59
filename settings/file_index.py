"""Files found by photo id: no path is ever built from an id, so that no id can lead out of the folder."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from settings.errors import UserError, kind_of
from settings.stems import alike, composed

__all__ = ["FileIndex", "check_inside"]


LEFT_BY_SYSTEMS = ("Thumbs.db", "desktop.ini")


class FileIndex:
    """The files `<id><extension>` of a subfolder, whatever the case of their extensions; read once."""

    def __init__(self, root: Path, name: str, extensions: tuple[str, ...], follow_links: bool) -> None:
        self._root, self._folder, self._follow = root, root / name, follow_links
        self._expected = " or ".join(filter(None, [", ".join(extensions[:-1]), extensions[-1]]))
        if not follow_links:
            check_inside(self._folder, root)
        self._names: dict[str, list[str]] = defaultdict(list)
        self._others: list[str] = []
        for path in _files_in(self._folder):
            if path.suffix.lower() in extensions:
                self._names[composed(path.stem)].append(path.name)
            else:
                self._others.append(path.name)

    def __contains__(self, photo_id: str) -> bool:
        return composed(photo_id) in self._names

    @property
    def others(self) -> tuple[str, ...]:
        """The names of files of other extensions; those that systems leave everywhere do not count."""
        return tuple(name for name in self._others if not name.startswith(".") and name not in LEFT_BY_SYSTEMS)

    def unlisted(self, listed: Iterable[str]) -> tuple[str, ...]:
        """The names of files whose photo is not among `listed`."""
        known = frozenset(map(composed, listed))
        stray = (names for photo_id, names in self._names.items() if photo_id not in known)
        return tuple(sorted(name for names in stray for name in names if not name.startswith(".")))

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
        where = self._folder / (photo_id + self._expected.split(",")[0].split(" ")[0])
        expected = f"a {self._expected} file for photo '{photo_id}'"
        return UserError(where, "no such file", expected, self._mend(photo_id))

    def _mend(self, photo_id: str) -> str:
        if others := [name for name in self._others if Path(name).stem == photo_id]:
            return f"convert {others[-1]}"
        if Path(photo_id).stem in self._names:
            return "write ids without the file's extension"
        same = alike(photo_id, self._names)
        if same.casefold() == photo_id.casefold() and same:
            return f"did you mean '{same}'?"
        return f"is it '{self._names[same][0]}'? Then rename it" if same else ""


def check_inside(path: Path, root: Path) -> None:
    """Raise UserError for a symbolic link that leads out of `root`; what does not exist passes."""
    try:
        real = path.resolve()
    except (OSError, RuntimeError) as error:
        raise UserError(path, f"a link that leads nowhere ({error})", f"a file inside {root}") from None
    if not real.is_relative_to(root.resolve()):
        mend = "copy it, or set follow_links=true"
        raise UserError(path, f"a link to '{real}'", f"a file inside {root}", mend)


def _files_in(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(
            folder, f"an unreadable folder ({error.strerror})", "a folder of files named by photo id"
        ) from None
