"""What a store asks of the place where it lies; `_folder` and `_url` answer.

Artefacts are opened, and attempts filled, in a local folder (`root`). For a store in a folder that is the store
itself; behind a URL it is a cache in front of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

from harness.store.events import EventLog, EventReader
from harness.store.layout import Ref
from harness.store.lease import Lease
from harness.store.record import Record
from settings.errors import UserError

__all__ = ["Backend", "Entry", "Part", "Slot", "attempts_that_count", "format_in"]

Part = Literal["artefact", "attempt", "checkpoint", "lease", "partial", "damaged", "other"]


@dataclass(frozen=True)
class Entry:
    """Something that a store holds, and what it is."""

    part: Part
    name: str
    """What `Backend.delete` takes; a folder's ends with a slash."""
    # Asked for late: a `gc` that keeps nearly all would otherwise walk through every folder of the store.
    measured: Callable[[], int] = field(compare=False, repr=False)

    @cached_property
    def bytes(self) -> int:
        """How large it is; looked up when it is first asked for."""
        return self.measured()


@dataclass(frozen=True)
class Slot:
    """All that a store holds for one key, published or not."""

    ref: Ref
    published: bool
    """Whether there is a record; nothing is verified."""
    lease: Lease | None
    """To look at, not to take; None where there was none when the slots were listed."""
    listed: Callable[[], list[Entry]]

    @cached_property
    def entries(self) -> list[Entry]:
        """What is there for the key, published or not; looked up when it is first asked for."""
        return self.listed()

    def of(self, part: Part) -> list[Entry]:
        """Those entries of the key that are such a part: its checkpoint, say, or attempts that do not count."""
        return [entry for entry in self.entries if entry.part == part]

    @property
    def is_busy(self) -> bool:
        """Whether a living process works on it right now."""
        return self.lease is not None and self.lease.is_alive()

    @property
    def is_abandoned(self) -> bool:
        """Whether a process that worked on it was killed."""
        return self.lease is not None and self.lease.is_dead()


class Backend(Protocol):
    """The place where a store lies. Whatever cannot be read or written raises OSError."""

    root: Path
    """The local folder in which artefacts are opened and attempts filled."""
    location: str
    """What opens the store elsewhere, secrets included: for workers, never shown."""
    name: str
    """The location as it may be shown."""

    def create(self) -> None:
        """Make the store where there is none; UserError for a place with other things, or of another format."""

    def exists(self) -> bool:
        """Whether a run has made the store there; nothing is created or changed."""

    def check_there(self) -> None:
        """Raise UserError where the store that was opened is gone: nothing may be written in its place."""

    def check_writable(self) -> None:
        """Raise UserError where nothing can be written: better told before a night's work than after."""

    def unusable(self, error: OSError) -> UserError:
        """What was refused when the place was read or written, as the error that a user is told."""

    # What is published

    def has(self, ref: Ref) -> bool:
        """Whether the artefact is published, as far as this process knows; a key whose lease it asked for: right now.

        For thousands of questions in a row: those about one kind may be answered from a listing a second old.
        """

    def present(self, refs: Iterable[Ref]) -> set[Ref]:
        """Which of these are published right now."""

    def kinds(self) -> list[str]:
        """The names of the kinds of stage of which there may be artefacts."""

    def keys(self, kind: str) -> list[str]:
        """The keys of all published artefacts of a kind, ascending; nothing is opened or verified."""

    def records(self, refs: Iterable[Ref]) -> dict[Ref, bytes]:
        """The content of the records of those that are published, as it was written."""

    def publish(self, record: Record) -> bool:
        """Make the attempt that the record names the artefact, in one step; False where another one was first."""

    def set_aside(self, ref: Ref) -> None:
        """Unpublish an artefact in one step and keep what there is of it in `damaged/`."""

    def remove(self, ref: Ref) -> None:
        """Unpublish an artefact in one step, then delete all that its key has; a kill in between leaves `damaged/`."""

    def lease(self, ref: Ref) -> Lease:
        """The lease that keeps two processes off one stage (not yet taken)."""

    # Files

    def fetch(self, ref: Ref) -> Record | None:
        """Bring an artefact's files into `root` anew, each verified; None where there are no others than those there.

        Raises Absent, or Damaged for files that are not those that were published: they were set aside.
        """

    def send(self, folder: Path) -> None:
        """Let other machines see the files in a folder of `root`: an attempt's, or one that lies beside artefacts."""

    def receive(self, folder: Path) -> None:
        """Bring the files here that other machines have sent into an attempt and that are not here."""

    def tidy(self, ref: Ref, keep: str) -> None:
        """Remove what a published key needs no more: its checkpoints, and all attempts but the one that counts."""

    # Documents: small files beside artefacts, replaced whole

    def read(self, name: str) -> bytes:
        """What a document says now, whatever was read before; raises FileNotFoundError."""

    def read_folder(self, folder: str) -> dict[str, bytes]:
        """The content of all documents in a folder, by name within it."""

    def write(self, documents: Mapping[str, bytes]) -> None:
        """Have each document, by its name, say that; one that says so already is left as it is."""

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of every file below a folder that lies beside artefacts, by its name within."""

    def delete(self, name: str) -> None:
        """Remove a file, or a folder whose name ends with a slash; nothing where it is not there."""

    # Event logs

    def log(self, path: Path) -> EventLog:
        """Where this process writes events of the run that has this log in `root`."""

    def reader(self, path: Path) -> EventReader:
        """Reads what all processes of a run have written."""

    def logs(self) -> list[Path]:
        """The logs of all runs, as paths in `root`; the newest run's is the last."""

    # Care

    def slots(self) -> list[Slot]:
        """All keys of which there is anything, published or not, by kind and key."""

    def leavings(self) -> list[Entry]:
        """What was set aside, and what killed processes left outside of keys; never what one may be writing."""


def attempts_that_count(record: bytes | None, ref: Ref, attempts: Iterable[str]) -> set[str]:
    """Those attempts of a key that care must leave alone: the one that its record names, none without a record.

    All of them where the record cannot be read: `verify` looks into that, and may find that the files are whole.
    """
    if record is None:
        return set()
    try:
        return {Record.from_json(record, ref).attempt}
    except ValueError:
        return set(attempts)


def format_in(marker: bytes) -> object:
    """The format that a store's marker names, to be told where it is another one than expected."""
    try:
        found: object = json.loads(marker)["format"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return "that nobody can read"
    return found
