"""A run as its events tell it: what became of each stage, how busy the slots are, and how long it will take."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from harness.execution.costs import Costs
from harness.execution.queue import NO_ROUNDS
from harness.reports.time_left import ENDING_S, Advance, Learned, makespan, remaining_s
from harness.stages.graph import Stage
from harness.store.events import Ending, Event, Told
from harness.store.layout import Ref

__all__ = ["Condition", "Pace", "RunState", "duration"]

SHOWN_SLOTS = 16
"""Up to so many slots each is told by itself."""
COLD_S = 30.0
"""A process's first job tells of others when it took so long: of a shorter one imports may be the most."""
ENDINGS: Mapping[str, Ending] = {ending.value: ending for ending in Ending}
Condition = Literal["to do", "running", "done", "failed"]


class _Lanes:
    """Which slots a job holds: the lowest that are free, as if each were a lane."""

    # Workers do not tell on which cores they run: how busy each slot is, is as if they were filled from below.

    def __init__(self) -> None:
        self.count = 0
        self._spent: dict[int, float] = {}
        self._held: dict[str, tuple[float, list[int]]] = {}

    def begin(self, job: str, threads: int, t: float) -> None:
        """A job of so many threads begins at time `t`; what it held before (its worker died) ends then."""
        self.end(job, t)
        taken: set[int] = set()
        for _, slots in self._held.values():
            taken.update(slots)
        free = [slot for slot in range(self.count) if slot not in taken]
        self._held[job] = (t, free[:threads])

    def end(self, job: str, t: float) -> None:
        """A job ends; one that does not run, or has ended before, changes nothing."""
        # Of a bundle a part may end alone, and what is retried has ended twice: only the first end counts.
        since, slots = self._held.pop(job, (t, []))
        for slot in slots:
            self._spent[slot] = self._spent.get(slot, 0.0) + t - since

    def until(self, t: float) -> list[float]:
        """Seconds of each slot that were spent in jobs, with those of the jobs that still run."""
        spent = dict(self._spent)
        for since, slots in self._held.values():
            for slot in slots:
                spent[slot] = spent.get(slot, 0.0) + t - since
        return [spent.get(slot, 0.0) for slot in range(self.count)]


@dataclass(frozen=True)
class Pace:
    """How busy a run is at one moment, and what is left of it."""

    busy: int
    """Slots that work."""
    ready: int
    """Stages whose inputs are all there."""
    waiting: int
    """Stages that lack an input."""
    retried: int
    """How often a stage was begun again."""
    seconds_left: float
    shares: tuple[float, ...]
    """How much of each slot's time since the run began was spent in stages; 0..1."""

    @property
    def share(self) -> float:
        """How much of all slots' time since the run began was spent in stages; 0..1."""
        return sum(self.shares) / len(self.shares)

    def to_text(self) -> str:
        """One line: how busy the slots are, what waits, what was retried, and the time left."""
        retried = ""
        if self.retried:
            retried = f" · {self.retried} retried"
        return (
            f"{self.busy} of {len(self.shares)} slots busy, {100 * self.share:.0f} % so far{self._each()} · "
            f"{self.ready} ready, {self.waiting} waiting{retried} · {duration(self.seconds_left)} left"
        )

    def _each(self) -> str:
        """Slot by slot where they are few, else from the idlest to the busiest."""
        percent = [f"{100 * share:.0f}" for share in self.shares]
        if len(percent) < 2:
            return ""
        if len(percent) <= SHOWN_SLOTS:
            return f" ({', '.join(percent)})"
        return f" ({100 * min(self.shares):.0f}–{100 * max(self.shares):.0f})"


