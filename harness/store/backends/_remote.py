"""Objects below a URL: few verbs, and every trouble with the other side is one kind of error."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

from harness.store.backends import _creation as creation
from harness.store.backends.urls import file_system, scrubbed, shown
from harness.store.layout import RemotePlaces


class RemoteError(OSError):
    """The other side does not answer, or refuses."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(None, reason, url)
        self.reason = reason

    def __reduce__(self) -> tuple[type[RemoteError], tuple[str, str]]:
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
        """An object's content."""
        with self._told():
            return creation.read(self._system, self._at(path))

    def read_all(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Many at once, where the backend can; those that are not there are left out."""
        wanted = list(paths)
        if not wanted:
            return {}
        with self._told():
            # Of fsspec's ways to read many, the one that asks for nothing else.
            places, alone = [self._at(path) for path in wanted], creation.reading(self._system)
            found = self._system.cat_ranges(places, None, None, on_error="return", **alone)
            contents = dict(zip(wanted, found, strict=True))
            absent = {path for path, content in contents.items() if isinstance(content, FileNotFoundError)}
            for error in (content for path, content in contents.items() if path not in absent):
                if isinstance(error, Exception):
                    raise error
        return {path: bytes(content) for path, content in contents.items() if path not in absent}

    def write(self, path: str, data: bytes) -> None:
        """Replace an object whole."""
        with self._told():
            creation.write(self._system, self._at(path), data)

    def create(self, path: str, data: bytes) -> bool:
        """Create an object; False where another one is there (see `creation` for what holds where)."""
        with self._told():
            return creation.create(self._system, self._at(path), data)

    def write_all(self, objects: Mapping[str, bytes]) -> None:
        """Replace many objects, at once where the backend can."""
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
        """Whether an object is there right now."""
        with self._told():
            return bool(self._system.exists(self._at(path)))

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of every object below a folder, by its path within; empty where there is none."""
        root = self._at(folder)
        try:
            with self._told():
                found = self._found(root)
        except FileNotFoundError:
            return {}
        paths = {str(PurePosixPath(name).relative_to(root)): int(info["size"] or 0) for name, info in found.items()}
        # Names that begin with a dot are files that are being written (only on file systems).
        return {path: size for path, size in sorted(paths.items()) if not PurePosixPath(path).name.startswith(".")}

    def _found(self, root: str) -> dict[str, Any]:
        if not creation.is_s3(self._system):
            return dict(self._system.find(root, detail=True))
        # The same objects; but for an empty folder s3fs asks twice more whether it is a file, unless there is a prefix.
        parent, _, name = root.rpartition("/")
        return dict(self._system.find(parent, prefix=f"{name}/", detail=True))

    def is_empty(self) -> bool:
        """Whether nothing is below the URL."""
        try:
            with self._told():
                return not any(True for _ in self._system.ls(self._root or "/", detail=False))
        except FileNotFoundError:
            return True

    def delete(self, path: str) -> None:
        """Remove an object, if it is there."""
        with suppress(FileNotFoundError), self._told():
            self._system.rm_file(self._at(path))

    def delete_folder(self, folder: str) -> None:
        """Remove all that lies below."""
        with suppress(FileNotFoundError), self._told():
            self._system.rm(self._at(folder), recursive=True)

    def age(self, path: str) -> float | None:
        """Seconds since an object was written, both by the other side's clock; None where it does not tell."""
        written = self._modified(path)
        return None if written is None else time.time() + self._ahead - written

    @cached_property
    def _ahead(self) -> float:
        """How many seconds its clock is ahead of ours: measured once, on an object of our own."""
        path, before = RemotePlaces.probe(uuid4().hex), time.time()
        self.write(path, b"what time is it")
        written, after = self._modified(path), time.time()
        self.delete(path)
        return 0.0 if written is None else written - (before + after) / 2

    def _modified(self, path: str) -> float | None:
        with self._told():
            try:
                written: Any = self._system.modified(self._at(path))
            except NotImplementedError:
                return None
        return float((written if written.tzinfo else written.replace(tzinfo=UTC)).timestamp())

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
