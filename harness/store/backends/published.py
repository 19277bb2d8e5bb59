"""What is published at a remote: asked as seldom as possible, and as freshly as whoever asks needs it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from harness.store.backends.layout import done_at, files_at, is_record, plain
from harness.store.backends.remote import Remote
from harness.store.layout import Ref
from harness.store.store import Absent, Damaged, Lost

LISTING_S = 1.0
"""So old may the listing be that a question about many keys is answered from."""


class Published:
    """Records at a remote, as this process has seen them."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._there: dict[str, set[str]] = {}
        self._listed: dict[str, float] = {}
        self._contested: set[Ref] = set()
        self._records: dict[Ref, Mapping[str, Any]] = {}

    def has(self, ref: Ref) -> bool:
        """Whether it is published: the newest answer for a contested key, else a listing's.

        What was there once is not asked for again, until `forget`.
        """
        if ref in self._contested:
            self._records.pop(ref, None)
            try:
                self.record(ref)
            except Lost:
                return False
            self._note(ref)
        return ref.key in self._there.get(ref.kind, ()) or ref.key in self.keys(ref.kind)

    def contest(self, ref: Ref) -> None:
        """Somebody is about to make it: from now on its key is asked for alone."""
        self._contested.add(ref)

    def forget(self, refs: Iterable[Ref]) -> None:
        """Ask the remote again."""
        for ref in refs:
            self._there.get(ref.kind, set()).discard(ref.key)
            self._listed.pop(ref.kind, None)
            self._records.pop(ref, None)

    def keys(self, kind: str) -> set[str]:
        """All keys of a kind."""
        if time.monotonic() - self._listed.get(kind, -LISTING_S) >= LISTING_S:
            self._there[kind] = {name.removesuffix(".json") for name in self._remote.sizes(f"done/{kind}")}
            self._listed[kind] = time.monotonic()
        return self._there[kind]

    def kinds(self) -> list[str]:
        """The kinds that have artefacts."""
        return sorted({path.split("/", 1)[0] for path in self._remote.sizes("done")})

    def prepare(self, refs: Iterable[Ref]) -> None:
        """Read many records at once."""
        wanted = {done_at(ref): ref for ref in refs if ref not in self._records}
        for path, content in self._remote.read_all(wanted).items():
            if is_record(record := plain(content)):
                self._records[wanted[path]] = record

    def record(self, ref: Ref) -> Mapping[str, Any]:
        """A record; raises Absent, or Damaged for one that cannot be read (it was set aside)."""
        if ref not in self._records:
            try:
                record = plain(self._remote.read(done_at(ref)))
            except FileNotFoundError:
                self.forget([ref])
                raise Absent(ref, "not published") from None
            if not is_record(record):
                self.set_aside(ref)
                raise self.damaged(ref)
            self._records[ref] = record
        return self._records[ref]

    def create(self, ref: Ref, record: Mapping[str, Any]) -> bool:
        """Publish; False when somebody else has."""
        won = self._remote.create(done_at(ref), json.dumps(record, indent=1, sort_keys=True).encode())
        if won:
            self._records[ref] = record
            self._note(ref)
        return won

    def set_aside(self, ref: Ref, attempt: str = "") -> None:
        """Unpublish, and keep the record under `damaged/`; with `attempt`, only while that one is the artefact."""
        self.forget([ref])
        with suppress(FileNotFoundError):
            content = self._remote.read(done_at(ref))
            # Made again meanwhile? A moment is left in which it may be: then it is made once more.
            if attempt in ("", plain(content).get("attempt")):
                self._remote.write(f"damaged/{ref.kind}-{ref.key}-{time.time_ns()}.json", content)
                self._remote.delete(done_at(ref))

    def remove(self, ref: Ref) -> None:
        """Unpublish in one step, then delete the files."""
        self._remote.delete(done_at(ref))
        self._remote.delete_folder(files_at(ref))
        self.forget([ref])

    def damaged(self, ref: Ref) -> Damaged:
        """The error for what was set aside."""
        return Damaged(ref, f"damaged; set aside under {self._remote.name}/damaged")

    def _note(self, ref: Ref) -> None:
        self._contested.discard(ref)
        self._there.setdefault(ref.kind, set()).add(ref.key)
