"""A store at a remote with a local folder in front: the remote decides what exists, the folder spares transfers.

At the remote `done/<kind>/<key>.json` is the record whose exclusive creation publishes, `files/<kind>/<key>/<attempt>/`
holds an attempt's files: one listing of `done/<kind>/` answers for a thousand keys. Here everything lies as in a plain
store, with an artefact's `done.json` written last, after its files have come and were verified.
Checkpoints stay on the machine that trains: a stage that another machine takes over begins anew.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from harness.events import EventLog, EventReader
from harness.graph import Ref
from harness.lease import Lease
from harness.remote.claims import ClaimLease
from harness.remote.logs import MergedReader, SharedLog
from harness.remote.remote import Remote, RemoteError
from harness.remote.urls import mirror_folder, shown
from harness.store import REQUIRED, Absent, Artefact, Attempt, Damaged, Lost, Store, write_json
from settings.errors import UserError

FORMAT = "remote-1"
MARKER = "seedbed-store.json"
LISTING_S = 1.0
"""So old may the listing be that a question about many keys is answered from."""


class Mirror(Store):
    """A store behind a URL."""

    def __init__(self, url: str, root: Path) -> None:
        super().__init__(root)
        self._url = url
        self._here = Store(self.root)
        self._there: dict[str, set[str]] = {}
        self._listed: dict[str, float] = {}
        self._contested: set[Ref] = set()
        self._records: dict[Ref, Mapping[str, Any]] = {}
        self._logs: dict[Path, SharedLog] = {}

    @property
    def location(self) -> str:
        """The URL, with all that is secret in it."""
        return self._url

    @property
    def name(self) -> str:
        """The URL as it may be shown."""
        return shown(self._url)

    @cached_property
    def remote(self) -> Remote:
        """The other side; raises UserError where its package is missing."""
        return Remote(self._url)

    def create(self) -> Mirror:
        """Make the marker and the local folder; UserError for a prefix of something else, or that cannot be used."""
        try:
            marker = self.remote.read(MARKER)
        except FileNotFoundError:
            marker = self._first_marker()
        except OSError as error:
            raise self.unusable(error) from None
        found = _plain(marker).get("format")
        if found != FORMAT:
            raise UserError(f"{self.name}/{MARKER}", f"store format {found}", f"format {FORMAT}", "use another --store")
        self._here.create()
        with suppress(OSError):  # for people who wonder what the folder is
            (self.root / ".url").write_text(self.name + "\n", encoding="utf-8")
        return self

    def _first_marker(self) -> bytes:
        marker = json.dumps({"format": FORMAT}).encode()
        try:
            if not self.remote.is_empty():
                raise UserError(self.name, "a place with other files", "a Seedbed store or an empty prefix")
            return marker if self.remote.create(MARKER, marker) else self.remote.read(MARKER)
        except OSError as error:
            raise self.unusable(error) from None

    def check_writable(self) -> None:
        """Raise UserError where nothing can be written, here or there."""
        self._here.check_writable()
        try:
            probe = f"clock/{time.time_ns()}"
            self.remote.write(probe, b"probe")
            self.remote.delete(probe)
        except OSError as error:
            raise self.unusable(error) from None

    def exists(self) -> bool:
        """Whether a run has made it."""
        return self.remote.exists(MARKER)

    def unusable(self, error: OSError) -> UserError:
        """What one of the two sides refused, as the user's error."""
        if not isinstance(error, (RemoteError, FileNotFoundError)):
            return super().unusable(error)
        reason = "no such bucket" if isinstance(error, FileNotFoundError) else str(error)
        expected = "a server that answers, credentials that it accepts, and a bucket that is there"
        return UserError(self.name, f"a store that cannot be used ({reason})", expected)

    def has(self, kind: str, key: str) -> bool:
        """Whether the artefact is published: the newest answer for a key whose lease was asked for; else a listing's.

        What was there once is not asked for again, until `forget`.
        """
        ref = Ref(kind, key)
        if ref in self._contested:
            self._records.pop(ref, None)
            try:
                self._remote_record(ref)
            except Lost:
                return False
            self._note(ref)
        return key in self._there.get(kind, ()) or key in self._keys(kind)

    def forget(self, refs: Iterable[Ref]) -> None:
        """Ask the remote again."""
        for ref in refs:
            self._there.get(ref.kind, set()).discard(ref.key)
            self._listed.pop(ref.kind, None)
            self._records.pop(ref, None)

    def prepare(self, refs: Iterable[Ref]) -> None:
        """Read the records of many artefacts at once."""
        wanted = {_done_at(ref): ref for ref in refs if ref not in self._records and not self._done(*ref).exists()}
        for path, content in self.remote.read_all(wanted).items():
            if _is_record(record := _plain(content)):
                self._records[wanted[path]] = record

    def record(self, kind: str, key: str) -> Mapping[str, Any]:
        """The record of a published artefact; raises Absent when it is not there, Damaged when it cannot be read."""
        if self._done(kind, key).exists():
            with suppress(Damaged, Absent):  # our copy is damaged: the remote has another
                return self._here.record(kind, key)
        return self._remote_record(Ref(kind, key))

    def open(self, kind: str, key: str) -> Artefact:
        """A published artefact with verified files, fetched when they are not here; raises Absent or Damaged."""
        ref = Ref(kind, key)
        for _ in range(2):
            with suppress(Damaged, Absent):
                return self._here.open(kind, key)
            self._fetch(ref, self._remote_record(ref))
        return self._here.open(kind, key)

    def verify(self, kind: str, key: str) -> None:
        """Fetch an artefact anew, whatever is here; raises Absent or Damaged."""
        ref = Ref(kind, key)
        self.forget([ref])
        self._fetch(ref, self._remote_record(ref))

    def publish(self, attempt: Attempt) -> bool:
        """Send the files, then make the attempt the artefact; False when another one was published first."""
        ref, record = Ref(attempt.kind, attempt.key), self._record_of(attempt)
        home = _files_at(ref, attempt.folder.name)
        self.remote.upload({f"{home}/{name}": attempt.path(name) for name in record["files"]})
        won = self.remote.create(_done_at(ref), json.dumps(record, indent=1, sort_keys=True).encode())
        if won:
            # An older copy may be here of an artefact that the remote has lost.
            write_json(self._done(*ref), record)
            self._note(ref)
        else:
            self.remote.delete_folder(home)
            self.discard(attempt)
        return won

    def lease(self, kind: str, key: str) -> Lease:
        """The lease that keeps two machines off one stage (not yet taken)."""
        self._contested.add(Ref(kind, key))
        return ClaimLease(self.remote, f"leases/{kind}/{key}")

    def clean_up(self, kind: str, key: str) -> None:
        """After publishing: remove checkpoints, failures and attempts that did not become the artefact."""
        ref, keep = Ref(kind, key), self.record(kind, key)["attempt"]
        if self._done(kind, key).exists():
            super().clean_up(kind, key)
        self.remote.delete(f"failures/{key}.json")
        attempts = {path.split("/", 1)[0] for path in self.remote.sizes(_files_at(ref))}
        for other in attempts - {keep}:
            self.remote.delete_folder(_files_at(ref, other))

    def set_aside(self, kind: str, key: str) -> Path:
        """Unpublish it, here and there, so that it is made again; the remote keeps the record under `damaged/`."""
        ref = Ref(kind, key)
        with suppress(FileNotFoundError):
            self.remote.write(f"damaged/{kind}-{key}-{time.time_ns()}.json", self.remote.read(_done_at(ref)))
        self.remote.delete(_done_at(ref))
        self.forget([ref])
        return self._here.set_aside(kind, key)

    def remove(self, kind: str, key: str) -> None:
        """Unpublish an artefact in one step, then delete its files, here and there."""
        ref = Ref(kind, key)
        self.remote.delete(_done_at(ref))
        self.remote.delete_folder(_files_at(ref))
        self.forget([ref])
        self._here.remove(kind, key)

    def keys(self, kind: str) -> Iterator[str]:
        """The published keys of one kind."""
        return iter(sorted(self._keys(kind)))

    def kinds(self) -> list[str]:
        """The kinds that have artefacts."""
        return sorted({path.split("/", 1)[0] for path in self.remote.sizes("done")})

    def push(self, path: Path, absent_only: bool = False) -> None:
        """Send a file or a folder of the local store to its place at the remote."""
        top = path.relative_to(self.root).as_posix()
        files = [each for each in sorted(path.rglob("*")) if each.is_file()] if path.is_dir() else [path]
        names = {each.relative_to(self.root).as_posix(): each for each in files if not each.name.startswith(".")}
        there = self.remote.sizes(top) if absent_only else {}
        self.remote.upload({name: each for name, each in names.items() if name.removeprefix(f"{top}/") not in there})

    def pull(self, name: str, anew: bool = False) -> None:
        """Fetch a file, or those of a folder that are not here; `anew`: all, and remove what the remote has not."""
        target = self.root / name
        if target.suffix:
            with suppress(FileNotFoundError):
                _write(target, self.remote.read(name))
            return
        sizes = self.remote.sizes(name)
        if anew:
            for copy in target.glob("*.json"):
                if copy.name not in sizes:
                    copy.unlink(missing_ok=True)
        wanted = [path for path, size in sizes.items() if anew or _size(target / path) < size]
        for path, content in self.remote.read_all(f"{name}/{each}" for each in wanted).items():
            _write(self.root / path, content)

    def log(self, path: Path) -> EventLog:
        """This process's part of a run's log, one for all its jobs."""
        local = self.root / "events" / path.name
        return self._logs.setdefault(local, SharedLog(local, self.remote))

    def reader(self, path: Path) -> EventReader:
        """Reads the events of a run, whoever wrote them."""
        return MergedReader(path, lambda folder: self.pull(f"events/{folder.name}"))

    def latest_log(self) -> Path | None:
        """The log of the run that was begun last, by its name."""
        runs = {path.split("/", 1)[0] for path in self.remote.sizes("events")}
        return self.root / "events" / f"{max(runs)}.jsonl" if runs else None

    def _keys(self, kind: str) -> set[str]:
        if time.monotonic() - self._listed.get(kind, -LISTING_S) >= LISTING_S:
            names = self.remote.sizes(f"done/{kind}")
            self._there[kind] = {name.removesuffix(".json") for name in names}
            self._listed[kind] = time.monotonic()
        return self._there[kind]

    def _note(self, ref: Ref) -> None:
        self._contested.discard(ref)
        self._there.setdefault(ref.kind, set()).add(ref.key)

    def _remote_record(self, ref: Ref) -> Mapping[str, Any]:
        if ref not in self._records:
            try:
                record = _plain(self.remote.read(_done_at(ref)))
            except FileNotFoundError:
                self.forget([ref])
                raise Absent(ref, "not published") from None
            if not _is_record(record):
                raise self._damaged(*ref)
            self._records[ref] = record
        return self._records[ref]

    def _fetch(self, ref: Ref, record: Mapping[str, Any]) -> None:
        """Bring an artefact's files here, verify them, and publish them here."""
        partial = self.attempt(*ref)
        try:
            home = _files_at(ref, record["attempt"])
            try:
                self.remote.download({f"{home}/{name}": partial.path(name) for name in record["files"]})
            except FileNotFoundError:
                if partial.folder.exists():  # else somebody here has cleaned up
                    raise self._damaged_unless_new(ref, record) from None
                return
            if any(_sha256(partial.path(name)) != sha for name, sha in record["files"].items()):
                raise self._damaged_unless_new(ref, record)
            with suppress(OSError):  # another process here was first
                partial.folder.rename(self._folder(*ref) / record["attempt"])
            write_json(self._done(*ref), record)
        finally:
            self.discard(partial)

    def _damaged_unless_new(self, ref: Ref, record: Mapping[str, Any]) -> Damaged:
        """Set aside what was found damaged; what somebody has made anew meanwhile stays."""
        self.forget([ref])
        with suppress(Absent):
            if self._remote_record(ref)["attempt"] != record["attempt"]:
                return Damaged(ref, "damaged; made again meanwhile")
        return self._damaged(*ref)

    def _damaged(self, kind: str, key: str) -> Damaged:
        self.set_aside(kind, key)
        return Damaged(Ref(kind, key), f"damaged; set aside under {self.name}/damaged")


def mirror_at(url: str) -> Mirror:
    """The mirror of that URL in this process, which remembers what it has seen of the remote."""
    return _mirror(url, mirror_folder(url))


@lru_cache
def _mirror(url: str, root: Path) -> Mirror:
    return Mirror(url, root)


def _done_at(ref: Ref) -> str:
    return f"done/{ref.kind}/{ref.key}.json"


def _files_at(ref: Ref, attempt: str = "") -> str:
    return f"files/{ref.kind}/{ref.key}/{attempt}".rstrip("/")


def _plain(content: bytes) -> dict[str, Any]:
    """A JSON object; empty for anything else."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_record(record: Mapping[str, Any]) -> bool:
    """Whether it names files that lie within its attempt."""
    if not record.keys() >= REQUIRED or not isinstance(record["files"], dict):
        return False
    paths = [PurePosixPath(str(name)) for name in (record["attempt"], *record["files"])]
    return not any(path.is_absolute() or ".." in path.parts for path in paths)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{time.time_ns()}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
