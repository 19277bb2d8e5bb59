"""The content-addressed store: an artefact is published in one step, or it does not exist.

An attempt's files are written into a folder of their own; the artefact's record, created exclusively as the last step,
names the attempt that counts, with the sha256 of each of its files. Whoever comes second discards. Where the store
lies is the business of its backend; `layout` names the places.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from harness.store.backends._folder import Folder
from harness.store.backends.backend import Backend, Entry, Slot
from harness.store.backends.urls import is_url
from harness.store.events import EventLog, EventReader
from harness.store.layout import (
    ATTEMPT,
    DAMAGED,
    FAILURES,
    LEADERBOARDS,
    FolderPlaces,
    Ref,
    document_of,
    run_log,
)
from harness.store.lease import Lease
from harness.store.record import Absent, Damaged, Lost, Record
from settings.errors import UserError
from settings.files import sha256_of
from settings.hashing import shared_cache

__all__ = ["Absent", "Artefact", "Attempt", "Damaged", "Lost", "Record", "Store"]


@dataclass(frozen=True)
class Artefact:
    """A published artefact: its folder of files, and its record."""

    ref: Ref
    folder: Path
    record: Record

    @property
    def kind(self) -> str:
        """The name of its kind of stage."""
        return self.ref.kind

    def path(self, name: str) -> Path:
        """One of its files."""
        return self.folder / name


@dataclass
class Attempt:
    """A folder that is being filled; what is worth keeping beside the files goes into `record`."""

    ref: Ref
    folder: Path
    record: Record

    @classmethod
    def into(cls, ref: Ref, folder: Path) -> Attempt:
        """An attempt that fills this folder, with a record that says no more than that."""
        return cls(ref, folder, Record(ref.kind, ref.key, folder.name, {}))

    def path(self, name: str) -> Path:
        """Where one of its files is to be written."""
        return self.folder / name


class Store:
    """Artefacts by kind and key, and the documents beside them, in one place that several processes may share."""

    def __init__(self, root: Path, backend: Backend | None = None) -> None:
        self.root = root
        """The folder in which artefacts are opened: the store's own, or the cache in front of a URL."""
        self._backend = backend or Folder(root)
        self._hashes = shared_cache()

    @staticmethod
    def at(location: str | Path) -> Store:
        """The store in a folder, or behind a URL that fsspec opens (`s3://bucket/prefix`)."""
        if not is_url(location):
            return Store(Path(location))
        # Imported for URLs alone: fsspec takes a while.
        from harness.store.backends._url import behind

        place = behind(str(location))
        return Store(place.root, place)

    @property
    def location(self) -> str:
        """What `at` takes to open it elsewhere: for workers, never shown."""
        return self._backend.location

    @property
    def name(self) -> str:
        """The location as it may be shown."""
        return self._backend.name

    def create(self) -> Store:
        """Make the store where there is none; raises UserError for a place with other things, or of another format."""
        self._backend.create()
        return self

    def exists(self) -> bool:
        """Whether a run has made it."""
        return self._backend.exists()

    def check_writable(self) -> None:
        """Raise UserError where nothing can be written: better told before a night's work than after."""
        self._backend.check_writable()

    def unusable(self, error: OSError) -> UserError:
        """What was refused when it was read or written, as the user's error."""
        return self._backend.unusable(error)

    # Artefacts

    def has(self, ref: Ref) -> bool:
        """Whether the artefact is published (nothing is opened or verified).

        Behind a URL the answer may be a second old, and what was there once is believed to be there; for a key whose
        lease was asked for it is always the newest one.
        """
        return self._backend.has(ref)

    def present(self, refs: Iterable[Ref]) -> set[Ref]:
        """Which of these are published right now, whatever was known before."""
        return self._backend.present(refs)

    def keys(self, kind: str) -> list[str]:
        """The published keys of one kind, ascending."""
        return self._backend.keys(kind)

    def kinds(self) -> list[str]:
        """The kinds of which there may be artefacts."""
        return self._backend.kinds()

    def record(self, ref: Ref) -> Record:
        """The record of a published artefact; raises Absent when it is not there, Damaged when it cannot be read."""
        content = self._backend.records([ref]).get(ref)
        if content is None:
            raise Absent(ref, "not published")
        try:
            return Record.from_json(content, ref)
        except ValueError:
            return self._fetched(ref)

    def records(self, refs: Iterable[Ref]) -> dict[Ref, Record]:
        """The records of many artefacts, read at once; those that are not there, or cannot be read, are left out."""
        found: dict[Ref, Record] = {}
        for ref, content in self._backend.records(refs).items():
            try:
                found[ref] = Record.from_json(content, ref)
            except ValueError:
                continue
        return found

    def open(self, ref: Ref) -> Artefact:
        """A published artefact with verified files; raises Absent, or Damaged when its files changed."""
        record = self.record(ref)
        if not self._is_intact(record):
            record = self._fetched(ref)
        return Artefact(ref, self._folder_of(record), record)

    def recheck(self, ref: Ref) -> None:
        """Raise Damaged, or Absent, where the files that a stage has just read are not those that were published."""
        if not self._is_intact(self.record(ref)):
            self._fetched(ref)
            raise Damaged(ref, "damaged while it was read; it was fetched anew")

    def verify(self, ref: Ref) -> None:
        """Read or fetch every file of an artefact, whatever the hash cache believes; raises as `open` does."""
        record = self._backend.fetch(ref) or self.record(ref)
        try:
            for name in record.files:
                path = self._folder_of(record) / name
                self._hashes.remember(path, sha256_of(path))
        except OSError:
            pass  # told by the next line
        if not self._is_intact(record):
            raise self._set_aside(ref)

    def attempt(self, ref: Ref, name: str = "") -> Attempt:
        """A new, empty folder to fill for this key; with `name` one that a process on any machine has begun."""
        folder = self.root / FolderPlaces(ref).attempt(name or f"{ATTEMPT}{uuid4().hex[:12]}")
        folder.mkdir(parents=True, exist_ok=bool(name))
        return Attempt.into(ref, folder)

    def publish(self, attempt: Attempt) -> bool:
        """Make the attempt the artefact; False when another one was published first (this one is then discarded).

        Raises FileNotFoundError when somebody removed its folder.
        """
        if not attempt.folder.is_dir():
            raise FileNotFoundError(2, "removed while it was filled", str(attempt.folder))
        won = self._backend.publish(self._completed(attempt))
        if not won:
            self.discard(attempt)
        return won

    def hand_over(self, attempt: Attempt) -> None:
        """Leave what was filled to the process that began it, perhaps on another machine."""
        self._backend.send(attempt.folder)

    def take_over(self, attempt: Attempt) -> None:
        """Have here what another process has filled and handed over."""
        self._backend.receive(attempt.folder)

    def discard(self, attempt: Attempt) -> None:
        """Remove an attempt's files."""
        shutil.rmtree(attempt.folder, ignore_errors=True)

    def lease(self, ref: Ref) -> Lease:
        """The lease that keeps two processes off one stage (not yet taken)."""
        return self._backend.lease(ref)

    def checkpoint_folder(self, ref: Ref) -> Path:
        """Where a training stage keeps its checkpoints on this machine until it is published."""
        return self.root / FolderPlaces(ref).checkpoint

    def clean_up(self, ref: Ref) -> None:
        """After publishing: remove the failure, checkpoints, and attempts that did not become the artefact."""
        keep = self.record(ref).attempt
        self._backend.delete(document_of(FAILURES, ref.key))
        self._backend.tidy(ref, keep)

    def remove(self, ref: Ref) -> None:
        """Unpublish an artefact in one step, then delete all that its key has."""
        self._backend.remove(ref)

    # Documents: what lies beside artefacts

    def write_documents(self, contents: Mapping[str, bytes]) -> None:
        """Have each document, by its name, say that (`stages/KEY.json`, `costs.json`): replaced whole, or left."""
        self._backend.write(contents)

    def read_document(self, name: str) -> bytes:
        """What a document says now; raises FileNotFoundError."""
        return self._backend.read(name)

    def documents(self, folder: str) -> dict[str, bytes]:
        """The content of every document in a folder, by its name within."""
        return self._backend.read_folder(folder)

    def leaderboard_folder(self, name: str) -> Path:
        """Where on this machine the leaderboard of a suite is written."""
        return self.root / LEADERBOARDS / name

    def share(self, folder: Path) -> None:
        """Let other machines see a leaderboard that was written in the store's folder; others are nobody's business."""
        if folder.is_relative_to(self.root):
            self._backend.send(folder)

    # Event logs

    def begin_log(self, run: str) -> EventLog:
        """The event log of a run that begins on this machine."""
        path = self.root / run_log(run)
        path.parent.mkdir(parents=True, exist_ok=True)
        return self.log(path)

    def log(self, path: Path) -> EventLog:
        """Where this process writes events of the run whose log that is."""
        return self._backend.log(path)

    def reader(self, path: Path) -> EventReader:
        """Reads the events of a run, whichever process wrote them."""
        return self._backend.reader(path)

    def logs(self) -> list[Path]:
        """The logs of all runs, the newest run's at the end."""
        return self._backend.logs()

    # Care

    def slots(self) -> list[Slot]:
        """All keys of which there is anything, published or not, by kind and key."""
        return self._backend.slots()

    def leavings(self) -> list[Entry]:
        """What killed processes left outside of keys."""
        return self._backend.leavings()

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of every file below a folder that lies beside artefacts, by its name within."""
        return self._backend.sizes(folder)

    def delete(self, name: str) -> None:
        """Remove a file, or a folder whose name ends with a slash."""
        self._backend.delete(name)

    def _fetched(self, ref: Ref) -> Record:
        """The record of an artefact whose files were brought here anew, since those that were here are damaged."""
        fetched = self._backend.fetch(ref)
        if fetched is None:
            raise self._set_aside(ref)
        return fetched

    def _set_aside(self, ref: Ref) -> Damaged:
        try:
            self._backend.set_aside(ref)
        except OSError as error:  # a disk that may only be read
            return Damaged(ref, f"damaged; it could not be set aside ({error.strerror})")
        return Damaged(ref, f"damaged; set aside under {self.name}/{DAMAGED}")

    def _is_intact(self, record: Record) -> bool:
        """Whether the files here are those that were published, as far as the hash cache can tell."""
        folder = self._folder_of(record)
        try:
            return folder.is_dir() and all(
                self._hashes.sha256(folder / name) == sha for name, sha in record.files.items()
            )
        except (OSError, ValueError):
            return False

    def _folder_of(self, record: Record) -> Path:
        return self.root / FolderPlaces(record.ref).attempt(record.attempt)

    def _completed(self, attempt: Attempt) -> Record:
        """The attempt's record with all its files, which are hashed and written to disk for good."""
        digests: dict[str, str] = {}
        size = 0
        for path in sorted(attempt.folder.rglob("*")):
            if path.is_file():
                name = str(path.relative_to(attempt.folder))
                digests[name] = sha256_of(path, synced=True)
                self._hashes.remember(path, digests[name])
                size += path.stat().st_size
        finished = datetime.now(UTC).isoformat()
        return replace(attempt.record, attempt=attempt.folder.name, files=digests, bytes=size, finished=finished)
