"""One job after another, in this process."""

from __future__ import annotations

from collections import deque

from harness.execution.child import run_within_time
from harness.execution.driver import Executor
from harness.execution.worker import Job, Outcome


class Serial(Executor):
    """Runs a job when it is waited for."""

    slots = 1
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
