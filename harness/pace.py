"""How busy a run is and what is left of it, from its events and its stages' descriptions: no driver is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.costs import Costs
from harness.display import State, duration
from harness.graph import Stage
from harness.store import Store


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

    def to_text(self) -> str:
        """One line."""
        retried = f" · {self.retried} retried" if self.retried else ""
        return (
            f"{self.busy} of {self.slots} slots busy, {100 * self.share:.0f} % so far · "
            f"{self.ready} ready, {self.waiting} waiting{retried} · {duration(self.seconds_left)} left"
        )


def pace_of(events: Sequence[Mapping[str, Any]], stages: Mapping[str, Stage], store: Store, now: float) -> Pace:
    """`events` from `run_started` on, `stages` by key; raises KeyError for events of another version of the log."""
    first = events[0]
    slots, began = int(first["slots"]), float(first["t"])
    state = State(stages, Costs(store), started=began)
    spent, retried = 0.0, 0
    for event in events:
        state.take(event)
        retried += event["event"] == "retried"
        if event["event"] == "finished":
            spent += event["seconds"] * max((stages[key].slots for key in event["stages"] if key in stages), default=1)
    jobs = {stages[key].bundle or key: (stages[key].slots, now - at["since"]) for key, at in state.running.items()}
    spent += sum(threads * seconds for threads, seconds in jobs.values())
    ended = state.finished | set(state.failed)
    left = [stage for key, stage in stages.items() if key not in ended and key not in state.running]
    open_ = set(stages) - state.finished
    ready = sum(not any(need.key in open_ for need in stage.needs()) for stage in left)
    return Pace(
        busy=min(slots, sum(threads for threads, _ in jobs.values())),
        slots=slots,
        share=min(1.0, spent / max(slots * (now - began), 1e-9)),
        ready=ready,
        waiting=len(left) - ready,
        retried=retried,
        seconds_left=state.seconds_left(slots, now),
        running=tuple(state.lines()),
    )
