"""How busy a run is and what is left of it, from its events and its stages' descriptions: no driver is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.execution.costs import Costs
from harness.reports.display import ENDED, State, duration
from harness.stages.graph import Stage
from harness.store.store import Store

SHOWN_SLOTS = 16


@dataclass(frozen=True)
class Pace:
    """A run at one moment."""

    busy: int
    """Slots that work."""
    slots: int
    share: float
    """Of the slots' time since the run began, what was spent in stages; 0..1."""
    ready: int
    """Stages whose inputs are all there."""
    waiting: int
    retried: int
    seconds_left: float
    running: tuple[str, ...] = ()
    """A line a job that runs."""
    shares: tuple[float, ...] = ()
    """Of each slot's time, what was spent in stages; 0..1."""

    def to_text(self) -> str:
        """One line."""
        retried = f" · {self.retried} retried" if self.retried else ""
        return (
            f"{self.busy} of {self.slots} slots busy, {100 * self.share:.0f} % so far{self._each()} · "
            f"{self.ready} ready, {self.waiting} waiting{retried} · {duration(self.seconds_left)} left"
        )

    def _each(self) -> str:
        """Slot by slot where they are few, else from the idlest to the busiest."""
        if len(self.shares) < 2:
            return ""
        shown = self.shares if len(self.shares) <= SHOWN_SLOTS else (min(self.shares), max(self.shares))
        joint = ", " if shown is self.shares else "–"
        return f" ({joint.join(f'{100 * share:.0f}' for share in shown)})"


class Slots:
    """Which slots a job holds: the lowest that are free, as if each were a lane."""

    def __init__(self, count: int) -> None:
        self.spent = [0.0] * count
        self._held: dict[str, tuple[float, list[int]]] = {}

    def begin(self, job: str, threads: int, t: float) -> None:
        """A job begins; what it held before (its worker died) ends."""
        self.end(job, t)
        taken = {slot for _, slots in self._held.values() for slot in slots}
        free = [slot for slot in range(len(self.spent)) if slot not in taken]
        self._held[job] = (t, free[:threads])

    def end(self, job: str, t: float) -> None:
        """A job ends."""
        since, slots = self._held.pop(job, (t, []))
        for slot in slots:
            self.spent[slot] += t - since

    def until(self, t: float) -> list[float]:
        """Seconds of each slot, with those of the jobs that still run."""
        for job in list(self._held):
            self.end(job, t)
        return self.spent


def pace_of(events: Sequence[Mapping[str, Any]], stages: Mapping[str, Stage], store: Store, now: float) -> Pace:
    """`events` from `run_started` on, `stages` by key; raises LookupError for events that do not tell of slots."""
    began = float(events[0]["t"])
    state = State(stages, Costs(store), started=began)
    retried = 0
    for event in events:
        state.take(event)
        retried += event["event"] == "retried"
    if not state.slots:
        raise LookupError("no event tells how many slots there are")
    lanes = Slots(state.slots)
    for event in events:
        _lay(lanes, event, stages)
    jobs = {stages[key].bundle or key: stages[key].slots for key in state.running}
    shares = [min(1.0, spent / max(now - began, 1e-9)) for spent in lanes.until(now)]
    ended = state.finished | set(state.failed)
    left = [stage for key, stage in stages.items() if key not in ended and key not in state.running]
    open_ = set(stages) - state.finished
    ready = sum(not any(need.key in open_ for need in stage.needs()) for stage in left)
    return Pace(
        busy=min(state.slots, sum(jobs.values())),
        slots=state.slots,
        share=sum(shares) / len(shares),
        ready=ready,
        waiting=len(left) - ready,
        retried=retried,
        seconds_left=state.seconds_left(now),
        running=tuple(state.lines()),
        shares=tuple(shares),
    )


def _lay(lanes: Slots, event: Mapping[str, Any], stages: Mapping[str, Stage]) -> None:
    """A job begins or ends; it is known by its first stage, or by its bundle, of which a part may end alone."""
    known = [stages[key] for key in event.get("stages", ()) if key in stages]
    if known and event["event"] == "started":
        lanes.begin(known[0].bundle or known[0].key, max(stage.threads for stage in known), event["t"])
    elif known and event["event"] in ENDED:
        lanes.end(known[0].bundle or known[0].key, event["t"])
