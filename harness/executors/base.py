"""What every executor offers, and the loop that drives any of them through a graph of stages."""

from __future__ import annotations

import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.events import EventLog
from harness.graph import Ref, Stage
from harness.worker import Job, Outcome

BUSY_WAIT_S = 1.0
MAX_TRIES = 3
"""How often a stage is begun again after its inputs were lost or its worker died."""


class Executor(ABC):
    """Takes jobs and tells how they ended; where and when they run is its affair."""

    slots: int
    """How many compute threads may be busy at once."""

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Take a job."""

    @abstractmethod
    def wait(self) -> list[Outcome]:
        """Outcomes of jobs that ended; blocks for a moment, and may return none."""

    @abstractmethod
    def close(self) -> None:
        """Give back what was started."""


@dataclass
class Result:
    """How a run ended: why stages failed, and which could not run because of that."""

    failures: dict[Ref, str] = field(default_factory=dict)
    users: set[Ref] = field(default_factory=set)
    """Those of the failures that the user can mend."""
    blocked: dict[Ref, Ref] = field(default_factory=dict)
    lost: dict[Ref, Ref] = field(default_factory=dict)
    """Stages that found an input damaged: it was set aside, and they can run once it is made again."""
    interrupted: bool = False


def drive(stages: Mapping[Ref, Stage], executor: Executor, store: str | Path, log: EventLog) -> Result:
    """Run all stages, each after its inputs; a failure blocks its dependants only.

    Ready stages are taken in the order of the longest way that still follows them. One SIGINT or SIGTERM stops new
    stages and lets running ones finish; a second one ends at once.
    """
    loop = _Loop(stages, executor, store, log)
    with _stop_on_signals(loop):
        loop.run()
    return loop.result


class _Loop:
    def __init__(self, stages: Mapping[Ref, Stage], executor: Executor, store: str | Path, log: EventLog) -> None:
        self.stages, self.executor, self.store, self.log = stages, executor, store, log
        self.result = Result()
        self.stopping = False
        self.waiting_for = {ref: {need for need in stage.needs() if need in stages} for ref, stage in stages.items()}
        self.dependants: dict[Ref, list[Ref]] = {ref: [] for ref in stages}
        for ref, needs in self.waiting_for.items():
            for need in needs:
                self.dependants[need].append(ref)
        self.rank = _remaining_way(stages, self.dependants)
        self.ready = {ref for ref, needs in self.waiting_for.items() if not needs}
        self.running: dict[Ref, int] = {}
        self.tries: dict[Ref, int] = {}
        self.not_before: dict[Ref, float] = {}

    def run(self) -> None:
        while self.running or (self.ready and not self.stopping):
            self._submit()
            for outcome in self.executor.wait():
                self._take(outcome)
        self.result.interrupted = self.stopping

    def _submit(self) -> None:
        while not self.stopping and self.ready:
            job = self._next_job()
            # One job more than the slots hold hides the way to a worker and back.
            if job is None or (self.running and sum(self.running.values()) + job.threads > self.executor.slots + 1):
                return
            self.ready -= {stage.ref for stage in job.stages}
            self.running |= {stage.ref: job.threads if stage is job.stages[0] else 0 for stage in job.stages}
            self.executor.submit(job)

    def _next_job(self) -> Job | None:
        now = time.monotonic()
        open_ = [ref for ref in self.ready if self.not_before.get(ref, 0) <= now]
        if not open_:
            if not self.running:
                time.sleep(0.1)
            return None
        first = self.stages[min(open_, key=lambda ref: (-self.rank[ref], ref))]
        mates = [self.stages[ref] for ref in open_ if first.bundle and self.stages[ref].bundle == first.bundle]
        return Job(tuple(sorted(mates, key=lambda stage: stage.label)) or (first,), self.store, self.log.path)

    def _take(self, outcome: Outcome) -> None:
        ref = outcome.ref
        self.running.pop(ref, None)
        if outcome.status == "done":
            for dependant in self.dependants[ref]:
                self.waiting_for[dependant].discard(ref)
                if not self.waiting_for[dependant] and dependant not in self.result.blocked:
                    self.ready.add(dependant)
        elif outcome.status == "busy":
            self.not_before[ref] = time.monotonic() + BUSY_WAIT_S
            self.ready.add(ref)
        elif outcome.status == "worker_died" and self.tries.get(ref, 0) < MAX_TRIES:
            self.tries[ref] = self.tries.get(ref, 0) + 1
            self.log.write("retried", stages=[ref.key], reason=outcome.reason)
            self.ready.add(ref)
        elif outcome.status == "input_lost":
            self.result.lost[ref] = outcome.lost or ref
            self._block_after(ref, ref)
        else:
            self.result.failures[ref] = outcome.reason
            self.result.users |= {ref} if outcome.is_users else set()
            self._block_after(ref, ref)

    def _block_after(self, ref: Ref, root: Ref) -> None:
        for dependant in self.dependants[ref]:
            if dependant not in self.result.blocked:
                self.result.blocked[dependant] = root
                self._block_after(dependant, root)


def _remaining_way(stages: Mapping[Ref, Stage], dependants: Mapping[Ref, list[Ref]]) -> dict[Ref, int]:
    """For each stage the photos of the longest chain from it to the end: what is on the critical path goes first."""
    way: dict[Ref, int] = {}
    for ref in reversed(list(stages)):
        way[ref] = 1 + stages[ref].photos + max((way[dependant] for dependant in dependants[ref]), default=0)
    return way


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

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
