"""The event log: one JSON object a line, appended by every process of a run, read by displays and `seedbed status`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Literal, Required, TypedDict, TypeGuard

from harness.store.layout import STOP_SUFFIX

__all__ = [
    "SILENT_S",
    "VERSION",
    "Ending",
    "Event",
    "EventLog",
    "EventReader",
    "Told",
    "append",
]

VERSION = 1
THROTTLE_S = 0.5
MAX_LINE = 1 << 24
"""So long is no event: that which begins a run names its stages, a hundred bytes for each."""
TAIL_BYTES = 1 << 20
"""So much of a log's end is looked at for its newest event."""
# A run of which nothing was heard for so many seconds, and whose driver nobody can see, may have been killed.
SILENT_S = 60


class Told(TypedDict, total=False):
    """One event as a line of the log tells it: what it is and when, and what belongs to that kind of event."""

    v: int
    t: Required[float]
    """Seconds since 1970, by the clock of the machine that tells it."""
    event: Required[str]
    """A value of Event or Ending; displays pass over words that they do not know."""

    # Of runs
    suite: str
    executor: str
    slots: int
    groups: dict[str, str]
    """Key of each stage that the run makes → the group that displays count it in."""
    shown: list[list[str]]
    """Kind and key of what the run is for; they stay while it goes on."""
    driver: dict[str, object]
    """The process that hands out the stages, as `this_process` describes it."""
    failures: int
    blocked: int
    stopped: bool

    # Of stages
    stages: list[str]
    """Their keys: several where they are one job."""
    pid: int
    """Of the process that runs them."""
    reason: str
    done: int
    total: int
    unit: str
    values: dict[str, float]


class Event(StrEnum):
    """What a run's log tells beside how stages end. Values are the words in logs; those of old logs stay readable."""

    RUN_STARTED = "run_started"
    GROWN = "grown"
    """More stages were added to the run: `groups` and `shown` are those of these."""
    CONNECTED = "connected"
    """The executor is there, and tells how many slots it has."""
    STARTED = "started"
    """A worker has begun a job's stages."""
    PROGRESS = "progress"
    STOPPING = "stopping"
    """A signal asked the run to stop."""
    RUN_FINISHED = "run_finished"


class Ending(StrEnum):
    """How a try at a stage ended: what a worker returns to the driver, and the word that stands in the run's log."""

    DONE = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    """Its training keeps a checkpoint, from which the next run goes on."""
    INPUT_LOST = "input_lost"
    """An input was damaged and is set aside; the stage can run once that is made again."""
    WORKER_DIED = "worker_died"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    """Of a GPU."""
    BUSY = "busy"
    """Another process holds the stage. The driver asks again later, and logs have no such event."""
    RETRIED = "retried"
    """The driver begins it again after one of the above."""

    @property
    def leaves(self) -> Literal["done", "failed", "to do"]:
        """What the stage is afterwards; one that is given up gets a `failed` of its own."""
        if self is Ending.DONE:
            return "done"
        return "failed" if self is Ending.FAILED else "to do"


class EventLog:
    """Appends events; short lines in append mode are written whole, whoever else writes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last_progress = 0.0

    def write(self, event: str, **content: object) -> None:
        """Append one event of now; the content's names are those of `Told`."""
        line = json.dumps({"v": VERSION, "t": round(time.time(), 3), "event": event, **content}) + "\n"
        self._append(event, line)

    def _append(self, event: str, line: str) -> None:
        append(self.path, line)

    def ask_to_stop(self) -> None:
        """Ask every process of the run to end at the next place from where it can be continued."""
        # By a file: a terminal's signals do not reach the workers of Ray.
        with suppress(OSError):
            self._stop_path.touch()

    def forget_stopping(self) -> None:
        """After the run: nobody is left to be asked."""
        with suppress(OSError):
            self._stop_path.unlink(missing_ok=True)

    def is_stopping(self) -> bool:
        """Whether somebody has asked the run to stop: workers look before a job, and a training after each epoch."""
        return self._stop_path.exists()

    @property
    def _stop_path(self) -> Path:
        return self.path.with_suffix(STOP_SUFFIX)

    def progress(self, stages: list[str], done: int, total: int, unit: str, values: Mapping[str, float]) -> None:
        """Append how far a job is, twice a second at most; the last one always."""
        now = time.monotonic()
        if done >= total or now - self._last_progress >= THROTTLE_S:
            self._last_progress = now
            numbers = {name: round(float(value), 4) for name, value in values.items()}
            self.write(Event.PROGRESS, stages=stages, done=done, total=total, unit=unit, values=numbers)


class EventReader:
    """Reads what was appended to a log since the last call; a line that is not yet whole waits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new(self) -> Iterator[Told]:
        """Events in the order they were written; other lines are passed over."""
        try:
            # Line by line: the log of a long run may be larger than memory.
            with self._path.open("rb") as file:
                file.seek(self._offset)
                while line := file.readline(MAX_LINE):
                    # What is longer than any event comes in parts, and none of them is one.
                    if not line.endswith(b"\n") and len(line) < MAX_LINE:
                        return
                    self._offset += len(line)
                    event = _event_in(line)
                    if event is not None:
                        yield event
        except OSError:  # not there yet, or gone with its disk
            return

    def last(self) -> Told | None:
        """The newest event, read from the log's end; None where there is none, or a line is longer than a megabyte."""
        try:
            with self._path.open("rb") as file:
                file.seek(max(file.seek(0, os.SEEK_END) - TAIL_BYTES, 0))
                lines = file.read(TAIL_BYTES).splitlines(keepends=True)
        except OSError:
            return None
        events = (_event_in(line) for line in reversed(lines) if line.endswith(b"\n"))
        return next((event for event in events if event is not None), None)

    def silence_s(self) -> float:
        """For how many seconds nothing was written; infinite where there is no log."""
        try:
            return time.time() - self._path.stat().st_mtime
        except OSError:
            return float("inf")


def append(path: Path, line: str) -> None:
    """Append a line to a file, whole; what the disk refuses is lost."""
    # One call of the system in append mode: lines of several processes follow each other, and do not mix.
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
    except OSError:
        pass  # a full disk must not end a stage that could still be finished elsewhere


def _event_in(line: bytes) -> Told | None:
    """The event that a line tells; None for any other line."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):  # the latter for thousands of brackets in a damaged log
        return None
    return event if _is_event(event) else None


def _is_event(event: object) -> TypeGuard[Told]:
    """Whether a line is what `write` wrote, as far as every reader relies on it."""
    # Checked here, once: a damaged log must not end whoever reads it.
    if not isinstance(event, dict) or event.get("v") != VERSION:
        return False
    keys, groups, driver = event.get("stages", []), event.get("groups", {}), event.get("driver", {})
    named = isinstance(event.get("event"), str) and isinstance(event.get("t"), (int, float))
    listed = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    tells = event.get("event") != Event.PROGRESS or _tells_progress(event)
    return named and listed and isinstance(groups, dict) and isinstance(driver, dict) and tells


def _tells_progress(event: Mapping[str, object]) -> bool:
    values = event.get("values")
    if not isinstance(values, dict) or not isinstance(event.get("unit"), str):
        return False
    numbers = (event.get("done"), event.get("total"), *values.values())
    return all(isinstance(number, (int, float)) for number in numbers)
