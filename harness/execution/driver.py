"""What every executor offers, and the loop that drives any of them through a graph of stages."""

from __future__ import annotations

import math
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from harness.execution.queue import JOIN_S, ReadyQueue, remaining_way
from harness.execution.worker import Job, Outcome
from harness.stages.graph import Stage
from harness.store.events import EventLog
from harness.store.layout import Ref
from harness.suites.resources import Wants, most, told
from settings.errors import UserError, counted

BUSY_WAIT_S = 1.0
MAX_TRIES = 3
"""How often a stage is begun again after its worker died or its time was up."""
MAX_HALVINGS = 1
LOOK_S = 5.0
STUCK_S = 600.0
"""How long stages wait for a node that has what they ask for: a cluster that grows may need minutes to start one."""
WINDOW = 8
"""One job in so many slots waits at the executor, not in the queue."""


class Executor(ABC):
    """Takes jobs and tells how they ended; where and when they run is its affair."""

    slots: int
    """How many compute threads may be busy at once."""
    join_s: float = JOIN_S
    """How many seconds of cheap stages are joined into one job."""

    unnamed: float = math.inf
    """How much there is of what `capacity` does not name."""

    def capacity(self) -> Wants:
        """All that jobs may hold at once."""
        return {"threads": self.slots}

    def widest(self) -> int:
        """The most threads that one job can have; one that asks for more is given these."""
        return self.slots

    def check(self, stages: Iterable[Stage], store: str) -> None:
        """Raise UserError for a stage that asks for more than there is, and for a store that workers cannot reach."""
        capacity = self.capacity()
        for stage in stages:
            for name, value in stage.wants().items():
                if name != "threads" and value > (room := capacity.get(name, self.unnamed)):
                    place, found = f"resources.{stage.kind}", f"{told(name, value)} for {stage.label}"
                    mend = "ask for less, or give the --address of a cluster that has more"
                    raise UserError(place, found, f"at most the {told(name, room)} that are there", mend)

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Take a job."""

    @abstractmethod
    def wait(self) -> list[Outcome]:
        """Outcomes of jobs that ended, all of a job's stages together; blocks for a moment, and may return none."""

    @abstractmethod
    def close(self) -> None:
        """Give back what was started."""


def check_teams(stages: Iterable[Stage], slots: int) -> None:
    """Raise UserError where the processes that train one stage together want more threads than there are slots."""
    for stage in stages:
        if stage.processes > 1 and stage.slots > slots:
            found = f"{stage.processes} processes of {counted(stage.threads, 'thread')} for {counted(slots, 'slot')}"
            expected = f"at most {slots} threads together"
            raise UserError("compute.train_processes", found, expected, "more --slots, or fewer")


@dataclass
class Result:
    """How a run ended: why stages failed, and which could not run because of that."""

    failures: dict[Ref, str] = field(default_factory=dict)
    user_errors: set[Ref] = field(default_factory=set)
    """Those of the failures that the user can mend."""
    blocked: dict[Ref, Ref] = field(default_factory=dict)
    lost: dict[Ref, Ref] = field(default_factory=dict)
    """Stages that found an input damaged: it was set aside, and they can run once it is made again."""
    interrupted: bool = False


def drive(
    stages: Mapping[Ref, Stage],
    executor: Executor,
    store: str | Path,
    log: EventLog,
    seconds: Callable[[Stage], float] = lambda stage: stage.photos + 1.0,
) -> Result:
    """Run all stages, each after its inputs; a failure blocks its dependants only.

    Ready stages are taken in the order of the longest way that still follows them, by their estimated `seconds`. One
    SIGINT or SIGTERM stops new stages and lets running ones finish (training: its epoch); a second one ends at once.
    """
    loop = _Loop(stages, executor, store, log, cache(seconds))
    with _stop_on_signals(loop):
        loop.run()
    return loop.result


@dataclass
class _Held:
    """What a submitted job holds until its last stage has ended."""

    wants: Wants
    open: set[Ref]


