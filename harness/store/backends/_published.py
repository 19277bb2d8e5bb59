"""What is published at a remote: asked as seldom as possible, and as freshly as whoever asks needs it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress

from harness.store.backends._remote import Remote
from harness.store.layout import DAMAGED, Ref, RemotePlaces, document_of, key_of_document
from harness.store.record import Record

# So old may the listing be that a question is answered from: a plan asks about thousands of keys in a row.
LISTING_S = 1.0


class Published:
    """Records at a remote, as this process has seen them."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._there: dict[str, set[str]] = {}
        self._listed: dict[str, float] = {}
        self._contested: set[Ref] = set()
        self._contents: dict[Ref, bytes] = {}

    def has(self, ref: Ref) -> bool:
        """Whether it is published: the newest answer for a contested key, else a listing's.

        What was there once is not asked for again, until `forget`.
        """
        if ref in self._contested:
            if self.newest(ref) is None:
                return False
            self._note(ref)
        return ref.key in self._there.get(ref.kind, ()) or ref.key in self.keys(ref.kind)

    def contest(self, ref: Ref) -> None:
        """Remember that somebody is about to make it: from now on `has` asks the remote for its record alone."""
        self._contested.add(ref)

    def forget(self, refs: Iterable[Ref]) -> None:
        """Drop what is believed of these artefacts, so that the next question about them is asked at the remote."""
        for ref in refs:
            self._there.get(ref.kind, set()).discard(ref.key)
            self._listed.pop(ref.kind, None)
            self._contents.pop(ref, None)

    def keys(self, kind: str) -> set[str]:
        """All published keys of a kind, as of a moment ago."""
        if time.monotonic() - self._listed.get(kind, -LISTING_S) >= LISTING_S:
            names = self._remote.sizes(RemotePlaces.records(kind))
            self._there[kind] = set(map(key_of_document, names))
            self._listed[kind] = time.monotonic()
        return self._there[kind]

    def contents(self, refs: Iterable[Ref]) -> dict[Ref, bytes]:
        """The records of those that are there; each is read once."""
        asked = list(refs)
        unread = [ref for ref in asked if ref not in self._contents]
        wanted = {RemotePlaces(ref).record: ref for ref in unread}
        for path, content in self._remote.read_all(wanted).items():
            self._contents[wanted[path]] = content
        absent = [ref for ref in asked if ref not in self._contents]
        # A listing says otherwise? It is out of date.
        self.forget(ref for ref in absent if ref.key in self._there.get(ref.kind, ()))
        return {ref: self._contents[ref] for ref in asked if ref in self._contents}

    def newest(self, ref: Ref) -> bytes | None:
        """The record as it is now, whatever was read before; None where there is none."""
        self._contents.pop(ref, None)
        return self.contents([ref]).get(ref)

    def create(self, record: Record) -> bool:
        """Publish by creating the record exclusively; False when another one is there."""
        content = record.to_json().encode()
        won = self._remote.create(RemotePlaces(record.ref).record, content)
        if won:
            self._contents[record.ref] = content
            self._note(record.ref)
        return won

    def set_aside(self, ref: Ref, attempt: str = "") -> None:
        """Unpublish, and keep the record under `damaged/`; with `attempt`, only while that one is the artefact."""
        self.forget([ref])
        place = RemotePlaces(ref).record
        with suppress(FileNotFoundError):
            content = self._remote.read(place)
            # Made again meanwhile? A moment is left in which it may be: then it is made once more.
            if attempt in ("", _attempt_of(ref, content)):
                self._remote.write(document_of(DAMAGED, f"{ref.kind}-{ref.key}-{time.time_ns()}"), content)
                self._remote.delete(place)

    def remove(self, ref: Ref) -> None:
        """Unpublish in one step, then delete the files."""
        self._remote.delete(RemotePlaces(ref).record)
        self._remote.delete_folder(RemotePlaces(ref).files)
        self.forget([ref])

    def _note(self, ref: Ref) -> None:
        self._contested.discard(ref)
        self._there.setdefault(ref.kind, set()).add(ref.key)


def _attempt_of(ref: Ref, content: bytes) -> str:
    try:
        return Record.from_json(content, ref).attempt
    except ValueError:
        return ""
