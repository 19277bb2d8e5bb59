"""Stages as Ray tasks on this machine: workers are reused, each task has the threads that its stage names."""

from __future__ import annotations

from typing import Any

import ray

from harness.executors.base import Executor
from harness.executors.cluster import connect, disconnect
from harness.numerics import usable_cores
from harness.worker import Job, Outcome, run_job

POLL_S = 1.0


class Ray(Executor):
    """A fresh local cluster that ends with the run."""

    def __init__(self, slots: int | None = None) -> None:
        self.slots = slots or usable_cores()
        connect(slots=self.slots)
        # Ray retries nothing: the driver's loop decides what is begun again.
        self._run: Any = ray.remote(max_retries=0, num_returns=1)(run_job)
        self._jobs: dict[Any, Job] = {}

    def submit(self, job: Job) -> None:
        """Hand the job to Ray."""
        threads = min(job.threads, self.slots)
        self._jobs[self._run.options(num_cpus=threads).remote(job)] = job

    def wait(self) -> list[Outcome]:
        """Outcomes of the tasks that ended within a second."""
        if not self._jobs:
            return []
        ended, _ = ray.wait(list(self._jobs), timeout=POLL_S)
        return [outcome for reference in ended for outcome in self._outcomes(reference)]

    def close(self) -> None:
        """End the cluster."""
        disconnect()

    def _outcomes(self, reference: Any) -> list[Outcome]:
        job = self._jobs.pop(reference)
        try:
            outcomes: list[Outcome] = ray.get(reference)
        except ray.exceptions.RayError as error:
            reason = f"the worker ended: {type(error).__name__}"
            return [Outcome(stage.ref, "worker_died", reason=reason) for stage in job.stages]
        return outcomes
