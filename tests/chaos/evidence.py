"""What must be as if nothing had happened: the leaderboard, bit by bit, and a store that is whole and tidy."""

import csv
import hashlib
import re
from collections import Counter
from itertools import zip_longest
from pathlib import Path
from typing import Any
from unittest.mock import patch

from harness.stages.planning import make_plan
from harness.store.care.usage import verify
from harness.store.care.waste import remove, waste_of
from harness.store.events import EventReader
from harness.store.store import Store
from harness.suites.suite import load_suite
from results.parquet import read_table

MEASURED = ("seconds", "gpu_seconds", "peak_memory_bytes")
"""The columns of rows that no two runs agree on."""
SECONDS = re.compile(r"(?m)\d+\.\d \|$")
"""In table.md the last column, and the only one with a single decimal."""


def differences(folder: Path, undisturbed: Path) -> list[str]:
    """The files of a leaderboard that are not those of the undisturbed run, with the first place where they differ."""
    names = {path.name for path in (*folder.iterdir(), *undisturbed.iterdir())}
    pairs = {name: (_parts(folder / name), _parts(undisturbed / name)) for name in sorted(names)}
    return [
        f"different: {name}: {next(pair for pair in zip_longest(mine, theirs) if pair[0] != pair[1])}"
        for name, (mine, theirs) in pairs.items()
        if mine != theirs
    ]


def _parts(path: Path) -> list[Any]:
    """What must be equal of a file."""
    if not path.exists():
        return ["no such file"]
    if path.name == "rows.parquet":
        rows = read_table(path).drop_columns(list(MEASURED)).to_pylist()
        return [item for row in rows for item in row.items()]
    if path.name == "table.csv":
        with path.open(newline="") as file:
            return [{**row, "seconds": ""} for row in csv.DictReader(file)]
    if path.name == "table.md":
        return SECONDS.sub("|", path.read_text()).splitlines()
    # A fingerprint of rows with their seconds; and the page of what lies beside it, in which seconds are drawn.
    if path.name in ("state.json", "report.html"):
        return []
    return [hashlib.sha256(path.read_bytes()).hexdigest()]


def flaws(store: Store) -> list[str]:
    """What is wrong with a store that no run uses any more, after `gc` took what kills left."""
    damaged = verify(store)[1]
    # What another run had made meanwhile is told as finished in no time.
    made = [event for event in _events(store, "finished") if event["seconds"]]
    ended = Counter(key for event in made for key in event["stages"])
    # What was found damaged is made once more.
    ended -= Counter(path.name.split("-")[1] for path in store.root.glob("damaged/*-*-*"))
    with patch("harness.store.backends._folder.PARTIAL_S", 0):
        for waste in waste_of(store, set(make_plan(load_suite("smoke")).graph)):
            remove(store, waste)
    return [
        *(f"damaged: {ref}" for ref in damaged),
        *(f"made {count} times: {key}" for key, count in ended.items() if count > 1),
        *(f"left over: {name}" for name in _leavings(store)),
    ]


def lost_jobs(store: Store) -> int:
    """How many jobs were begun that did not end."""
    return len(_events(store, "started")) - len(_events(store, "finished"))


def _events(store: Store, name: str) -> list[dict[str, Any]]:
    logs = [EventReader(path) for path in store.root.glob("events/*.jsonl")]
    return [event for log in logs for event in log.new() if event["event"] == name]


def _leavings(store: Store) -> list[str]:
    beside = {entry.name for slot in store.backend.slots() for entry in slot.entries if entry.part != "artefact"}
    hidden = {path.relative_to(store.root).as_posix() for path in store.root.rglob(".*")}
    return sorted(beside | hidden | {entry.name for entry in store.backend.leavings()})