class _Loop:
    def __init__(
        self,
        stages: Mapping[Ref, Stage],
        executor: Executor,
        store: str | Path,
        log: EventLog,
        seconds: Callable[[Stage], float],
    ) -> None:
        self.stages, self.executor, self.store, self.log = stages, executor, store, log
        self.result = Result()
        self.stopping = False
        self.waiting_for = {ref: {need for need in stage.needs() if need in stages} for ref, stage in stages.items()}
        self.dependants: dict[Ref, list[Ref]] = {ref: [] for ref in stages}
        for ref, needs in self.waiting_for.items():
            for need in needs:
                self.dependants[need].append(ref)
        self.capacity = _with_window(executor.capacity())
        self.room = dict(self.capacity)
        self.looked = self.busy = time.monotonic()
        """When the capacity was asked for, and when a job was last under way."""
        self.tries: dict[Ref, int] = {}
        self.whole: set[Ref] = set()
        """What a part of a GPU was too little for."""
        self.halvings: dict[Ref, int] = {}
        self.later: list[tuple[float, Ref]] = []
        self.running: dict[Ref, _Held] = {}
        way = remaining_way(stages, self.dependants, seconds)
        self.queue = ReadyQueue(stages, way, seconds, self._wants, executor.join_s)
        for ref, needs in self.waiting_for.items():
            if not needs:
                self.queue.push(ref)

    def run(self) -> None:
        while self.running or ((self.queue or self.later) and not self.stopping):
            self._wake()
            self._look_around()
            self._submit()
            if not self.running:
                self._wait_for_room()
            for outcome in self.executor.wait():
                self._take(outcome)
        self.result.interrupted = self.stopping

    def _wake(self) -> None:
        """What somebody else held is asked for again after a while."""
        now = time.monotonic()
        for _, ref in (due := [entry for entry in self.later if entry[0] <= now]):
            self.queue.push(ref)
        self.later = [entry for entry in self.later if entry not in due]

    def _look_around(self) -> None:
        """Nodes come and go."""
        if time.monotonic() - self.looked < LOOK_S:
            return
        before, self.capacity = self.capacity, _with_window(self.executor.capacity())
        for name in {*before, *self.capacity}:
            change = self.capacity.get(name, 0.0) - before.get(name, 0.0)
            self.room[name] = self.room.get(name, 0.0) + change
        self.looked = time.monotonic()

    def _wait_for_room(self) -> None:
        """Nothing runs: somebody else holds what is left, or no node has what it asks for; not for ever."""
        time.sleep(0.1)
        if self.later or not self.queue:
            self.busy = time.monotonic()
        elif time.monotonic() - self.busy > STUCK_S:
            for ref in list(self.queue):
                wants = ", ".join(told(*one) for one in self._wants(self.stages[ref]).items())
                self.queue.drop(ref)
                self._give_up(ref, f"no node had {wants} for {STUCK_S:g} s")

    def _submit(self) -> None:
        while not self.stopping and (taken := self.queue.take(self.room, self.executor.slots)):
            self.busy = time.monotonic()
            wants = most(map(self._wants, taken))
            held = _Held(wants, {stage.ref for stage in taken})
            self.running |= dict.fromkeys(held.open, held)
            self._move(wants, -1)
            halvings = max(self.halvings.get(stage.ref, 0) for stage in taken)
            self.executor.submit(Job(taken, self.store, self.log.path, wants, halvings))

    def _wants(self, stage: Stage) -> Wants:
        """What the stage asks for of that which is limited; a whole GPU where a part of one was too little."""
        wants = {name: value for name, value in stage.wants().items() if name in self.room}
        if stage.processes == 1:  # the processes of a team may lie on several nodes
            wants["threads"] = min(wants["threads"], self.executor.widest())
        if stage.ref in self.whole and "gpus" in wants:
            wants["gpus"] = max(1.0, wants["gpus"])
        return wants

    def _move(self, wants: Wants, sign: int) -> None:
        for name, value in wants.items():
            self.room[name] += sign * value

    def _take(self, outcome: Outcome) -> None:
        ref, self.busy = outcome.ref, time.monotonic()
        held = self.running.pop(ref)
        held.open.discard(ref)
        if not held.open:
            self._move(held.wants, +1)
        if outcome.status == "done":
            self._free_dependants(ref)
        elif outcome.status == "busy":
            self.later.append((time.monotonic() + BUSY_WAIT_S, ref))
        elif outcome.status in ("worker_died", "timed_out") and self.tries.get(ref, 0) < MAX_TRIES:
            self.tries[ref] = self.tries.get(ref, 0) + 1
            self._again(ref, outcome.reason, suspect=True)
        elif outcome.status == "out_of_memory" and self._has_more_memory(ref):
            self._again(ref, outcome.reason)
        elif outcome.status == "input_lost":
            self.result.lost[ref] = outcome.lost or ref
            self._block_after(ref)
        elif outcome.status == "failed":  # its worker has put it on record
            self.result.failures[ref] = outcome.reason
            self.result.user_errors |= {ref} if outcome.is_users else set()
            self._block_after(ref)
        elif outcome.status != "stopped":
            self._give_up(ref, outcome.reason)

    def _free_dependants(self, ref: Ref) -> None:
        for dependant in self.dependants[ref]:
            self.waiting_for[dependant].discard(ref)
            if not self.waiting_for[dependant] and dependant not in self.result.blocked:
                self.queue.push(dependant)

    def _again(self, ref: Ref, reason: str, suspect: bool = False) -> None:
        self.log.write("retried", stages=[ref.key], reason=reason)
        self.queue.push(ref, suspect)

    def _give_up(self, ref: Ref, reason: str) -> None:
        """A failure that no worker could put on record."""
        self.log.write("failed", stages=[ref.key], reason=reason)
        self.result.failures[ref] = reason
        self._block_after(ref)

    def _has_more_memory(self, ref: Ref) -> bool:
        """Give a stage more room on a GPU: a whole one, then half the batch where that cannot change the outcome."""
        stage = self.stages[ref]
        if self._wants(stage).get("gpus", 1.0) < 1:
            self.whole.add(ref)
            return True
        self.halvings[ref] = self.halvings.get(ref, 0) + 1
        return stage.kind.halves_when_out_of_memory and self.halvings[ref] <= MAX_HALVINGS

    def _block_after(self, root: Ref) -> None:
        pending = list(self.dependants[root])
        while pending:
            ref = pending.pop()
            if ref not in self.result.blocked:
                self.result.blocked[ref] = root
                pending += self.dependants[ref]


def _with_window(capacity: Wants) -> dict[str, float]:
    """A few jobs more than the slots hold hide the way to a worker and back."""
    return {**capacity, "threads": capacity["threads"] + max(1, int(capacity["threads"]) // WINDOW)}


@contextmanager
def _stop_on_signals(loop: _Loop) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: object) -> None:
        if loop.stopping:
            raise KeyboardInterrupt
        loop.stopping = True
        loop.log.write("stopping", signal=number)
        loop.log.ask_to_stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
