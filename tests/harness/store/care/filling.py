"""What tests of a store's care put into it, wherever it lies, and how they look at it."""

import json
import time
from collections.abc import Mapping
from dataclasses import replace

from harness.stages.planning import make_plan
from harness.store.backends.urls import is_url
from harness.store.layout import FolderPlaces, Ref, RemotePlaces
from harness.store.lease import this_process
from harness.store.store import Store
from harness.suites.suite import load_suite

DEAD = {**this_process(), "start": "1", "token": "theirs"}
LIVING = {**this_process(), "token": "theirs"}


def key_of(text: str) -> str:
    return text.ljust(64, "0")


def publish(store: Store, kind: str, key: str, content: bytes = b"content", inputs: tuple[Ref, ...] = ()) -> Ref:
    """One artefact with one file."""
    attempt = store.attempt(Ref(kind, key_of(key)))
    attempt.path("file.bin").write_bytes(content)
    attempt.record = replace(attempt.record, inputs=inputs)
    assert store.publish(attempt)
    return attempt.ref


def begin(store: Store, ref: Ref) -> None:
    """An attempt that is there, half filled, and that nobody has published."""
    attempt = store.attempt(ref)
    attempt.path("half").write_text("half")
    store.hand_over(attempt)


def hold(store: Store, ref: Ref, holder: Mapping[str, object]) -> None:
    """A lease of somebody else."""
    claim = RemotePlaces.claim(RemotePlaces(ref).claims, 1)
    place = claim if is_url(store.location) else FolderPlaces(ref).lease
    store.write_documents({place: json.dumps({**holder, "t": time.time()}).encode()})


def describe(store: Store, ref: Ref, inputs: Mapping[str, tuple[Ref, ...]]) -> None:
    """What a run writes down of a stage, as far as care looks at it."""
    content = {"kind": ref.kind, "inputs": inputs}
    store.write_documents({f"stages/{ref.key}.json": json.dumps(content).encode()})


def refs_in(store: Store) -> set[Ref]:
    """All keys of which there is anything."""
    return {slot.ref for slot in store.backend.slots()}


def contents(store: Store) -> dict[tuple[Ref, str], bytes]:
    """Every file of every artefact."""
    found = {}
    for slot in store.backend.slots():
        if slot.published:
            artefact = store.open(slot.ref)
            found |= {(slot.ref, name): artefact.path(name).read_bytes() for name in artefact.record.files}
    return found


def leftovers(store: Store) -> list[str]:
    """What nobody may leave behind: attempts that do not count, leases, partial files."""
    return [entry.name for slot in store.backend.slots() for entry in slot.entries if entry.part != "artefact"]


def smoke_plan() -> dict[str, set[Ref]]:
    """All stages of the smoke suite, as gc and export are told of them."""
    return {"smoke": set(make_plan(load_suite("smoke")).graph)}
