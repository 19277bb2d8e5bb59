"""What runs need that go on right now, as their event logs and the descriptions of their stages tell."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Set
from pathlib import Path
from typing import Any

from harness.reports.status import SILENT_S, lives
from harness.store.events import Event, EventReader
from harness.store.layout import Ref
from harness.store.store import Store


def needed_by_runs(store: Store, busy: Set[Ref]) -> set[Ref]:
    """The stages that living processes hold, all that their runs make or show, and everything that these come from.

    A run whose log is not ended goes on while its driver lives, one of its stages is held, or its log is not silent.
    """
    described = store.root / "stages"
    refs = set(busy)
    shown: list[Ref] = []
    for started in _beginnings(store.root / "events", {ref.key for ref in busy}):
        refs |= {Ref(kind, key) for key in started["groups"] for kind in _kind_of(described / f"{key}.json")}
        shown += _refs(started.get("shown"))
    needs = [need for ref in refs for need in _inputs_of(described / f"{ref.key}.json")]
    return refs | _with_ancestors(store, [*needs, *shown])


def _beginnings(folder: Path, busy: Set[str]) -> Iterator[dict[str, Any]]:
    """The first event of every run that goes on."""
    for log in folder.glob("*.jsonl"):
        events = {event["event"]: event for event in EventReader(log).new()}
        started = events.get(Event.RUN_STARTED, {})
        if "groups" in started and Event.RUN_FINISHED not in events:
            heard_of = time.time() - log.stat().st_mtime < SILENT_S
            if heard_of or lives(started.get("driver", {})) or started["groups"].keys() & busy:
                yield started


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
        return _refs([pair for refs in inputs.values() for pair in refs] if isinstance(inputs, dict) else inputs)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return []


def _refs(pairs: Any) -> list[Ref]:
    """Kinds with keys as JSON has them; none where they cannot be read."""
    try:
        return [Ref(str(kind), str(key)) for kind, key in pairs]
    except (ValueError, TypeError):
        return []


def _kind_of(path: Path) -> list[str]:
    """The kind of a described stage; none where its description cannot be read."""
    try:
        return [str(json.loads(path.read_text(encoding="utf-8"))["kind"])]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return []
