"""What a store behind a URL holds, for its care: told from listings, of which a few answer for a thousand keys."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial

from harness.store.backends._claims import ClaimLease
from harness.store.backends._folder import PARTIAL_S
from harness.store.backends._published import Published
from harness.store.backends._remote import Remote
from harness.store.backends.backend import Entry, Part, Slot, attempts_that_count
from harness.store.layout import DAMAGED, Ref, RemotePlaces, key_of_document


def slots_at(remote: Remote, published: Published) -> list[Slot]:
    """All keys of which there is anything at the remote, published or not, by kind and key."""
    # In this order: an attempt that is seen here and published while the next listings are made is found held or
    # published by them, and is not taken for one that a killed process left.
    files = _by_key(remote.sizes(RemotePlaces.FILES))
    claims = _by_key(remote.sizes(RemotePlaces.LEASES))
    records: dict[Ref, int] = {}
    for name, size in remote.sizes(RemotePlaces.RECORDS).items():
        kind, _, rest = name.partition("/")
        records[Ref(kind, key_of_document(rest))] = size
    slots: list[Slot] = []
    for ref in sorted(files.keys() | claims.keys() | records.keys()):
        lease = None
        if ref in claims:
            lease = ClaimLease(remote, RemotePlaces(ref).claims)
        listed = partial(_entries, ref, files.get(ref, {}), claims.get(ref, {}), records.get(ref), published)
        slots.append(Slot(ref, ref in records, lease, listed))
    return slots


def leavings_at(remote: Remote) -> list[Entry]:
    """What is in `damaged/`, and probes whose writers were killed; objects themselves appear whole."""
    found: list[Entry] = []
    for name, size in remote.sizes(DAMAGED).items():
        found.append(_entry("damaged", f"{DAMAGED}/{name}", size))
    for name, size in remote.sizes(RemotePlaces.CLOCK).items():
        probe = RemotePlaces.probe(name)
        with suppress(FileNotFoundError):
            if (remote.age(probe) or 0.0) > PARTIAL_S:
                found.append(_entry("partial", probe, size))
    return found


def _entries(
    ref: Ref, files: Mapping[str, int], claims: Mapping[str, int], record_bytes: int | None, published: Published
) -> list[Entry]:
    places = RemotePlaces(ref)
    attempts: dict[str, int] = {}
    for name, size in files.items():
        attempt = name.split("/", 1)[0]
        attempts[attempt] = attempts.get(attempt, 0) + size
    entries: list[Entry] = []
    counting: set[str] = set()
    if record_bytes is not None:
        entries.append(_entry("artefact", places.record, record_bytes))
        # Removed since it was listed? Then nobody can say which attempt counted.
        record = published.contents([ref]).get(ref, b"")
        counting = attempts_that_count(record, ref, attempts)
    for attempt, size in attempts.items():
        part: Part = "attempt"
        if attempt in counting:
            part = "artefact"
        entries.append(_entry(part, f"{places.attempt(attempt)}/", size))
    if claims:
        entries.append(_entry("lease", f"{places.claims}/", sum(claims.values())))
    return entries


def _by_key(sizes: Mapping[str, int]) -> dict[Ref, dict[str, int]]:
    """Objects `<kind>/<key>/<rest>` with their sizes: by kind and key, then by the rest."""
    found: dict[Ref, dict[str, int]] = {}
    for name, size in sizes.items():
        kind, _, rest = name.partition("/")
        key, _, within = rest.partition("/")
        found.setdefault(Ref(kind, key), {})[within] = size
    return found


def _entry(part: Part, name: str, size: int) -> Entry:
    return Entry(part, name, lambda: size)
