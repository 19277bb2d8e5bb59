"""Files that appear whole or not at all, and the sha256 of a file: for every package, so that nobody writes his own."""

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG
from uuid import uuid4

from settings.errors import kind_of

__all__ = [
    "MAX_DOCUMENT",
    "create_exclusively",
    "read_plain",
    "replaced",
    "sha256_of",
    "sync_files",
    "write_bytes",
    "write_json",
]

MAX_DOCUMENT = 1 << 24
"""So many bytes has no record, and no description of a stage; read as JSON, they may take 25 times as many."""
SYNCS = 8
"""How many files a disk is asked at once to write for good: it does so for all of them in one go."""


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes `path`'s place when the block ends, and is removed when that fails.

    Its name begins with a dot, so that a file that a kill left is not taken for one that is whole.
    """
    partial = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file in one step; its folder is made where it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as partial:
        partial.write_bytes(content)


def write_json(path: Path, content: object) -> None:
    """Replace a JSON file in one step."""
    with replaced(path) as partial:
        partial.write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")


def create_exclusively(path: Path, content: bytes) -> bool:
    """Create a file whole and for good; False, and nothing is changed, where one is there already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a renaming, fails where the name is taken: of several writers one succeeds.
        os.link(partial, path)
    except FileExistsError:
        return False
    finally:
        partial.unlink(missing_ok=True)
    return True


def sync_files(paths: Iterable[Path]) -> None:
    """Have files written to disk for good; raises OSError where that fails for one of them."""
    # By threads, which do nothing but wait: one after the other, dozens of small files take a disk a fifth of a second.
    with ThreadPoolExecutor(SYNCS) as pool:
        for _ in pool.map(_sync, paths):
            pass


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def read_plain(path: Path | str, most: int = MAX_DOCUMENT) -> bytes:
    """The content of a plain file of at most so many bytes.

    Raises OSError for a longer one, and for a link, a pipe or a device: what they lead to may be anybody's, and of any
    length.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        stat = os.fstat(file.fileno())
        if not S_ISREG(stat.st_mode):
            raise OSError(errno.EINVAL, "no plain file", str(path))
        if stat.st_size > most:
            raise OSError(errno.EFBIG, f"{stat.st_size} bytes, more than {most}", str(path))
        return file.read()


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content in hexadecimal; raises OSError for a pipe, which would be waited for for ever."""
    if not S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, kind_of(path), str(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
