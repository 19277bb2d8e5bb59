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
from pathlib import Path
from typing import Any

from harness.store import store
from harness.store.backends.claims import ClaimLease
from harness.store.backends.copying import pull_file, pull_folder, push
from harness.store.backends.layout import FORMAT, MARKER, files_at, plain
from harness.store.backends.logs import MergedReader, SharedLog
from harness.store.backends.published import Published
from harness.store.backends.remote import Remote, RemoteError
from harness.store.backends.urls import mirror_folder, shown
from harness.store.events import EventLog, EventReader
from harness.store.layout import Ref
from harness.store.lease import Lease
from harness.store.store import Artefact, Attempt, Lost, Store, write_json
from settings.errors import UserError


class Mirror(Store):
    """A store behind a URL."""

    def __init__(self, url: str, root: Path) -> None:
        super().__init__(root)
        self._url = url
        self._here = Store(self.root)
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

    @cached_property
    def published(self) -> Published:
        """What the other side has."""
        return Published(self.remote)

    def create(self) -> Mirror:
        """Make the marker and the local folder; UserError for a prefix of something else, or that cannot be used."""
        try:
            marker = self.remote.read(MARKER)
        except FileNotFoundError:
            marker = self._first_marker()
        except OSError as error:
            raise self.unusable(error) from None
        found = plain(marker).get("format")
        if found != FORMAT:
            raise UserError(f"{self.name}/{MARKER}", f"store format {found}", f"format {FORMAT}", "use another --store")
        self._create_here()
        return self

    def _create_here(self) -> None:
        """The folder is ours by its name: `seedbed status` may have put copies there before any run."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if not (self.root / MARKER).exists():
                write_json(self.root / MARKER, {"format": store.FORMAT})
                (self.root / ".url").write_text(self.name + "\n", encoding="utf-8")  # for people who wonder
        except OSError as error:
            raise self._here.unusable(error) from None
        self._here.create()

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
        """Whether the artefact is published at the remote: the newest answer for a key whose lease was asked for."""
        return self.published.has(Ref(kind, key))

    def forget(self, refs: Iterable[Ref]) -> None:
        """Ask the remote again."""
        self.published.forget(refs)

    def prepare(self, refs: Iterable[Ref]) -> None:
        """Read the records of many artefacts at once."""
        self.published.prepare(ref for ref in refs if not self._done(*ref).exists())

    def record(self, kind: str, key: str) -> Mapping[str, Any]:
        """The record of a published artefact; raises Absent when it is not there, Damaged when it cannot be read."""
        if self._done(kind, key).exists():
            with suppress(Lost):  # our copy is damaged: the remote has another
                return self._here.record(kind, key)
        return self.published.record(Ref(kind, key))

    def open(self, kind: str, key: str) -> Artefact:
        """A published artefact with verified files, fetched when they are not here; raises Absent or Damaged."""
        ref = Ref(kind, key)
        for _ in range(2):
            with suppress(Lost):
                return self._here.open(kind, key)
            self._fetch(ref)
        return self._here.open(kind, key)

    def recheck(self, kind: str, key: str) -> None:
        """Whether our copy is still what it was; raises Lost where not: the stage runs again, with a new copy."""
        self._here.open(kind, key)

    def verify(self, kind: str, key: str) -> None:
        """Fetch an artefact anew, whatever is here; raises Absent or Damaged."""
        ref = Ref(kind, key)
        self.forget([ref])
        self._fetch(ref)

    def publish(self, attempt: Attempt) -> bool:
        """Send the files, then make the attempt the artefact; False when another one was published first."""
        ref, record = Ref(attempt.kind, attempt.key), self._record_of(attempt)
        home = files_at(ref, attempt.folder.name)
        self.remote.upload({f"{home}/{name}": attempt.path(name) for name in record["files"]})
        won = self.published.create(ref, record)
        if won:
            # An older copy may be here of an artefact that the remote has lost.
            write_json(self._done(*ref), record)
        else:
            self.remote.delete_folder(home)
            self.discard(attempt)
        return won

    def joined(self, kind: str, key: str, folder: Path) -> Attempt:
        """The same attempt, in this machine's folder."""
        attempt = Attempt(key, kind, self._folder(kind, key) / folder.name)
        attempt.folder.mkdir(parents=True, exist_ok=True)
        return attempt

    def hand_over(self, attempt: Attempt) -> None:
        """Send the files to where they will be published."""
        home = files_at(Ref(attempt.kind, attempt.key), attempt.folder.name)
        files = [path for path in attempt.folder.rglob("*") if path.is_file()]
        self.remote.upload({f"{home}/{path.relative_to(attempt.folder).as_posix()}": path for path in files})

    def take_over(self, attempt: Attempt) -> None:
        """Fetch what was handed over and is not here."""
        home = files_at(Ref(attempt.kind, attempt.key), attempt.folder.name)
        names = [name for name in self.remote.sizes(home) if not attempt.path(name).exists()]
        self.remote.download({f"{home}/{name}": attempt.path(name) for name in names})

    def lease(self, kind: str, key: str) -> Lease:
        """The lease that keeps two machines off one stage (not yet taken)."""
        self.published.contest(Ref(kind, key))
        return ClaimLease(self.remote, f"leases/{kind}/{key}")

    def clean_up(self, kind: str, key: str) -> None:
        """After publishing: remove checkpoints, failures and attempts that did not become the artefact."""
        ref, keep = Ref(kind, key), self.record(kind, key)["attempt"]
        if self._done(kind, key).exists():
            super().clean_up(kind, key)
        self.remote.delete(f"failures/{key}.json")
        attempts = {path.split("/", 1)[0] for path in self.remote.sizes(files_at(ref))}
        for other in attempts - {keep}:
            self.remote.delete_folder(files_at(ref, other))

    def set_aside(self, kind: str, key: str) -> Path:
        """Unpublish it, here and there, so that it is made again."""
        self._create_here()
        self.published.set_aside(Ref(kind, key))
        return self._here.set_aside(kind, key)

    def remove(self, kind: str, key: str) -> None:
        """Unpublish an artefact in one step, then delete its files, here and there."""
        self._create_here()
        self.published.remove(Ref(kind, key))
        self._here.remove(kind, key)

    def keys(self, kind: str) -> Iterator[str]:
        """The published keys of one kind."""
        return iter(sorted(self.published.keys(kind)))

    def kinds(self) -> list[str]:
        """The kinds that have artefacts."""
        return self.published.kinds()

    def push(self, path: Path, absent_only: bool = False) -> None:
        """Send a file or a folder of the local store to its place at the remote."""
        push(self.remote, self.root, path, absent_only)

    def pull(self, name: str, anew: bool = False) -> None:
        """Fetch a file, or those of a folder that are not here; `anew`: all, and remove what the remote has not."""
        if name.endswith(".json"):
            pull_file(self.remote, self.root, name)
        else:
            pull_folder(self.remote, self.root, name, anew)

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

    def _fetch(self, ref: Ref) -> None:
        """Bring an artefact's files here, verify them, and publish them here; raises Absent or Damaged."""
        record, partial = self.published.record(ref), self.attempt(*ref)
        try:
            if self._is_fetched(ref, record, partial):
                with suppress(OSError):  # another process here was first
                    partial.folder.rename(self._folder(*ref) / record["attempt"])
                write_json(self._done(*ref), record)
            elif partial.folder.exists():  # else somebody here has cleaned up
                self.published.set_aside(ref, record["attempt"])
                raise self.published.damaged(ref)
        finally:
            self.discard(partial)

    def _is_fetched(self, ref: Ref, record: Mapping[str, Any], partial: Attempt) -> bool:
        """Whether every file has come as it was published."""
        home = files_at(ref, record["attempt"])
        try:
            self.remote.download({f"{home}/{name}": partial.path(name) for name in record["files"]})
            return all(_sha256(partial.path(name)) == sha for name, sha in record["files"].items())
        except FileNotFoundError:
            return False


def mirror_at(url: str) -> Mirror:
    """The mirror of that URL in this process, which remembers what it has seen of the remote."""
    return _mirror(url, mirror_folder(url))


@lru_cache
def _mirror(url: str, root: Path) -> Mirror:
    return Mirror(url, root)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
