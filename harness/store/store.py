"""The content-addressed store: an artefact is published in one step, or it does not exist.

An attempt's files are written into a folder of their own; the artefact's record, created exclusively as the last step,
names the attempt that counts, with the sha256 of each of its files. Whoever comes second discards. Where the store
lies is the business of its backend; `layout` names the places.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from harness.store.backends._folder import FolderBackend
from harness.store.backends.backend import Backend
from harness.store.backends.urls import is_url, shown
from harness.store.events import EventLog, EventReader
from harness.store.layout import (
    ATTEMPT,
    DAMAGED,
    FAILURES,
    LEADERBOARDS,
    SINGLE_RUN,
    FolderPlaces,
    Ref,
    document_of,
    is_stamped,
    run_log,
    run_of,
)
from harness.store.lease import Lease
from harness.store.record import Absent, Damaged, Lost, Record
from settings.errors import UserError
from settings.files import sha256_of, sync_files
from settings.hashing import shared_cache

__all__ = ["Absent", "Answer", "Artefact", "Attempt", "Damaged", "Lost", "Record", "Store", "answer_of"]


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
        """The path of one of its files, by the name that its record has for it."""
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
        """Where one of its files is to be written, by its name within the artefact to be."""
        return self.folder / name


class Store:
    """Artefacts by kind and key, and the documents beside them, in one place that several processes may share."""

    def __init__(self, root: Path, backend: Backend | None = None) -> None:
        self.root = root
        """The folder in which artefacts are opened: the store's own, or the cache in front of a URL."""
        self.backend = backend or FolderBackend(root)
        """The place where the store lies; its care asks there, everybody else asks the store."""
        self.location = self.backend.location
        """What `at` takes to open it elsewhere, secrets included: for workers, never shown."""
        self.name = self.backend.name
        """The location as it may be shown."""
        # One for all stores of the process: a file that was hashed once is not read again until it changes.
        self._hashes = shared_cache()

    @staticmethod
    def at(location: str | Path) -> Store:
        """The store in a folder, or behind a URL that fsspec opens (`s3://bucket/prefix`)."""
        if not is_url(location):
            return Store(Path(location))
        # Only for URLs: fsspec takes a while to import.
        from harness.store.backends._url import url_backend

        place = url_backend(str(location))
        return Store(place.root, place)

    def create(self) -> Store:
        """Make the store where there is none; raises UserError for a place with other things, or of another format."""
        self.backend.create()
        return self

    def exists(self) -> bool:
        """Whether a run has made the store; nothing is created or changed."""
        return self.backend.exists()

    def check_there(self, folder: Path | None = None) -> None:
        """Raise UserError where the store is gone that was opened; with a folder, only where that lies within it."""
        if folder is None or folder.is_relative_to(self.root):
            self.backend.check_there()

    def check_writable(self) -> None:
        """Raise UserError where nothing can be written: better told before a night's work than after."""
        self.backend.check_writable()

    def unusable(self, error: OSError) -> UserError:
        """What was refused when the store was read or written, as the error that a user is told."""
        return self.backend.unusable(error)

    # Artefacts

    def has(self, ref: Ref) -> bool:
        """Whether the artefact is published (nothing is opened or verified).

        Behind a URL the answer may be a second old, and what was there once is believed to be there; for a key whose
        lease was asked for it is always the newest one.
        """
        return self.backend.has(ref)

    def present(self, refs: Iterable[Ref]) -> set[Ref]:
        """Which of these are published right now, whatever was known before."""
        return self.backend.present(refs)

    def keys(self, kind: str) -> list[str]:
        """The keys of all published artefacts of one kind, ascending; nothing is opened or verified."""
        return self.backend.keys(kind)

    def kinds(self) -> list[str]:
        """The names of the kinds of stage of which there may be artefacts."""
        return self.backend.kinds()

    def record(self, ref: Ref) -> Record:
        """The record of a published artefact; raises Absent when it is not there, Damaged when it cannot be read."""
        content = self.backend.records([ref]).get(ref)
        if content is None:
            raise Absent(ref, "not published")
        try:
            return Record.from_json(content, ref)
        except ValueError:
            # Behind a URL that may be our copy alone.
            return self._fetched(ref)

    def records(self, refs: Iterable[Ref]) -> dict[Ref, Record]:
        """The records of many artefacts, read at once; those that are not there, or cannot be read, are left out."""
        found: dict[Ref, Record] = {}
        for ref, content in self.backend.records(refs).items():
            try:
                found[ref] = Record.from_json(content, ref)
            except ValueError:
                continue
        return found

    def open(self, ref: Ref) -> Artefact:
        """A published artefact with verified files; raises Absent, or Damaged when its files changed."""
        return self._opened(self.record(ref))

    def open_all(self, refs: Sequence[Ref]) -> list[Artefact]:
        """As `open`, in the given order; behind a URL all records are asked for at once."""
        records = self.records(refs)
        folders = {ref: self._folder_of(record) for ref, record in records.items()}
        self._hashes.expect(folders[ref] / name for ref, record in records.items() for name in record.files)
        return [self._opened(records.get(ref) or self.record(ref)) for ref in refs]

    def recheck(self, ref: Ref) -> None:
        """Raise Damaged, or Absent, where the files that a stage has just read are not those that were published."""
        if not self._is_intact(self.record(ref)):
            self._fetched(ref)
            raise Damaged(ref, "damaged while it was read; it was fetched anew")

    def verify(self, ref: Ref) -> None:
        """Read or fetch every file of an artefact, whatever the hash cache believes; raises as `open` does."""
        record = self.backend.fetch(ref) or self.record(ref)
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
        self.check_there()
        folder = self.root / FolderPlaces(ref).attempt(name or f"{ATTEMPT}{uuid4().hex[:12]}")
        folder.mkdir(parents=True, exist_ok=bool(name))
        return Attempt.into(ref, folder)

    def publish(self, attempt: Attempt) -> bool:
        """Make the attempt the artefact; False when another one was published first (this one is then discarded).

        Raises FileNotFoundError when somebody removed its folder.
        """
        if not attempt.folder.is_dir():
            raise FileNotFoundError(2, "removed while it was filled", str(attempt.folder))
        won = self.backend.publish(self._completed(attempt))
        if not won:
            # What the other one made stands for this one too: artefacts of one key are equal.
            self.discard(attempt)
        return won

    def hand_over(self, attempt: Attempt) -> None:
        """Leave what was filled to the process that began it, perhaps on another machine."""
        self.backend.send(attempt.folder)

    def take_over(self, attempt: Attempt) -> None:
        """Have here what another process has filled and handed over."""
        self.backend.receive(attempt.folder)

    def discard(self, attempt: Attempt) -> None:
        """Remove an attempt's folder with all that was written into it; its key is free for another attempt."""
        shutil.rmtree(attempt.folder, ignore_errors=True)

    def lease(self, ref: Ref) -> Lease:
        """The lease that keeps two processes off one stage (not yet taken)."""
        return self.backend.lease(ref)

    def checkpoint_folder(self, ref: Ref) -> Path:
        """Where a training stage keeps its checkpoints on this machine until it is published."""
        return self.root / FolderPlaces(ref).checkpoint

    def clean_up(self, ref: Ref) -> None:
        """After publishing: remove the failure, checkpoints, and attempts that did not become the artefact."""
        keep = self.record(ref).attempt
        self.backend.delete(document_of(FAILURES, ref.key))
        self.backend.tidy(ref, keep)

    # Documents: what lies beside artefacts

    def write_documents(self, contents: Mapping[str, bytes]) -> None:
        """Have each document, by its name, say that (`stages/KEY.json`, `costs.json`): replaced whole, or left."""
        self.backend.write(contents)

    def read_document(self, name: str) -> bytes:
        """What a document says now; raises FileNotFoundError."""
        return self.backend.read(name)

    def documents(self, folder: str) -> dict[str, bytes]:
        """The content of every document in a folder, by its name within."""
        return self.backend.read_folder(folder)

    def leaderboard_folder(self, name: str) -> Path:
        """Where on this machine the leaderboard of a suite is written."""
        return self.root / LEADERBOARDS / name

    def share(self, folder: Path) -> None:
        """Let other machines see a leaderboard that was written in the store's folder; others are nobody's business."""
        if folder.is_relative_to(self.root):
            self.backend.send(folder)

    def withdraw(self, path: Path) -> None:
        """Remove a file of a leaderboard, and what other machines see of it; nothing where it is not there."""
        if path.exists():
            path.unlink()
        if path.is_relative_to(self.root):
            self.backend.delete(path.relative_to(self.root).as_posix())

    # Event logs

    def newest_run(self) -> str:
        """The name of the run of a suite that was begun last; empty where there was none."""
        # A stage that was run alone is no run of a suite; a log that somebody called otherwise is older than all.
        names = [name for log in self.logs() if (name := run_of(log)) != SINGLE_RUN]
        return max(names, key=lambda name: (is_stamped(name), name), default="")

    def begin_log(self, run: str) -> EventLog:
        """The event log of a run that begins on this machine."""
        path = self.root / run_log(run)
        path.parent.mkdir(parents=True, exist_ok=True)
        return self.log(path)

    def log(self, path: Path) -> EventLog:
        """Where this process writes events of the run whose log that is."""
        return self.backend.log(path)

    def reader(self, path: Path) -> EventReader:
        """Reads the events of a run, whichever process wrote them."""
        return self.backend.reader(path)

    def logs(self) -> list[Path]:
        """The logs of all runs, the newest run's at the end; that of stages which are run alone comes after it."""
        return self.backend.logs()

    def _opened(self, record: Record) -> Artefact:
        folder = self._folder_of(record)
        if not self._is_whole(record, folder):
            record = self._fetched(record.ref)
            folder = self._folder_of(record)
        return Artefact(record.ref, folder, record)

    def _fetched(self, ref: Ref) -> Record:
        """The record of an artefact whose files were brought here anew, since those that were here are damaged."""
        fetched = self.backend.fetch(ref)
        if fetched is None:
            raise self._set_aside(ref)
        return fetched

    def _set_aside(self, ref: Ref) -> Damaged:
        try:
            self.backend.set_aside(ref)
        except OSError as error:  # a disk that may only be read: whoever asked is told all the same
            return Damaged(ref, f"damaged; it could not be set aside ({error.strerror})")
        return Damaged(ref, f"damaged; set aside under {self.name}/{DAMAGED}")

    def _is_intact(self, record: Record) -> bool:
        """Whether the files here are those that were published, as far as the hash cache can tell."""
        return self._is_whole(record, self._folder_of(record))

    def _is_whole(self, record: Record, folder: Path) -> bool:
        try:
            for name, sha in record.files.items():
                path = folder / name
                # What a link leads to may change, and is not in the store.
                if path.is_symlink() or self._hashes.sha256(path) != sha:
                    return False
        except (OSError, ValueError):
            return False
        # An artefact without files has a folder nevertheless: whoever opens it may look into it.
        return bool(record.files) or folder.is_dir()

    def _folder_of(self, record: Record) -> Path:
        return self.root / FolderPlaces(record.ref).attempt(record.attempt)

    def _completed(self, attempt: Attempt) -> Record:
        """The attempt's record with all its files, which are hashed and written to disk for good."""
        paths = [path for path in sorted(attempt.folder.rglob("*")) if path.is_file()]
        # On disk before the record names them: a machine that loses power must not keep the record alone.
        sync_files(paths)
        digests: dict[str, str] = {}
        size = 0
        for path in paths:
            name = str(path.relative_to(attempt.folder))
            digests[name] = sha256_of(path)
            self._hashes.remember(path, digests[name])
            size += path.stat().st_size
        # In universal time: runs of several machines write into one store, and tables take the row published last.
        finished = datetime.now(UTC).isoformat()
        return replace(attempt.record, attempt=attempt.folder.name, files=digests, bytes=size, finished=finished)


class Answer(NamedTuple):
    """What the place behind a URL answers: whether a run has made a store there, or why nobody can tell."""

    is_there: bool
    trouble: str = ""
    """Empty where it answers; otherwise one line that names the URL, without its secrets."""


def answer_of(url: str) -> Answer:
    """Ask a URL from this process; a missing package, refused credentials and a silent server are answers too."""
    try:
        return Answer(Store.at(url).exists())
    except UserError as error:
        return Answer(False, str(error))
    except OSError as error:
        return Answer(False, f"{shown(url)}: {error}")
