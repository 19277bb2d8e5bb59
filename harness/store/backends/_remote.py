"""Objects below a URL: few verbs, and every trouble with the other side is one kind of error."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC
from functools import cached_property
from pathlib import Path, PurePosixPath
from uuid import uuid4

from harness.store.backends import _creation as creation
from harness.store.backends.urls import file_system, scrubbed, shown
from harness.store.layout import RemotePlaces


class RemoteError(OSError):
    """The other side does not answer, or refuses: whatever its file system raised, in one line and without secrets."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(None, reason, url)
        self.reason = reason

    def __reduce__(self) -> tuple[type[RemoteError], tuple[str, str]]:
        # Pickled on the way from a worker to the driver; OSError's own way would call `__init__` with three arguments.
        return type(self), (str(self.filename), self.reason)

    def __str__(self) -> str:
        return self.reason


class Remote:
    """Objects by their path below a URL; what is not there raises FileNotFoundError, any other trouble RemoteError."""

    def __init__(self, url: str) -> None:
        self.name = shown(url)
        self._url = url
        self._system, self._root = file_system(url)

    def read(self, path: str) -> bytes:
        """An object's content as it is now; raises FileNotFoundError where there is none."""
        with self._told():
            return creation.read(self._system, self._at(path))

    def read_all(self, paths: Iterable[str]) -> dict[str, bytes]:
        """The contents of many objects, read at once where the backend can; those that are not there are left out."""
        wanted = list(paths)
        if not wanted:
            return {}
        contents: dict[str, bytes] = {}
        with self._told():
            places = [self._at(path) for path in wanted]
            alone = creation.reading(self._system)
            # Of fsspec's ways to read many, the one that asks for nothing else.
            found = self._system.cat_ranges(places, None, None, on_error="return", **alone)
            for path, content in zip(wanted, found, strict=True):
                if isinstance(content, FileNotFoundError):
                    continue
                if isinstance(content, Exception):
                    raise content
                contents[path] = bytes(content)
        return contents

    def write(self, path: str, data: bytes) -> None:
        """Replace an object: readers see what was there before, or all of `data`, where the backend can do that."""
        with self._told():
            creation.write(self._system, self._at(path), data)

    def create(self, path: str, data: bytes) -> bool:
        """Create an object; False where another one is there (see `creation` for what holds where)."""
        with self._told():
            return creation.create(self._system, self._at(path), data)

    def write_all(self, objects: Mapping[str, bytes]) -> None:
        """Replace many objects, at once where the backend can."""
        # Together, fsspec would write local files in place, and not whole.
        if creation.is_local(self._system) or len(objects) == 1:
            for path, data in objects.items():
                self.write(path, data)
        elif objects:
            with self._told():
                self._system.pipe({self._at(path): data for path, data in objects.items()})

    def upload(self, files: Mapping[str, Path]) -> None:
        """Local files to their paths, many at once where the backend can; not in one step."""
        if files:
            with self._told():
                self._system.put([str(path) for path in files.values()], [self._at(path) for path in files])

    def download(self, files: Mapping[str, Path]) -> None:
        """Objects to local files, many at once where the backend can; the files' folders are made."""
        for path in files.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        if files:
            with self._told():
                self._system.get([self._at(path) for path in files], [str(path) for path in files.values()])

    def exists(self, path: str) -> bool:
        """Whether an object is there right now; it is read, so one of a few bytes."""
        # Some backends (fsspec's for http) say that nothing is there where no server answers.
        try:
            self.read(path)
        except FileNotFoundError:
            return False
        return True

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of every object below a folder, by its path within; empty where there is none."""
        root = self._at(folder)
        try:
            with self._told():
                found = self._found_below(root)
        except FileNotFoundError:
            return {}
        sizes: dict[str, int] = {}
        for name, info in sorted(found.items()):
            path = PurePosixPath(name).relative_to(root)
            # Names that begin with a dot are files that are being written (only on file systems). Copies of objects
            # get the objects' names: none may lead out of the folder that they are copied to.
            if not path.name.startswith(".") and ".." not in path.parts:
                size = info["size"]
                if not isinstance(size, int):
                    size = 0  # some backends do not tell, and say None
                sizes[str(path)] = size
        return sizes

    def _found_below(self, root: str) -> Mapping[str, Mapping[str, object]]:
        if not creation.is_s3(self._system):
            return self._system.find(root, detail=True)
        # The same objects; but for an empty folder s3fs asks twice more whether it is a file, unless there is a prefix.
        parent, _, name = root.rpartition("/")
        return self._system.find(parent, prefix=f"{name}/", detail=True)

    def is_empty(self) -> bool:
        """Whether nothing at all is below the URL, so that a store may be made there."""
        try:
            with self._told():
                return not self._system.ls(self._root or "/", detail=False)
        except FileNotFoundError:
            return True

    def delete(self, path: str) -> None:
        """Remove an object; nothing happens where it is not there, or not any more."""
        with suppress(FileNotFoundError), self._told():
            self._system.rm_file(self._at(path))

    def delete_folder(self, folder: str) -> None:
        """Remove all objects below a folder; nothing happens where there is none."""
        with suppress(FileNotFoundError), self._told():
            self._system.rm(self._at(folder), recursive=True)

    def age(self, path: str) -> float | None:
        """Seconds since an object was written, both by the other side's clock; None where it does not tell."""
        written = self._modified(path)
        if written is None:
            return None
        return time.time() + self._ahead - written

    @cached_property
    def _ahead(self) -> float:
        """How many seconds its clock is ahead of ours: measured once, on an object of our own."""
        path = RemotePlaces.probe(uuid4().hex)
        before = time.time()
        self.write(path, b"what time is it")
        written = self._modified(path)
        after = time.time()
        self.delete(path)
        if written is None:
            return 0.0
        return written - (before + after) / 2

    def _modified(self, path: str) -> float | None:
        with self._told():
            try:
                written = self._system.modified(self._at(path))
            except NotImplementedError:
                return None
        if written.tzinfo is None:
            # Backends that name no time zone mean UTC.
            written = written.replace(tzinfo=UTC)
        return written.timestamp()

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, RemoteError):
            raise
        except Exception as error:  # each backend has errors of its own
            reason = scrubbed(str(error), self._url) or type(error).__name__
            raise RemoteError(self.name, reason) from error
