"""Creating an object only where there is none: what keeps two machines off one artefact.

What holds: S3 and other backends of the `pipe_file(mode="create")` kind decide it at the server; `file://` by a hard
link; `memory://` under a lock of this process. Any other backend is asked, written and read back: two that write
within the same moment may both believe that they won. Then work is done twice, and no result is wrong: artefacts of
one key are equal.
"""

from __future__ import annotations

import errno
import inspect
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from settings.files import create_exclusively, write_bytes

TRIES = 4
MEMORY = threading.Lock()


class FileSystem(Protocol):
    """The verbs of fsspec that a store behind a URL needs; paths are those within the file system.

    fsspec itself has no types. What raises FileNotFoundError, and what else, differs from backend to backend.
    """

    protocol: str | tuple[str, ...]

    def cat_file(self, path: str, **options: int) -> bytes: ...
    def cat_ranges(
        self, paths: list[str], starts: None, ends: None, *, on_error: str, **options: int
    ) -> list[bytes | Exception]: ...
    def pipe(self, path: Mapping[str, bytes]) -> object: ...
    def pipe_file(self, path: str, value: bytes, *, mode: str = ...) -> object: ...
    def put(self, lpath: Sequence[str], rpath: Sequence[str]) -> object: ...
    def get(self, rpath: Sequence[str], lpath: Sequence[str]) -> object: ...
    def exists(self, path: str) -> bool: ...
    def find(self, path: str, *, detail: bool, prefix: str = ...) -> Mapping[str, Mapping[str, object]]: ...
    def ls(self, path: str, *, detail: bool) -> Sequence[object]: ...
    def rm_file(self, path: str) -> object: ...
    def rm(self, path: str, *, recursive: bool) -> object: ...
    def modified(self, path: str) -> datetime: ...


def create(system: FileSystem, path: str, data: bytes) -> bool:
    """Create the object; False where another one is there, True where the one that is there says the same.

    Raises what the file system raised where it refuses for another reason than an object that is there.
    """
    for again in range(TRIES):
        try:
            _create(system, path, data)
            return True
        except FileExistsError:
            refusal = None
        except OSError as error:  # servers word a refused condition differently
            refusal = error
        # Looked at even when refused: an answer that was lost on its way makes the client ask twice, and the second
        # time it finds its own object.
        try:
            return read(system, path) == data
        except FileNotFoundError:
            if refusal is not None and (refusal.errno != errno.EBUSY or again == TRIES - 1):
                raise refusal from None
        # Two at once ("409, try again"), or it was removed between the refusal and the look.
        time.sleep(0.1 * again)
    return False


def read(system: FileSystem, path: str) -> bytes:
    """An object's content, in one request; raises FileNotFoundError, or what the file system raises."""
    return bytes(system.cat_file(path, **reading(system)))


def reading(system: FileSystem) -> dict[str, int]:
    """Options of reading that make the file system ask once for a small object."""
    if is_s3(system):
        # Otherwise s3fs asks for the object's length first, to cut it into pieces that it fetches side by side.
        return {"max_concurrency": 1}
    return {}


def write(system: FileSystem, path: str, data: bytes) -> None:
    """Replace an object, in one step where the backend can: objects of a store are, files by renaming."""
    if is_local(system):
        # fsspec opens the file itself and writes: a reader could see half of it.
        write_bytes(Path(path), data)
    else:
        system.pipe_file(path, data)


def is_local(system: FileSystem) -> bool:
    """Whether it is this machine's file system, or one that is mounted here: paths are paths of `pathlib` then."""
    return "file" in _protocols(system)


def is_s3(system: FileSystem) -> bool:
    """Whether it is s3fs, of which some requests can be spared by options that no other file system knows."""
    return "s3" in _protocols(system)


def _create(system: FileSystem, path: str, data: bytes) -> None:
    if is_local(system):
        if not create_exclusively(Path(path), data):
            raise FileExistsError(path)
    elif "memory" in _protocols(system):
        # It looks and writes in two steps, between which another thread of this process may write.
        with MEMORY:
            system.pipe_file(path, data, mode="create")
    elif _decides_itself(system):
        system.pipe_file(path, data, mode="create")
    elif system.exists(path):
        raise FileExistsError(path)
    else:
        system.pipe_file(path, data)
        if read(system, path) != data:
            raise FileExistsError(path)


def _decides_itself(system: FileSystem) -> bool:
    # Every file system takes mode="create", but the one that fsspec gives to all looks and then writes. A backend that
    # has its server decide takes the mode in its own asynchronous `_pipe_file`.
    own = getattr(system, "_pipe_file", None)
    return own is not None and "mode" in inspect.signature(own).parameters


def _protocols(system: FileSystem) -> tuple[str, ...]:
    if isinstance(system.protocol, str):
        return (system.protocol,)
    return tuple(system.protocol)
