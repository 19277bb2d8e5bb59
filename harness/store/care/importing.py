"""Import of an archive: artefact by artefact, each published whole and verified, or refused by name."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pyarrow as pa

from harness.store.care.archive import (
    CHUNK,
    Refused,
    content_of,
    foreign,
    place_of,
    printable,
    read_index,
    read_record,
    reading,
)
from harness.store.care.usage import Progress
from harness.store.layout import FolderPlaces, Ref
from harness.store.store import Attempt, Store
from settings.errors import UserError
from settings.files import MAX_DOCUMENT

__all__ = ["Imported", "Importer"]

UNREADABLE = (tarfile.TarError, pa.ArrowException, OSError, EOFError, ValueError, OverflowError)


@dataclass
class Imported:
    """How each artefact of an archive fared."""

    new: list[Ref] = field(default_factory=list)
    there: list[Ref] = field(default_factory=list)
    busy: list[Ref] = field(default_factory=list)
    """Left to the living process that is making them."""
    refused: dict[str, str] = field(default_factory=dict)
    """Name → reason."""


@dataclass
class _Incoming:
    """The artefact that is being read."""

    ref: Ref
    held: ExitStack = field(default_factory=ExitStack)
    attempt: Attempt | None = None
    files: dict[str, str] = field(default_factory=dict)
    """Files that its record names and that have not come yet, with their hashes."""
    verdict: str = ""
    """Why nothing more of it is read: it is there, busy, or refused with this reason."""


class Importer:
    """Takes an archive's members in their order; killed at any moment, it leaves whole artefacts and one attempt."""

    def __init__(self, store: Store, progress: Progress = lambda done, total: None) -> None:
        self._store, self._progress = store, progress
        self._expected: dict[Ref, str] = {}
        self._now: _Incoming | None = None
        self.outcome = Imported()

    def read(self, path: Path) -> Imported:
        """Import all that is whole; raises UserError for a file that is no archive of ours, and for a full disk."""
        reason, begun = "it is not whole in the archive", False
        try:
            with reading(path) as tar:
                self._expected, begun = read_index(tar, path), True
                self._store.create()
                while (member := tar.next()) is not None:
                    self._take(tar, member)
        except UNREADABLE as error:
            if not begun:
                raise foreign(path) from None
            reason = f"the archive breaks off before it is whole ({type(error).__name__})"
        finally:
            self._end(reason)
        for ref in self._expected:
            self.outcome.refused[str(ref)] = reason
        return self.outcome

    def _take(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        ref, name = place_of(member.name)
        if ref is None or ref not in self._expected:
            self.outcome.refused[printable(member.name)] = "a name that the archive's index does not know"
            return
        if self._now is None or self._now.ref != ref:
            self._end()
            self._now = _Incoming(ref)
        if self._now.verdict:
            return
        try:
            self._take_part(self._now, name, content_of(tar, member), member.size)
        except Refused as error:
            self._now.verdict = str(error)

    def _take_part(self, now: _Incoming, name: str, content: IO[bytes], size: int) -> None:
        if now.attempt is None:
            self._begin(now, name, content, size)
        elif name not in now.files:
            raise Refused(f"file '{printable(name)}', which its record does not name")
        elif self._write(now.attempt.path(name), content, size) != now.files.pop(name):
            raise Refused(f"file '{printable(name)}' is damaged")

    def _begin(self, now: _Incoming, name: str, content: IO[bytes], size: int) -> None:
        """The record decides what is to come; what is there already, or being made, is left as it is."""
        if name != FolderPlaces.RECORD or size > MAX_DOCUMENT:
            raise Refused("its record is missing")
        record = read_record(content.read(), now.ref, self._expected[now.ref])
        lease = self._store.lease(now.ref)
        with self._writing():
            if self._store.has(now.ref):
                now.verdict = "there"
            elif not lease.acquire():
                now.verdict = "busy"
            else:
                now.held.callback(lease.release)
                now.attempt = self._store.attempt(now.ref)
                now.attempt.record = record
                now.files = dict(record.files)

    def _write(self, path: Path, content: IO[bytes], size: int) -> str:
        if size > shutil.disk_usage(self._store.root).free:
            raise _no_room(self._store, f"no room for {size} bytes")
        digest = hashlib.sha256()
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("xb")
        with file:
            while chunk := content.read(CHUNK):
                digest.update(chunk)
                with self._writing():
                    file.write(chunk)
        return digest.hexdigest()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Tells a store that cannot be written from an archive that cannot be read."""
        try:
            yield
        except OSError as error:
            raise _no_room(self._store, str(error.strerror)) from None

    def _end(self, reason: str = "it is not whole in the archive") -> None:
        """Publish what has come whole; otherwise leave no trace of it."""
        now, self._now = self._now, None
        if now is None:
            return
        self._expected.pop(now.ref, None)
        with now.held:
            if now.verdict in ("there", "busy"):
                fared_alike = {"there": self.outcome.there, "busy": self.outcome.busy}
                fared_alike[now.verdict].append(now.ref)
            elif now.verdict or now.files or now.attempt is None:
                if now.attempt is not None:
                    self._store.discard(now.attempt)
                self.outcome.refused[str(now.ref)] = now.verdict or reason
            else:
                with self._writing():
                    self._store.publish(now.attempt)
                    self._store.clean_up(now.ref)
                self.outcome.new.append(now.ref)
        if now.attempt is not None:
            with suppress(OSError):  # only an empty folder goes: that of what did not arrive
                now.attempt.folder.parent.rmdir()
        outcome = self.outcome
        done = len(outcome.new) + len(outcome.there) + len(outcome.busy) + len(outcome.refused)
        self._progress(done, done + len(self._expected))


def _no_room(store: Store, found: str) -> UserError:
    return UserError(store.name, found, "a writable store with room", "mend that and import again: what came is kept")
