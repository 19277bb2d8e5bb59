"""What runs need that go on right now, as their event logs and the descriptions of their stages tell."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Set
from pathlib import Path

from harness.events import EventReader
from harness.graph import Ref
from harness.status import SILENT_S
from harness.store import Store


def needed_by_runs(store: Store, busy: Set[Ref]) -> set[Ref]:
    """The stages that living processes hold, all stages of their runs, and everything that these come from.

    A run counts as going on when one of its stages is held, or when its log is not ended and not silent either.
    """
    described = store.root / "stages"
    refs = set(busy)
    for key in _keys_of_runs(store.root / "events", {ref.key for ref in busy}):
        refs |= {Ref(kind, key) for kind in _kind_of(described / f"{key}.json")}
    needs = [need for ref in refs for need in _inputs_of(described / f"{ref.key}.json")]
    return refs | _with_ancestors(store, needs)


def _keys_of_runs(folder: Path, busy: Set[str]) -> set[str]:
    keys: set[str] = set()
    for log in folder.glob("*.jsonl"):
        heard_of = time.time() - log.stat().st_mtime < SILENT_S
        if heard_of or busy:
            events = {event["event"]: event for event in EventReader(log).new()}
            of_run = set(events.get("run_started", {}).get("groups", ()))
            if "run_finished" not in events and (heard_of or of_run & busy):
                keys |= of_run
    return keys


def _with_ancestors(store: Store, pending: Iterable[Ref]) -> set[Ref]:
    found: set[Ref] = set()
    waiting = list(pending)
    while waiting:
        ref = waiting.pop()
        if ref not in found:
            found.add(ref)
            waiting += _inputs_of(store.root.joinpath(*ref) / "done.json")
    return found


def _inputs_of(path: Path) -> list[Ref]:
    """The inputs that a stage's description (by role) or a record (a list) names; none where it cannot be read."""
    try:
        inputs = json.loads(path.read_text(encoding="utf-8"))["inputs"]
        pairs = [pair for refs in inputs.values() for pair in refs] if isinstance(inputs, dict) else inputs
        return [Ref(str(kind), str(key)) for kind, key in pairs]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return []


def _kind_of(path: Path) -> list[str]:
    """The kind of a described stage; none where its description cannot be read."""
    try:
        return [str(json.loads(path.read_text(encoding="utf-8"))["kind"])]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return []
