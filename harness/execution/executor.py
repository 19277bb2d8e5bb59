"""What every executor offers to the driver, and the plainest one: one job after another, in this process."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable

from harness.execution.child import run_within_time
from harness.execution.job import Job, Outcome
from harness.execution.queue import JOIN_S
from harness.stages.graph import Stage
from harness.suites.resources import Wants, told
from settings.errors import UserError, counted

__all__ = ["Executor", "Serial", "check_teams"]


class Executor(ABC):
    """Takes jobs from the driver and tells how they ended; where and when they run is its own affair."""

    slots: int
    """How many compute threads may be busy at once."""
    join_s: float = JOIN_S
    """How many seconds of cheap stages are joined into one job."""
    # Where stages run one after the other, each has all that the machine has: there is nothing to share out.
    unnamed: float = math.inf
    """How much there is of what `capacity` does not name."""

    def capacity(self) -> Wants:
        """All that jobs may hold at once, by name; asked again now and then, since a cluster's nodes come and go."""
        return {"threads": self.slots}

    def widest(self) -> int:
        """The most threads that one job can have; one that asks for more is given these."""
        return self.slots

    def check(self, stages: Iterable[Stage], store: str) -> None:
        """Raise UserError for a stage that asks for more than there is, and for a store that workers cannot reach."""
        capacity = self.capacity()
        for stage in stages:
            for name, value in stage.wants().items():
                room = capacity.get(name, self.unnamed)
                # A stage of one process makes do with fewer threads, and teams have a check of their own.
                if name != "threads" and value > room:
                    place, found = f"resources.{stage.kind.name}", f"{told(name, value)} for {stage.label}"
                    mend = "ask for less, or give the --address of a cluster that has more"
                    raise UserError(place, found, f"at most the {told(name, room)} that are there", mend)

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Take a job, to be run as soon as it can be; returns at once."""

    @abstractmethod
    def wait(self) -> list[Outcome]:
        """Outcomes of jobs that ended, all of a job's stages together; blocks for a moment, and may return none."""

    @abstractmethod
    def close(self) -> None:
        """Give back what was started: processes, and the way to a cluster."""


class Serial(Executor):
    """Runs one job after another in this process, each when it is waited for."""

    slots = 1
    # Joining spares the way to a worker, and here there is no way.
    join_s = 0.0

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()

    def submit(self, job: Job) -> None:
        """Queue the job; it is run by `wait`, which is what blocks."""
        self._jobs.append(job)

    def wait(self) -> list[Outcome]:
        """Run the job that was queued first, and tell how its stages ended; nothing where none is queued."""
        if not self._jobs:
            return []
        return run_within_time(self._jobs.popleft())

    def close(self) -> None:
        """Nothing is to be given back: a child that ran jobs ends with this process."""


def check_teams(stages: Iterable[Stage], slots: int) -> None:
    """Raise UserError where the processes that train one stage together want more threads than there are slots."""
    for stage in stages:
        if stage.processes > 1 and stage.slots > slots:
            found = f"{stage.processes} processes of {counted(stage.threads, 'thread')} for {counted(slots, 'slot')}"
            expected = f"at most {slots} threads together"
            raise UserError("compute.train_processes", found, expected, "more --slots, or fewer")
