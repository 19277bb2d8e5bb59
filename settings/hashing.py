"""File hashes that are computed once: cached by path, size, modification time and inode."""

import errno
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from settings.caching import CachedTable
from settings.errors import UserError
from settings.files import sha256_of

__all__ = ["HashCache", "cache_folder", "content_of", "shared_cache"]

TABLE = "hashes (path TEXT PRIMARY KEY, stat TEXT, sha256 TEXT)"


def cache_folder() -> Path:
    """Where Seedbed keeps what it can make again: $SEEDBED_CACHE, else ~/.cache/seedbed."""
    return Path(os.environ.get("SEEDBED_CACHE") or Path.home() / ".cache" / "seedbed")


class HashCache:
    """sha256 of files; a hash is computed again only when the file's size, time or inode changed."""

    def __init__(self, database: Path) -> None:
        self._table = CachedTable(database, TABLE)
        self._expected: dict[str, tuple[str, str]] = {}

    def expect(self, paths: Iterable[Path]) -> None:
        """Say of which files the hashes will be asked for: they are looked up together.

        Whether a file changed is seen when its own hash is asked for.
        """
        self._expected = self._table.entries([str(path.absolute()) for path in paths])

    def sha256(self, path: Path) -> str:
        """The file's sha256 in hexadecimal; raises OSError where it cannot be read."""
        name, stat = _identity(path)
        expected, digest = self._expected.pop(name, ("", ""))
        if expected == stat:
            return digest
        if known := self._known(name, stat):
            return known
        digest = sha256_of(path)
        # The identity from before reading: a file that changed meanwhile is read again next time.
        self._keep(name, stat, digest)
        return digest

    def remember(self, path: Path, digest: str) -> None:
        """Note a hash that the caller has computed itself."""
        self._keep(*_identity(path), digest)

    def _known(self, name: str, stat: str) -> str | None:
        found = self._table.execute("SELECT sha256 FROM hashes WHERE path = ? AND stat = ?", (name, stat))
        return str(found[0][0]) if found else None

    def _keep(self, name: str, stat: str, digest: str) -> None:
        self._expected.pop(name, None)
        self._table.execute("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?)", (name, stat, digest))


def _identity(path: Path) -> tuple[str, str]:
    try:
        stat = path.stat()
    except ValueError:
        raise OSError(errno.EINVAL, "a name with a null byte", str(path)) from None
    return str(path.absolute()), f"{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}"


@cache
def shared_cache() -> HashCache:
    """This process's cache, in `cache_folder()`."""
    return HashCache(cache_folder() / "hashes.sqlite")


def content_of(path: Path) -> str:
    """The sha256 of a file that a suite or a data set names, cached; raises UserError where it cannot be read."""
    try:
        return shared_cache().sha256(path)
    except OSError as error:
        raise UserError(path, f"an unreadable file ({error.strerror})", "a file that can be read") from None
