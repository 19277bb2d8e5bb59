"""The loop that drives any executor through a graph of stages: each after its inputs, the earliest round first."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Protocol

from harness.execution.executor import Executor
from harness.execution.job import Job, Outcome
from harness.execution.queue import NO_ROUNDS, ReadyQueue, Room, remaining_way
from harness.execution.retries import Retries
from harness.stages.graph import Stage
from harness.store.events import Ending, Event, EventLog
from harness.store.layout import Ref
from harness.suites.resources import Wants, most, told

__all__ = ["Feed", "Result", "drive"]

BUSY_WAIT_S = 1.0
"""After how long a stage is asked for again that another process holds."""
IDLE_S = 0.1
"""How long the loop sleeps when it has no job under way."""
STUCK_S = 600.0
"""How long stages wait for a node that has what they ask for: a cluster that grows may need minutes to start one."""


@dataclass
class Result:
    """How a run ended: why stages failed, and which could not run because of that."""

    failures: dict[Ref, str] = field(default_factory=dict)
    user_errors: set[Ref] = field(default_factory=set)
    """Those of the failures that the user can mend."""
    blocked: dict[Ref, Ref] = field(default_factory=dict)
    """Stages that could not run, each with the one whose failure or loss is the root of it."""
    lost: dict[Ref, Ref] = field(default_factory=dict)
    """Stages that found an input damaged: it was set aside, and they can run once it is made again."""
    interrupted: bool = False


class Feed(Protocol):
    """Gives a run more stages while it goes on, by what it has come to so far."""

    def more(self, result: Result) -> Mapping[Ref, Stage]:
        """Further stages, each after its inputs; none where the next ones depend on those that run.

        It is asked when the run begins and whenever stages have ended; `result` says which of them ended badly.
        """
        ...


def drive(
    stages: Mapping[Ref, Stage],
    executor: Executor,
    store: str | Path,
    log: EventLog,
    seconds: Callable[[Stage], float] = lambda stage: stage.photos + 1.0,
    rounds: Mapping[Ref, int] = NO_ROUNDS,
    feed: Feed | None = None,
) -> Result:
    """Run all stages, and those that `feed` adds, each after its inputs; a failure blocks its dependants only.

    Ready stages are taken in the order of their `rounds`, those without one last; within a round in the order of the
    longest way that still follows them, by their estimated `seconds`, and across rounds where that is critical. One
    SIGINT or SIGTERM stops new stages and lets running ones finish (training: its epoch); a second one ends at once.
    """
    loop = _Loop(executor, store, log, cache(seconds), rounds, feed)
    loop.add(stages)
    with _stop_on_signals(loop):
        loop.run()
    return loop.result


@dataclass
class _Held:
    """What a submitted job holds until the last of its stages has ended."""

    wants: Wants
    open: set[Ref]
    """Its stages that have not ended."""


class _Loop:
    """One drive through the graph. A stage waits for its inputs, then in the queue, then runs, and may come back."""

    def __init__(
        self,
        executor: Executor,
        store: str | Path,
        log: EventLog,
        seconds: Callable[[Stage], float],
        rounds: Mapping[Ref, int],
        feed: Feed | None,
    ) -> None:
        self.stages: dict[Ref, Stage] = {}
        self.executor, self.store, self.log = executor, store, log
        self.seconds, self.feed = seconds, feed
        self.result = Result()
        self.done: set[Ref] = set()
        self.stopping = False
        self.room = Room(executor.capacity)
        self.retries = Retries()
        self.waiting_for: dict[Ref, set[Ref]] = {}
        self.dependants: dict[Ref, list[Ref]] = {}
        self.queue = ReadyQueue(seconds, self._wants, executor.join_s, rounds)
        self.running: dict[Ref, _Held] = {}
        self.later: list[tuple[float, Ref]] = []
        """What somebody else holds, with the time at which it is asked for again."""
        self.busy = time.monotonic()
        """When a job was last under way."""

    def add(self, stages: Mapping[Ref, Stage]) -> None:
        """Take on stages, each after its inputs; those that are known already stay as they are."""
        new = {ref: stage for ref, stage in stages.items() if ref not in self.stages}
        self.stages |= new
        self.dependants |= {ref: [] for ref in new}
        for ref, stage in new.items():
            self.waiting_for[ref] = {need for need in stage.needs() if need in self.stages and need not in self.done}
            for need in self.waiting_for[ref]:
                self.dependants[need].append(ref)
        self.queue.extend(new, remaining_way(new, self.dependants, self.seconds))
        for ref in new:
            ended_badly = [need for need in self.waiting_for[ref] if self._root_of(need) is not None]
            if ended_badly:
                self.result.blocked[ref] = self._root_of(ended_badly[0]) or ended_badly[0]
            elif not self.waiting_for[ref]:
                self.queue.push(ref)

    def _root_of(self, ref: Ref) -> Ref | None:
        """The stage whose failure or loss keeps this one from being there; None where nothing does."""
        if ref in self.result.failures or ref in self.result.lost:
            return ref
        return self.result.blocked.get(ref)

    def _grow(self) -> None:
        """Ask for more stages."""
        if self.feed is not None and not self.stopping:
            self.add(self.feed.more(self.result))

    def run(self) -> None:
        """Run stages until all have ended; after a signal, wait until those have ended that were running."""
        while self.running or ((self.queue or self.later) and not self.stopping):
            # Signals only set `stopping`: what runs is waited for, so that nothing finished is lost.
            self._wake()
            self.room.look_around()
            self._submit()
            if not self.running:
                self._wait_for_room()
            outcomes = self.executor.wait()
            for outcome in outcomes:
                self._take(outcome)
            if outcomes or not self.running:
                self._grow()
        self.result.interrupted = self.stopping

    def _wake(self) -> None:
        """Queue again what another process held when it was last asked for, once its time to wait is over."""
        now = time.monotonic()
        due = [entry for entry in self.later if entry[0] <= now]
        self.later = [entry for entry in self.later if entry[0] > now]
        for _, ref in due:
            self.queue.push(ref)

    def _submit(self) -> None:
        """Hand jobs to the executor, as long as there is room for what they want and no signal has come."""
        while not self.stopping and (taken := self.queue.take(self.room.free, self.executor.slots)):
            self.busy = time.monotonic()
            # One after the other in one process, so the job never holds more than the widest of them.
            wants = most(map(self._wants, taken))
            held = _Held(wants, {stage.ref for stage in taken})
            self.running |= dict.fromkeys(held.open, held)
            self.room.take(wants)
            self.executor.submit(Job(taken, self.store, self.log.path, wants, self.retries.halvings(taken)))

    def _wants(self, stage: Stage) -> Wants:
        """What the stage asks for now, of that which this executor has a limited amount of."""
        wants = {name: value for name, value in self.retries.wants(stage).items() if name in self.room.free}
        # A stage of more threads than any node has would wait for ever; a team's processes may lie on several nodes.
        if stage.processes == 1:
            wants["threads"] = min(wants["threads"], self.executor.widest())
        return wants

    def _wait_for_room(self) -> None:
        """Sleep a moment, since nothing runs; what no node had room for in all of `STUCK_S` has failed."""
        time.sleep(IDLE_S)
        # What another process holds may take it hours: that is no sign that a node is missing.
        if self.later or not self.queue:
            self.busy = time.monotonic()
        elif time.monotonic() - self.busy > STUCK_S:
            for ref in list(self.queue):
                wants = ", ".join(told(*one) for one in self._wants(self.stages[ref]).items())
                self.queue.drop(ref)
                self._give_up(ref, f"no node had {wants} for {STUCK_S:g} s")

    def _take(self, outcome: Outcome) -> None:
        """What follows from the end of a stage, for itself and for those that need it."""
        ref, ending, stage = outcome.ref, outcome.status, self.stages[outcome.ref]
        self._give_back(ref)
        if ending is Ending.DONE:
            self.done.add(ref)
            self._free_dependants(ref)
        elif ending is Ending.BUSY:
            # Another run makes it; nobody tells us when, so it is asked for again.
            self.later.append((time.monotonic() + BUSY_WAIT_S, ref))
        elif ending is Ending.INPUT_LOST:
            # What made the input may be no stage of this graph: `running` drives again with it among the missing.
            self.result.lost[ref] = outcome.lost or ref
            self._block_after(ref)
        elif ending is Ending.FAILED:
            # Its worker has put it on record, with the traceback.
            if outcome.is_users:
                self.result.user_errors.add(ref)
            self._fail(ref, outcome.reason)
        elif ending is Ending.STOPPED:
            # It is to do in the next run, and so is all that depends on it.
            return
        elif self.retries.begins_again(stage, ending, self._wants(stage)):
            self.log.write(Ending.RETRIED, stages=[ref.key], reason=outcome.reason)
            # What may have killed its worker is not joined with others again.
            self.queue.push(ref, suspect=ending is not Ending.OUT_OF_MEMORY)
        else:
            self._give_up(ref, outcome.reason)

    def _give_back(self, ref: Ref) -> None:
        """A stage has ended; what its job held is free with the job's last one."""
        self.busy = time.monotonic()
        held = self.running.pop(ref)
        held.open.discard(ref)
        if not held.open:
            self.room.give_back(held.wants)

    def _free_dependants(self, ref: Ref) -> None:
        """Queue the stages that waited for this one last: all their other inputs are there."""
        for dependant in self.dependants[ref]:
            self.waiting_for[dependant].discard(ref)
            if not self.waiting_for[dependant] and dependant not in self.result.blocked:
                self.queue.push(dependant)

    def _give_up(self, ref: Ref, reason: str) -> None:
        """Put a failure on record that no worker could, since it had died or never began."""
        self.log.write(Ending.FAILED, stages=[ref.key], reason=reason)
        self._fail(ref, reason)

    def _fail(self, ref: Ref, reason: str) -> None:
        """Remember why a stage failed, and block what depends on it."""
        self.result.failures[ref] = reason
        self._block_after(ref)

    def _block_after(self, root: Ref) -> None:
        """Nothing that comes of the root can run: block all of it."""
        # By a stack of our own: chains of stages may be longer than Python's.
        pending = list(self.dependants[root])
        while pending:
            ref = pending.pop()
            if ref not in self.result.blocked:
                self.result.blocked[ref] = root
                pending += self.dependants[ref]


@contextmanager
def _stop_on_signals(loop: _Loop) -> Iterator[None]:
    """In the block a first SIGINT or SIGTERM stops the loop and asks running stages to stop; a second one ends it."""
    # Python lets the main thread alone hear of signals.
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: object) -> None:
        if loop.stopping:
            raise KeyboardInterrupt
        loop.stopping = True
        loop.log.write(Event.STOPPING, signal=number)
        loop.log.ask_to_stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
