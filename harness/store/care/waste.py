"""What can go from a store, and its removal: each key under its lease, so that living holders are left alone.

What runs need that go on right now is told by their event logs and by the descriptions of their stages; what searches
need, by the trials that they have on record.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from harness.store.backends.backend import Entry, Slot
from harness.store.care.usage import published
from harness.store.events import SILENT_S, Event, Told
from harness.store.layout import FAILURES, SEARCHES, STAGES, Ref, document_of, key_of_document
from harness.store.lease import lives
from harness.store.store import Store
from settings.errors import UserError, unknown_name

__all__ = ["Waste", "chosen", "needed_by", "remove", "waste_of"]


@dataclass(frozen=True)
class Waste:
    """Something that can go: one entry of a store, or all that a key has."""

    what: str
    entries: Sequence[Entry]
    ref: Ref | None = None
    """The key whose lease guards it, if any."""
    is_whole_key: bool = False

    @property
    def bytes(self) -> int:
        """How many bytes its removal frees."""
        return sum(entry.bytes for entry in self.entries)


@dataclass(frozen=True)
class _Described:
    """What a run has written down of a stage, as far as it can be read."""

    kind: str = ""
    inputs: Sequence[Ref] = ()

    @classmethod
    def read(cls, text: bytes) -> _Described:
        try:
            content = json.loads(text)
            inputs: list[Ref] = []
            for pairs in content["inputs"].values():
                inputs += _refs(pairs)
            return cls(str(content["kind"]), inputs)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return cls()


def needed_by(store: Store, plans: Mapping[str, Collection[Ref]]) -> set[Ref]:
    """Every stage of the plans, which are given by the name of their suite.

    Raises UserError where a store that holds artefacts has none of a plan's: a plan made with other options, or for
    another kind of CPU, would take all that is there for waste.
    """
    there = set(published(store))
    needed: set[Ref] = set()
    for name, refs in plans.items():
        if there and there.isdisjoint(refs):
            mend = "name it with the --set options of its run, on the same kind of machine; or use `seedbed store rm`"
            raise UserError(store.name, f"no artefact of {name}", "a suite that was run on this store", mend)
        needed |= set(refs)
    return needed


def waste_of(store: Store, needed: Set[Ref]) -> list[Waste]:
    """What can go when only `needed` must stay, and what runs that go on right now need.

    A checkpoint of a stage that is needed and not yet published stays: the next run continues from it.
    """
    every = store.backend.slots()
    busy = {slot.ref for slot in every if slot.is_busy}
    kept = needed | _needed_by_runs(store, busy) | _needed_by_searches(store)
    found: list[Waste] = []
    for slot in every:
        if slot.ref not in busy:
            found += _of_slot(slot, slot.ref in kept)
    for entry in store.backend.leavings():
        what = "partial files"
        if entry.part == "damaged":
            what = "damaged"
        found.append(Waste(what, [entry]))
    keys = {ref.key for ref in kept}
    for folder in (STAGES, FAILURES):
        for name, size in store.backend.sizes(folder).items():
            key = key_of_document(name)
            place = document_of(folder, key)
            # Another file there may be anybody's: only what is named like a document goes.
            if place == f"{folder}/{name}" and key not in keys:
                found.append(Waste(f"records of {folder}", [Entry("other", place, partial(int, size))]))
    return found


def chosen(store: Store, names: Iterable[str]) -> list[Waste]:
    """The keys that kinds or beginnings of keys name; raises UserError for an unclear name or a running stage."""
    every = store.backend.slots()
    found: dict[Ref, Slot] = {}
    for name in names:
        for slot in _named(every, name):
            found[slot.ref] = slot
    for ref, slot in found.items():
        if slot.is_busy:
            raise UserError(ref, "a stage that is running", "one that nobody works on", "stop its run first")
    return [_whole(slot, ref.kind) for ref, slot in found.items()]


def remove(store: Store, waste: Waste) -> bool:
    """Remove it; False, and nothing is done, when a living process has taken its key meanwhile."""
    if waste.ref is None:
        _delete(store, waste)
        return True
    lease = store.lease(waste.ref)
    if not lease.acquire():
        return False
    # Under the lease nobody begins on the key meanwhile.
    with lease:
        if waste.is_whole_key:
            store.backend.remove(waste.ref)
        elif not _counts_now(store, waste, waste.ref):
            _delete(store, waste)
    return True


def _delete(store: Store, waste: Waste) -> None:
    for entry in waste.entries:
        store.backend.delete(entry.name)


def _counts_now(store: Store, waste: Waste, ref: Ref) -> bool:
    """Whether an attempt was published since it was listed, by a process whose lease had looked abandoned."""
    record = store.records([ref]).get(ref)
    if record is None:
        return False
    attempts = [entry for entry in waste.entries if entry.part == "attempt"]
    return record.attempt in {PurePosixPath(entry.name).name for entry in attempts}


def _whole(slot: Slot, what: str) -> Waste:
    return Waste(what, slot.entries, slot.ref, is_whole_key=True)


def _of_slot(slot: Slot, needed: bool) -> list[Waste]:
    if not needed:
        what = "unpublished keys"
        if slot.published:
            what = slot.ref.kind
        return [_whole(slot, what)]
    names = {"attempt": "discarded attempts", "partial": "partial files", "lease": "leases of dead holders"}
    # Before it is published the next run continues from it.
    if slot.published:
        names["checkpoint"] = "checkpoints"
    found: list[Waste] = []
    for entry in slot.entries:
        if entry.part in names:
            found.append(Waste(names[entry.part], [entry], slot.ref))
    return found


def _named(every: Sequence[Slot], name: str) -> list[Slot]:
    of_kind = [slot for slot in every if slot.ref.kind == name]
    if of_kind:
        return of_kind
    kind, _, prefix = name.rpartition("/")
    of_kind = [slot for slot in every if kind in ("", slot.ref.kind)]
    found = [slot for slot in of_kind if slot.ref.key.startswith(prefix)]
    if not prefix or not found:
        raise unknown_name("KEY|KIND", "key or kind", name, {slot.ref.kind for slot in every})
    if len(found) > 1:
        several = ", ".join(str(slot.ref) for slot in found[:3])
        raise UserError("KEY|KIND", f"'{name}', which fits {len(found)} keys ({several} …)", "the beginning of one key")
    return found


def _needed_by_runs(store: Store, busy: Set[Ref]) -> set[Ref]:
    """The stages that living processes hold, all that their runs make or show, and everything that these come from."""
    runs = list(_runs_that_go_on(store, {ref.key for ref in busy}))
    if not runs and not busy:
        return set()
    described: dict[str, _Described] = {}
    for name, text in store.documents(STAGES).items():
        described[key_of_document(name)] = _Described.read(text)
    refs = set(busy)
    needs: list[Ref] = []
    for started in runs:
        for key in started["groups"]:
            if key in described and described[key].kind:
                refs.add(Ref(described[key].kind, key))
        needs += _refs(started.get("shown"))
    for ref in refs:
        if ref.key in described:
            needs += described[ref.key].inputs
    return refs | _with_ancestors(store, needs)


def _needed_by_searches(store: Store) -> set[Ref]:
    """The stages of all trials that searches have on record: without them they could not be continued or extended."""
    found: set[Ref] = set()
    for name in store.backend.sizes(SEARCHES):
        if name.endswith(".json"):
            with suppress(OSError, ValueError, TypeError, AttributeError, RecursionError):
                content = json.loads(store.read_document(f"{SEARCHES}/{name}"))
                found.update(_refs(content.get("claimed", ())), _refs(content.get("targets", ())))
    return found


def _runs_that_go_on(store: Store, busy: Set[str]) -> Iterator[Told]:
    """The first event of every run that goes on, with the stages that were added since.

    One whose log is not ended does while its driver lives, one of its stages is held, or its log is not silent.
    """
    for log in store.logs():
        reader = store.reader(log)
        started: Told | None = None
        is_over = False
        for event in reader.new():
            if event["event"] == Event.RUN_STARTED:
                started = event
            elif event["event"] == Event.GROWN and started is not None and "groups" in started:
                started["groups"] |= event.get("groups", {})
                started["shown"] = [*started.get("shown", []), *event.get("shown", [])]
            is_over = is_over or event["event"] == Event.RUN_FINISHED
        if started is None or "groups" not in started or is_over:
            continue
        driver_lives = lives(started.get("driver", {}))
        if driver_lives or started["groups"].keys() & busy or reader.silence_s() < SILENT_S:
            yield started


def _with_ancestors(store: Store, refs: Iterable[Ref]) -> set[Ref]:
    found: set[Ref] = set()
    waiting = set(refs)
    while waiting:
        found |= waiting
        records = store.records(waiting)
        waiting = set()
        for record in records.values():
            waiting |= set(record.inputs) - found
    return found


def _refs(pairs: object) -> list[Ref]:
    """Kinds with keys as JSON has them; empty where they cannot be read."""
    try:
        return [Ref(str(kind), str(key)) for kind, key in pairs]  # type: ignore[attr-defined]  # tried
    except (ValueError, TypeError):
        return []
