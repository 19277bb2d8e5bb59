"""A store at a remote with a local folder in front: the remote decides what exists, the folder spares transfers.

The local folder is laid out as a store in a folder is, with an artefact's record written last, after its files have
come and were verified. Checkpoints stay on the machine that trains: a stage that another one takes over begins anew.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

from harness.store.backends._claims import ClaimLease
from harness.store.backends._folder import FolderBackend
from harness.store.backends._logs import MergedReader, SharedLog
from harness.store.backends._published import Published
from harness.store.backends._remote import Remote, RemoteError
from harness.store.backends._remote_slots import leavings_at, slots_at
from harness.store.backends.backend import Entry, Slot, format_in
from harness.store.backends.urls import mirror_folder, shown
from harness.store.events import EventLog, EventReader
from harness.store.layout import (
    ATTEMPT,
    BESIDE,
    DAMAGED,
    EVENTS,
    FORMAT,
    MARKER,
    STAGES,
    URL_NOTE,
    FolderPlaces,
    Ref,
    RemotePlaces,
    run_log,
)
from harness.store.lease import Lease
from harness.store.record import Absent, Damaged, Record
from settings.errors import UserError
from settings.files import sha256_of, write_bytes, write_json

# Documents that say the same for ever, a stage's description, are read once: a run would otherwise fetch thousands
# of them each time. A copy that is as long as the original is the original.
UNCHANGING = (STAGES,)


class UrlBackend:
    """A URL as the place of a store; what each method promises is told by `Backend`.

    Raises UserError for a URL that fsspec does not open, or whose package is not installed; nothing is asked yet.
    """

    def __init__(self, url: str, root: Path) -> None:
        self.root = root
        self.location, self.name = url, shown(url)
        self._here = FolderBackend(root)
        self.remote = Remote(url)
        self.published = Published(self.remote)
        self._logs: dict[Path, SharedLog] = {}

    def create(self) -> None:
        """Make the marker and the local folder; UserError for a prefix of something else, or that cannot be used."""
        try:
            marker = self.remote.read(MARKER)
        except FileNotFoundError:
            marker = self._first_marker()
        except OSError as error:
            raise self.unusable(error) from None
        found = format_in(marker)
        if found != RemotePlaces.FORMAT:
            expected = f"format {RemotePlaces.FORMAT}"
            raise UserError(f"{self.name}/{MARKER}", f"store format {found}", expected, "use another --store")
        self._create_here()

    def exists(self) -> bool:
        return self.remote.exists(MARKER)

    def check_there(self) -> None:
        pass  # what is behind the URL refuses by itself, and the folder in front is made anew where it is gone

    def check_writable(self) -> None:
        self._here.check_writable()
        try:
            probe = RemotePlaces.probe(uuid4().hex)
            self.remote.write(probe, b"probe")
            self.remote.delete(probe)
        except OSError as error:
            raise self.unusable(error) from None

    def unusable(self, error: OSError) -> UserError:
        if not isinstance(error, (RemoteError, FileNotFoundError)):
            return self._here.unusable(error)
        reason = str(error)
        if isinstance(error, FileNotFoundError):
            # Nothing that a store looks for has to be there, except the bucket.
            reason = "no such bucket"
        expected = "a server that answers, credentials that it accepts, and a bucket that is there"
        return UserError(self.name, f"a store that cannot be used ({reason})", expected)

    def has(self, ref: Ref) -> bool:
        """Whether the artefact is published at the remote: the newest answer for a key whose lease was asked for."""
        return self.published.has(ref)

    def present(self, refs: Iterable[Ref]) -> set[Ref]:
        """Which of these are published right now: one listing for each kind."""
        asked = set(refs)
        # Believed to be there is not enough: another machine may have set it aside since.
        self.published.forget(asked)
        return {ref for ref in asked if self.published.has(ref)}

    def kinds(self) -> list[str]:
        return sorted({name.split("/", 1)[0] for name in self.remote.sizes(RemotePlaces.RECORDS)})

    def keys(self, kind: str) -> list[str]:
        return sorted(self.published.keys(kind))

    def records(self, refs: Iterable[Ref]) -> dict[Ref, bytes]:
        """The content of the records of those that are published: from the copies here, the others read at once."""
        asked = list(refs)
        found = self._here.records(asked)
        return found | self.published.contents(ref for ref in asked if ref not in found)

    def publish(self, record: Record) -> bool:
        """Send the files, then create the record, exclusively; False when another one was published first."""
        folder, place = self._here_and_there(record)
        # Before the record: whoever finds it finds the files.
        self.remote.upload({f"{place}/{name}": folder / name for name in record.files})
        won = self.published.create(record)
        if won:
            # An older copy may be here of an artefact that the remote has lost.
            self._note_here(record)
        else:
            self.remote.delete_folder(place)
        return won

    def set_aside(self, ref: Ref) -> None:
        """Unpublish it, here and there; its files at the remote stay where they are, under no record."""
        # A machine that has only looked at the store, by `seedbed status`, has no folder yet to set aside in.
        self._create_here()
        self.published.set_aside(ref)
        self._here.set_aside(ref)

    def remove(self, ref: Ref) -> None:
        self._create_here()
        self.published.remove(ref)
        self._here.remove(ref)

    def lease(self, ref: Ref) -> Lease:
        # Whoever asks is about to make it, and must see at once when somebody else has: no listing is new enough.
        self.published.contest(ref)
        return ClaimLease(self.remote, RemotePlaces(ref).claims)

    def fetch(self, ref: Ref) -> Record:
        """Bring an artefact's files here, whatever is here, verify them, and publish them here.

        Raises Absent, or Damaged for files or a record that are not those that were published: they were set aside.
        """
        content = self.published.newest(ref)
        if content is None:
            raise Absent(ref, "not published")
        try:
            record = Record.from_json(content, ref)
        except ValueError:
            self.published.set_aside(ref)
            raise self._damaged(ref) from None
        arriving = self.root / FolderPlaces(ref).attempt(f"{ATTEMPT}{uuid4().hex[:12]}")
        arriving.mkdir(parents=True)
        try:
            if self._has_come(record, arriving):
                self._take_in(record, arriving)
                return record
            if arriving.exists():
                self.published.set_aside(ref, record.attempt)
                raise self._damaged(ref)
        finally:
            shutil.rmtree(arriving, ignore_errors=True)
        # Another process of this machine has tidied the key meanwhile, and what was arriving with it.
        return self.fetch(ref)

    def send(self, folder: Path) -> None:
        """Copy the files of a local folder to its place at the remote, but for partial ones."""
        place = self._place_of(folder)
        files: dict[str, Path] = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                files[f"{place}/{path.relative_to(folder).as_posix()}"] = path
        self.remote.upload(files)

    def receive(self, folder: Path) -> None:
        place = self._place_of(folder)
        wanted: dict[str, Path] = {}
        for name in self.remote.sizes(place):
            # What is here was filled here: this process is one of those that fill the attempt.
            if not (folder / name).exists():
                wanted[f"{place}/{name}"] = folder / name
        self.remote.download(wanted)

    def tidy(self, ref: Ref, keep: str) -> None:
        """Remove checkpoints here, and all attempts of a key but one, here and there."""
        if self._here.has(ref):
            self._here.tidy(ref, keep)
        places = RemotePlaces(ref)
        attempts = {name.split("/", 1)[0] for name in self.remote.sizes(places.files)}
        for other in attempts - {keep}:
            self.remote.delete_folder(places.attempt(other))

    def read(self, name: str) -> bytes:
        return self.remote.read(name)

    def read_folder(self, folder: str) -> dict[str, bytes]:
        """The content of all documents in a folder, by name within it; what cannot change is read once."""
        copies: dict[str, int] = {}
        if folder in UNCHANGING:
            copies = self._here.sizes(folder)
        found: dict[str, bytes] = {}
        wanted: list[str] = []
        for name, size in self.remote.sizes(folder).items():
            if copies.get(name) == size:
                found[name] = self._here.read(f"{folder}/{name}")
            else:
                wanted.append(f"{folder}/{name}")
        for place, content in self.remote.read_all(wanted).items():
            found[place.removeprefix(f"{folder}/")] = content
            if folder in UNCHANGING:
                write_bytes(self.root / place, content)
        return found

    def write(self, documents: Mapping[str, bytes]) -> None:
        """Send each document, but for one that cannot change and is there already, as long as that."""
        there: dict[str, int] = {}
        for folder in UNCHANGING:
            if any(name.startswith(f"{folder}/") for name in documents):
                for name, size in self.remote.sizes(folder).items():
                    there[f"{folder}/{name}"] = size
        changed = {name: text for name, text in documents.items() if there.get(name) != len(text)}
        self.remote.write_all(changed)

    def sizes(self, folder: str) -> dict[str, int]:
        return self.remote.sizes(folder)

    def delete(self, name: str) -> None:
        if name.endswith("/"):
            self.remote.delete_folder(name.rstrip("/"))
        else:
            self.remote.delete(name)

    def log(self, path: Path) -> EventLog:
        """This process's part of a run's log, one for all its jobs."""
        local = self.root / EVENTS / path.name  # `path` is another machine's where that one drives the run
        return self._logs.setdefault(local, SharedLog(local, self.remote))

    def reader(self, path: Path) -> EventReader:
        return MergedReader(path, self.remote)

    def logs(self) -> list[Path]:
        """The logs of all runs; names begin with the time, so the last is the run that was begun last."""
        runs = {name.split("/", 1)[0] for name in self.remote.sizes(EVENTS)}
        return [self.root / run_log(run) for run in sorted(runs)]

    def slots(self) -> list[Slot]:
        return slots_at(self.remote, self.published)

    def leavings(self) -> list[Entry]:
        return leavings_at(self.remote)

    def _has_come(self, record: Record, folder: Path) -> bool:
        """Download the files of an artefact; whether each of them is as it was published."""
        _, place = self._here_and_there(record)
        try:
            self.remote.download({f"{place}/{name}": folder / name for name in record.files})
            return _is_whole(record, folder)
        except FileNotFoundError:
            return False

    def _take_in(self, record: Record, arrived: Path) -> None:
        """Put an artefact's files in their place; a copy that is whole stays there, for others may be reading it."""
        folder, _ = self._here_and_there(record)
        try:
            is_there = _is_whole(record, folder)
        except OSError:
            is_there = False
        if not is_there:
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # it is whole, or another process here was first
            arrived.rename(folder)
        self._note_here(record)

    def _here_and_there(self, record: Record) -> tuple[Path, str]:
        """Where the files of a published artefact lie: the folder here, and the place at the remote."""
        folder = self.root / FolderPlaces(record.ref).attempt(record.attempt)
        return folder, RemotePlaces(record.ref).attempt(record.attempt)

    def _note_here(self, record: Record) -> None:
        write_bytes(self.root / FolderPlaces(record.ref).record, record.to_json().encode())

    def _damaged(self, ref: Ref) -> Damaged:
        return Damaged(ref, f"damaged; set aside under {self.name}/{DAMAGED}")

    def _place_of(self, folder: Path) -> str:
        """Where the files of a folder of `root` lie at the remote."""
        parts = folder.relative_to(self.root).parts
        if parts[0] in BESIDE:
            return "/".join(parts)
        kind, key, attempt = parts
        return RemotePlaces(Ref(kind, key)).attempt(attempt)

    def _create_here(self) -> None:
        """The folder is ours by its name: `seedbed status` may have put copies there before any run."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if not (self.root / MARKER).exists():
                write_json(self.root / MARKER, {"format": FORMAT})
                (self.root / URL_NOTE).write_text(self.name + "\n", encoding="utf-8")  # for people who wonder
        except OSError as error:
            raise self._here.unusable(error) from None
        self._here.create()

    def _first_marker(self) -> bytes:
        marker = json.dumps({"format": RemotePlaces.FORMAT}).encode()
        try:
            if not self.remote.is_empty():
                raise UserError(self.name, "a place with other files", "a Seedbed store or an empty prefix")
            if not self.remote.create(MARKER, marker):
                # Another process has just made the store, perhaps one of another version.
                marker = self.remote.read(MARKER)
            return marker
        except OSError as error:
            raise self.unusable(error) from None


def url_backend(url: str) -> UrlBackend:
    """The place behind that URL, one for all stores of this process: it remembers what it has seen of the remote."""
    return _url_backend(url, mirror_folder(url))


# By URL and folder: a test, or a user, may change the cache's place within one process.
@lru_cache
def _url_backend(url: str, root: Path) -> UrlBackend:
    return UrlBackend(url, root)


def _is_whole(record: Record, folder: Path) -> bool:
    return all(sha256_of(folder / name) == sha for name, sha in record.files.items())
