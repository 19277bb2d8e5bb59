"""The content-addressed store: an artefact is published in one step, or it does not exist.

`<store>/<kind>/<key>/<attempt>/…` holds an attempt's files; `<store>/<kind>/<key>/done.json`, created exclusively as
the last step, names the attempt that counts, with the sha256 of each of its files. Whoever comes second discards.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from uuid import uuid4

from harness.store.events import EventLog, EventReader, latest_log
from harness.store.layout import Ref
from harness.store.lease import FileLease, Lease
from settings.errors import UserError
from settings.hashing import HashCache, shared_cache

FORMAT = 1
REQUIRED = frozenset({"kind", "key", "attempt", "files"})
"""What every record names."""


class Lost(RuntimeError):
    """An artefact that was published and cannot be used now; it will be made again."""

    def __init__(self, ref: Ref, why: str) -> None:
        super().__init__(ref, why)
        self.ref = ref

    def __str__(self) -> str:
        return f"{self.ref}: {self.args[1]}"


class Damaged(Lost):
    """Its files are not those that were published; it was set aside."""


class Absent(Lost):
    """It is not there, or not any more."""


@dataclass(frozen=True)
class Artefact:
    """A published artefact: its folder of files, and its record."""

    key: str
    kind: str
    folder: Path
    record: Mapping[str, Any]

    def path(self, name: str) -> Path:
        """One of its files."""
        return self.folder / name


@dataclass
class Attempt:
    """A folder that is being filled; `record` takes what is worth keeping beside the files."""

    key: str
    kind: str
    folder: Path
    record: dict[str, Any] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        """Where one of its files is to be written."""
        return self.folder / name


class Store:
    """Artefacts by kind and key, in one folder that several processes may share."""

    def __init__(self, root: Path, hashes: HashCache | None = None) -> None:
        self.root = root
        self._hashes = hashes or shared_cache()

    @staticmethod
    def at(location: str | Path) -> Store:
        """The store in a folder, or behind a URL that fsspec opens (`s3://bucket/prefix`)."""
        from harness.store.backends.urls import is_url

        if not is_url(location):
            return Store(Path(location))
        from harness.store.backends.mirror import mirror_at

        return mirror_at(str(location))

    @property
    def location(self) -> str:
        """What `at` takes to open it elsewhere: for workers, never shown."""
        return str(self.root)

    @property
    def name(self) -> str:
        """The location as it may be shown."""
        return str(self.root)

    def create(self) -> Store:
        """Make the folder and its marker; raises UserError for a folder of something else, or one of another format."""
        marker = self.root / "seedbed-store.json"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if marker.exists():
                self._check_format(marker)
            elif any(not entry.name.startswith(".") for entry in self.root.iterdir()) and not marker.exists():
                raise UserError(self.root, "a folder with other files", "a Seedbed store or an empty folder")
            else:
                write_json(marker, {"format": FORMAT})
        except OSError as error:
            raise self.unusable(error) from None
        return self

    def check_writable(self) -> None:
        """Raise UserError where nothing can be written: better told before a night's work than after."""
        try:
            with TemporaryFile(dir=self.root) as probe:  # of no name, so that runs do not trip over each other's
                probe.write(b"probe")
        except OSError as error:
            raise self.unusable(error) from None

    def unusable(self, error: OSError) -> UserError:
        """What the file system refused, as the user's error."""
        found = f"a folder that cannot be used ({error.strerror or error})"
        return UserError(self.root, found, "a writable store with room")

    def has(self, kind: str, key: str) -> bool:
        """Whether the artefact is published (nothing is opened or verified)."""
        return self._done(kind, key).exists()

    def forget(self, refs: Iterable[Ref]) -> None:
        """Whatever is remembered of these artefacts may have changed; a folder is asked each time anyway."""

    def prepare(self, refs: Iterable[Ref]) -> None:
        """The records of all these will be asked for; a folder needs no preparation."""

    def record(self, kind: str, key: str) -> Mapping[str, Any]:
        """The record of a published artefact; raises Absent when it is not there, Damaged when it cannot be read."""
        try:
            record = json.loads(self._done(kind, key).read_text(encoding="utf-8"))
            if record.keys() >= REQUIRED:
                return dict(record)
        except FileNotFoundError:
            raise Absent(Ref(kind, key), "not published") from None
        except (OSError, ValueError, AttributeError, RecursionError):
            pass
        raise self._damaged(kind, key)

    def open(self, kind: str, key: str) -> Artefact:
        """A published artefact with verified files; raises Absent, or Damaged when its files changed."""
        record = self.record(kind, key)
        try:
            artefact = Artefact(key, kind, self._folder(kind, key) / record["attempt"], record)
            intact = all(self._hashes.sha256(artefact.path(name)) == sha for name, sha in record["files"].items())
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            intact = False
        if not intact:
            raise self._damaged(kind, key)
        return artefact

    def recheck(self, kind: str, key: str) -> None:
        """Whether the files that a stage has just read are still those; raises as `open` does."""
        self.open(kind, key)

    def attempt(self, kind: str, key: str) -> Attempt:
        """A new, empty folder to fill for this key."""
        folder = self._folder(kind, key) / f"attempt-{uuid4().hex[:12]}"
        folder.mkdir(parents=True)
        return Attempt(key, kind, folder)

    def publish(self, attempt: Attempt) -> bool:
        """Make the attempt the artefact; False when another one was published first (this one is then discarded).

        Raises FileNotFoundError when somebody removed its folder.
        """
        if not attempt.folder.is_dir():
            raise FileNotFoundError(2, "removed while it was filled", str(attempt.folder))
        record = self._record_of(attempt)
        won = create_json(self._done(attempt.kind, attempt.key), record)
        if not won:
            self.discard(attempt)
        return won

    def joined(self, kind: str, key: str, folder: Path) -> Attempt:
        """An attempt that another process, perhaps on another machine, has begun in that folder."""
        return Attempt(key, kind, folder)

    def hand_over(self, attempt: Attempt) -> None:
        """Who has filled it leaves it to the process that began it; in a shared folder it is there anyway."""

    def take_over(self, attempt: Attempt) -> None:
        """What another process has put into it comes here; in a shared folder it is there anyway."""

    def discard(self, attempt: Attempt) -> None:
        """Remove an attempt's files."""
        shutil.rmtree(attempt.folder, ignore_errors=True)

    def lease(self, kind: str, key: str) -> Lease:
        """The lease that keeps two processes off one stage (not yet taken)."""
        return FileLease(self._folder(kind, key) / "lease.json")

    def checkpoint_folder(self, kind: str, key: str) -> Path:
        """Where a training stage keeps its checkpoints until it is published."""
        return self._folder(kind, key) / "checkpoint"

    def clean_up(self, kind: str, key: str) -> None:
        """After publishing: remove checkpoints and attempts that did not become the artefact."""
        keep = self.record(kind, key)["attempt"]
        self.failure_path(key).unlink(missing_ok=True)
        for path in self._folder(kind, key).iterdir():
            if path.is_dir() and path.name != keep:
                shutil.rmtree(path, ignore_errors=True)

    def failure_path(self, key: str) -> Path:
        """Where a failed stage's reason and traceback are kept, until it succeeds."""
        return self.root / "failures" / f"{key}.json"

    def write_failure(self, key: str, content: object) -> None:
        """Keep a failed stage's reason and traceback."""
        path = self.failure_path(key)
        path.parent.mkdir(exist_ok=True)
        write_json(path, content)
        self.push(path)

    def set_aside(self, kind: str, key: str) -> Path:
        """Move an artefact out of the way, so that it is made again; returns where it lies now."""
        target = self.root / "damaged" / f"{kind}-{key}-{time.time_ns()}"
        target.parent.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):  # another process may have set it aside already
            self._folder(kind, key).rename(target)
        return target

    def remove(self, kind: str, key: str) -> None:
        """Unpublish an artefact in one step, then delete all that its key has; a kill in between leaves `damaged/`."""
        shutil.rmtree(self.set_aside(kind, key), ignore_errors=True)

    def keys(self, kind: str) -> Iterator[str]:
        """The published keys of one kind."""
        return (path.parent.name for path in sorted((self.root / kind).glob("*/done.json")))

    def kinds(self) -> list[str]:
        """Folders that may hold artefacts."""
        return sorted(path.name for path in self.root.iterdir() if path.is_dir())

    def push(self, path: Path, absent_only: bool = False) -> None:
        """Show others a file or folder of the store's root; in a shared folder they see it anyway."""

    def pull(self, name: str, anew: bool = False) -> None:
        """See what others show below the root; in a shared folder it is there anyway."""

    def log(self, path: Path) -> EventLog:
        """Where a process writes events of the run whose log that is."""
        return EventLog(path)

    def reader(self, path: Path) -> EventReader:
        """Reads the events of a run."""
        return EventReader(path)

    def latest_log(self) -> Path | None:
        """The newest run's log."""
        return latest_log(self.root)

    def _record_of(self, attempt: Attempt) -> dict[str, Any]:
        """Hash every file, and write it to disk for good."""
        files = {str(path.relative_to(attempt.folder)): path for path in _files(attempt.folder)}
        digests = {name: _sha256_synced(path) for name, path in sorted(files.items())}
        for name, path in files.items():
            self._hashes.remember(path, digests[name])
        return {
            **attempt.record,
            "kind": attempt.kind,
            "key": attempt.key,
            "attempt": attempt.folder.name,
            "files": digests,
            "bytes": sum(path.stat().st_size for path in files.values()),
            "finished": datetime.now(UTC).isoformat(),
        }

    def _damaged(self, kind: str, key: str) -> Damaged:
        self.set_aside(kind, key)
        return Damaged(Ref(kind, key), f"damaged; set aside under {self.root / 'damaged'}")

    def _folder(self, kind: str, key: str) -> Path:
        return self.root / kind / key

    def _done(self, kind: str, key: str) -> Path:
        return self._folder(kind, key) / "done.json"

    def _check_format(self, marker: Path) -> None:
        try:
            found = json.loads(marker.read_text(encoding="utf-8"))["format"]
        except (ValueError, TypeError, LookupError, RecursionError):
            found = "that nobody can read"
        if found != FORMAT:
            raise UserError(marker, f"store format {found}", f"format {FORMAT}", "use another --store")


def write_json(path: Path, content: object) -> None:
    """Replace a JSON file in one step."""
    partial = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        partial.write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def create_json(path: Path, content: object) -> bool:
    """Create a JSON file whole and exclusively; False when it is already there."""
    partial = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        with partial.open("w", encoding="utf-8") as file:
            json.dump(content, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)
    except FileExistsError:
        return False
    finally:
        partial.unlink(missing_ok=True)
    return True


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _sha256_synced(path: Path) -> str:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()
