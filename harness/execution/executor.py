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
                room = capacity.get(name, self.unnamed)
                if name != "threads" and value > room:
                    place, found = f"resources.{stage.kind.name}", f"{told(name, value)} for {stage.label}"
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


class Serial(Executor):
    """Runs a job when it is waited for."""

    slots = 1
    # Joining spares the way to a worker, and here is none.
    join_s = 0.0

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()

    def submit(self, job: Job) -> None:
        """Queue the job."""
        self._jobs.append(job)

    def wait(self) -> list[Outcome]:
        """Run the next job."""
        return run_within_time(self._jobs.popleft()) if self._jobs else []

    def close(self) -> None:
        """Nothing was started."""


def check_teams(stages: Iterable[Stage], slots: int) -> None:
    """Raise UserError where the processes that train one stage together want more threads than there are slots."""
    for stage in stages:
        if stage.processes > 1 and stage.slots > slots:
            found = f"{stage.processes} processes of {counted(stage.threads, 'thread')} for {counted(slots, 'slot')}"
            expected = f"at most {slots} threads together"
            raise UserError("compute.train_processes", found, expected, "more --slots, or fewer")
