"""A run as its events tell it: what became of each stage, how busy the slots are, and how long it will take."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.execution.costs import Costs
from harness.stages.graph import Stage
from harness.store.events import Ending, Event, Told

__all__ = ["Condition", "Pace", "RunState", "duration"]

SHOWN_SLOTS = 16
"""Up to so many slots each is told by itself."""
SURE_S = 20.0
"""After so many core-seconds of work, the pace of the run itself says more than the table of costs."""
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
        self._work = {key: self.costs.seconds(stage) * stage.slots for key, stage in self.stages.items()}
        """Core-seconds of each stage, by estimate."""

    def take(self, event: Told) -> None:
        """Update by one event; what this version does not know is passed over."""
        name, t, keys = str(event["event"]), float(event["t"]), list(event.get("stages", ()))
        slots = event.get("slots")
        # Two events tell of slots: a cluster's are known only when the executor is there.
        if isinstance(slots, int):
            self._lanes.count = slots
        if name == Event.RUN_STARTED:
            self.started = t
        elif name == Event.STARTED:
            self._begin(keys, t)
        elif name == Event.PROGRESS:
            # Logs that are merged from several machines may tell of it after the end.
            self.told |= {key: event for key in keys if key in self.running}
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
        """Seconds until the run ends: the estimated work that is left, at the pace of this run so far (until `now`)."""
        if now is None:
            now = time.time()
        done = 0.0
        for key, work in self._work.items():
            if key in self.running:
                done += work * self._share(key)
            # What failed is not left to do either.
            elif self.condition(key) != "to do":
                done += work
        left = max(0.0, sum(self._work.values()) - done)
        pace = float(max(self._lanes.count, 1))
        if done > SURE_S:
            # The estimate corrects itself: after a while the measured pace says more than the guessed costs.
            pace = done / (now - self.started)
        return left / max(pace, 0.1)

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

    def _share(self, key: str) -> float:
        """How much of a running stage is done, as far as it has told; 0..1."""
        told = self.told.get(key)
        if told is None:
            return 0.0
        share: float = told["done"] / max(told["total"], 1)
        return share

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

    def _begin(self, keys: list[str], t: float) -> None:
        """A job's stages run from now on, for the first time or again."""
        for key in keys:
            self.running[key] = t
            self.told.pop(key, None)
            self.ended.pop(key, None)
        known = [self.stages[key] for key in keys if key in self.stages]
        if known:
            self._lanes.begin(_job_of(known[0]), max(stage.threads for stage in known), t)

    def _end(self, keys: list[str], ending: Ending, t: float, reason: str) -> None:
        """Stages of one job have ended so; what that makes of them, the ending says."""
        for key in keys:
            self.running.pop(key, None)
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
    """A time for people, in its two largest units: 8 s, 3 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