@dataclass
class RunState:
    """A run as its events tell it; `take` is fed with every event, in order."""

    stages: Mapping[str, Stage]
    """The run's stages by key, as far as they are known."""
    costs: Costs
    rounds: Mapping[Ref, int] = field(default_factory=lambda: NO_ROUNDS)
    """The table that each stage is made for first: the order in which the driver takes them."""
    started: float = field(default_factory=time.time)
    """When the run began, in seconds since the epoch."""
    ended: dict[str, Condition] = field(default_factory=dict)
    """What became of the stages that ended."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Why stages failed."""
    running: dict[str, float] = field(default_factory=dict)
    """Since when stages run."""
    told: dict[str, Told] = field(default_factory=dict)
    """The last event that told of a running stage's progress."""
    retried: int = 0

    def __post_init__(self) -> None:
        self._lanes = _Lanes()
        self._planned = cache(self.costs.seconds)
        self._learned = Learned(self._planned)
        """From the stages that ended."""
        self._advances: dict[str, Advance] = {}
        """Of the stages that run."""
        self._mates: dict[str, int] = {}
        """How many stages began together with each that runs, in one job."""
        self._last_end = self.started
        """When a stage ended last; before any did, when the run began."""
        self._pids: set[int] = set()
        self._cold: set[str] = set()
        """The stages that were the first in their process."""

    def take(self, event: Told) -> None:
        """Update by one event; what this version does not know is passed over."""
        name, t, keys = str(event["event"]), float(event["t"]), list(event.get("stages", ()))
        slots = event.get("slots")
        # Two events tell of slots: a cluster's are known only when the executor is there.
        if isinstance(slots, int):
            self._lanes.count = slots
        if name == Event.RUN_STARTED:
            self.started = self._last_end = t
        elif name == Event.STARTED:
            self._begin(keys, t, event.get("pid"))
        elif name == Event.PROGRESS:
            # Logs that are merged from several machines may tell of it after the end.
            for key in keys:
                if key in self.running:
                    self.told[key] = event
                    self._advances[key].tell(t, event["done"] / max(event["total"], 1))
        elif name in ENDINGS:
            self._end(keys, ENDINGS[name], t, str(event.get("reason", "")))

    def condition(self, key: str) -> Condition:
        """What the stage of that key is now; one of which no event told is to do."""
        if key in self.running:
            return "running"
        return self.ended.get(key, "to do")

    def count(self, condition: Condition, keys: Iterable[str] | None = None) -> int:
        """How many stages, of those with these keys or of all that are known, are in that condition."""
        if keys is None:
            keys = self.stages
        return sum(self.condition(key) == condition for key in keys)

    def seconds_left(self, now: float | None = None) -> float:
        """Seconds until the run ends: what is left, at the costs that this run has shown so far, laid out on its slots.

        With the time that its tables and figures take in the end. It takes some 60 ms of CPU time for 1,400 stages.
        """
        if now is None:
            now = time.time()
        # What running stages tell is known of others of their kind too, though it is not their last word.
        learned = self._learned.copy()
        for key, advance in self._advances.items():
            total = advance.total_s()
            if key in self.stages and total is not None:
                learned.measure(self.stages[key], total / self._mates[key], advance.weight)
        running: dict[Ref, tuple[float, int]] = {}
        holding: set[str] = set()
        for key, advance in self._advances.items():
            stage = self.stages.get(key)
            if stage is None:
                continue
            left = remaining_s(advance, learned.seconds(stage) * self._mates[key], now)
            # The stages of a bundle run in one slot together.
            slots = stage.slots
            if _job_of(stage) in holding:
                slots = 0
            holding.add(_job_of(stage))
            running[stage.ref] = (left, slots)
        waiting, slots = self._waiting(), max(self._lanes.count, 1)
        ending_s = ENDING_S
        if not waiting and not running:
            ending_s = max(ENDING_S - max(now - self._last_end, 0.0), 0.0)
        left = makespan(waiting, running, slots, self._planned, learned.seconds, self.rounds) + ending_s
        # A damaged log may tell of any time.
        return left if math.isfinite(left) else 0.0

    def _waiting(self) -> dict[Ref, Stage]:
        """The stages that are to do, in the order in which they are known; without those that a failure blocks."""
        waiting: dict[Ref, Stage] = {}
        blocked: set[str] = set()
        for key, stage in self.stages.items():
            condition = self.condition(key)
            if condition == "failed" or any(need.key in blocked for need in stage.needs()):
                blocked.add(key)
            elif condition == "to do":
                waiting[stage.ref] = stage
        return waiting

    def lines(self) -> list[str]:
        """What is running, one line for each job: its label, how far it is, and how fast."""
        # The stages of a bundle tell of their progress together: one of them speaks for all.
        shown: dict[str, str] = {}
        for key, since in self.running.items():
            stage = self.stages.get(key)
            if stage is not None:
                shown[_job_of(stage)] = self._line(stage, since)
        return list(shown.values())

    def pace(self, now: float) -> Pace:
        """How busy the run is; raises LookupError where no event told of slots, or a running stage is not known."""
        if self._lanes.count < 1:
            raise LookupError("no event tells how many slots there are")
        running = [self.stages[key] for key in self.running]
        holding = {_job_of(stage): stage.slots for stage in running}
        ready = waiting = 0
        for key, stage in self.stages.items():
            if self.condition(key) != "to do":
                continue
            # What this run does not make is there already.
            lacks = any(need.key in self.stages and self.condition(need.key) != "done" for need in stage.needs())
            waiting += lacks
            ready += not lacks
        elapsed = max(now - self.started, 1e-9)
        return Pace(
            busy=min(self._lanes.count, sum(holding.values())),
            ready=ready,
            waiting=waiting,
            retried=self.retried,
            seconds_left=self.seconds_left(now),
            shares=tuple(min(1.0, spent / elapsed) for spent in self._lanes.until(now)),
        )

    def _line(self, stage: Stage, since: float) -> str:
        """One line: a running stage's label, how far it is, how fast since it began, and the values that it told."""
        told = self.told.get(stage.key)
        if told is None:
            return stage.label
        done, unit = told["done"], told["unit"]
        # Up to when it told of it, not up to now: between two tellings the rate would seem to fall.
        rate = done / max(told["t"] - since, 1e-3)
        words = [f"{done}/{told['total']} {unit}", f"{rate:.3g} {unit}/s"]
        words += [f"{name} {value:g}" for name, value in told["values"].items()]
        return f"{stage.label}: {' · '.join(words)}"

    def _begin(self, keys: list[str], t: float, pid: int | None) -> None:
        """A job's stages run from now on, for the first time or again."""
        self._cold.difference_update(keys)
        if isinstance(pid, int) and pid not in self._pids:
            self._pids.add(pid)
            self._cold.update(keys)
        for key in keys:
            self.running[key] = t
            self._advances[key], self._mates[key] = Advance(t), len(keys)
            self.told.pop(key, None)
            self.ended.pop(key, None)
        known = [self.stages[key] for key in keys if key in self.stages]
        if known:
            self._lanes.begin(_job_of(known[0]), max(stage.threads for stage in known), t)

    def _learn(self, key: str, seconds: float) -> None:
        """A stage is done, whose job took so long: others of its kind will take as much."""
        if key in self.stages and (key not in self._cold or seconds >= COLD_S):
            # Clocks of two machines may differ.
            self._learned.measure(self.stages[key], max(seconds, 0.0) / self._mates[key])

    def _end(self, keys: list[str], ending: Ending, t: float, reason: str) -> None:
        """Stages of one job have ended so; what that makes of them, the ending says."""
        self._last_end = t
        for key in keys:
            since = self.running.pop(key, None)
            # What another run has made did not begin here, and tells of no cost.
            if ending is Ending.DONE and since is not None:
                self._learn(key, t - since)
            self._advances.pop(key, None)
            self.told.pop(key, None)
            self.ended[key] = ending.leaves
            if ending is Ending.FAILED:
                self.reasons[key] = reason
        self.retried += ending is Ending.RETRIED
        known = [self.stages[key] for key in keys if key in self.stages]
        if known:
            self._lanes.end(_job_of(known[0]), t)


def _job_of(stage: Stage) -> str:
    """What names the job that a stage runs in: its bundle, of which a part may end alone, else the stage itself."""
    return stage.bundle or stage.key


def duration(seconds: float) -> str:
    """A time for people, in its two largest units: 8 s, 3 min 05 s, 2 h 10 min; 0 s where a clock was set back."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
