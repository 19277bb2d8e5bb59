"""Jobs as Ray tasks: workers are reused, each task has the threads and the GPU that its stages name."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import ray

from harness.execution import Packages
from harness.execution.child import run_within_time, timed_out
from harness.execution.cluster import connect, disconnect
from harness.execution.executor import Executor, check_teams
from harness.execution.job import Job, Outcome
from harness.execution.nodes import strangers_to
from harness.execution.trainer import run_training_job
from harness.stages.graph import Stage
from harness.store.events import Ending
from harness.suites.resources import Wants
from settings.errors import UserError

__all__ = ["Ray"]

_ray: Any = ray  # parts of it have no types
POLL_S = 1.0
RAYS_NAMES = {"threads": "num_cpus", "gpus": "num_gpus", "memory": "memory"}
"""What Ray's options call the resources that are not custom."""


class Ray(Executor):
    """A fresh local cluster that ends with the run, or one that exists at an address."""

    # A cluster names all that it has.
    unnamed = 0.0

    def __init__(self, slots: int | None = None, address: str | None = None, packages: Packages = "installed") -> None:
        connect(address, slots, packages)
        self._is_own = address is None
        self._most = math.inf if address is None or slots is None else slots
        """How many slots of a cluster that exists this run may take."""
        self._widest = self.slots = 1
        self.capacity()
        # Ray retries nothing: the driver's loop decides what is begun again.
        self._run: Any = ray.remote(max_retries=0, num_returns=1)(_run_on_worker)
        self._train: Any = ray.remote(max_retries=0, num_returns=1)(run_training_job)
        self._jobs: dict[Any, Job] = {}
        self._deadlines: dict[Any, float] = {}
        """When a team's time is up, by `time.monotonic`; other jobs watch their time themselves."""

    def capacity(self) -> Wants:
        """What the cluster has now."""
        nodes: list[dict[str, float]] = [node["Resources"] for node in _ray.nodes() if node["Alive"]]
        whole: defaultdict[str, float] = defaultdict(float)
        for node in nodes:
            for name, amount in node.items():
                whole[name] += amount
        custom = {name: value for name, value in whole.items() if name not in ("CPU", "GPU", "memory")}
        self.slots = max(1, int(min(whole["CPU"], self._most)))
        self._widest = int(max((node.get("CPU", 0.0) for node in nodes), default=0))
        return {**custom, "threads": self.slots, "gpus": whole["GPU"], "memory": whole["memory"]}

    def widest(self) -> int:
        """The cores of the largest node."""
        return max(1, min(self.slots, self._widest))

    def check(self, stages: Iterable[Stage], store: str) -> None:
        """Raise UserError for stages that the cluster has too little for, and for a store that a node does not find."""
        stages = list(stages)
        super().check(stages, store)
        check_teams(stages, self.slots)
        if not self._is_own and (strangers := strangers_to(store)):
            host, trouble = next(iter(strangers.items()))
            mend = "a folder that all nodes have at the same path, or a URL; see seedbed doctor --cluster"
            raise UserError("--store", f"on {host}: it {trouble}", "a store that every node reaches", mend)

    def submit(self, job: Job) -> None:
        """Hand the job to Ray."""
        if job.stages[0].processes > 1:  # what its processes need, they ask for themselves, all at once
            reference = self._train.options(num_cpus=0).remote(job)
            self._deadlines[reference] = time.monotonic() + (job.timeout_s or math.inf)
            self._jobs[reference] = job
            return
        named = {RAYS_NAMES[name]: value for name, value in job.wants.items() if name in RAYS_NAMES}
        custom = {name: value for name, value in job.wants.items() if name not in RAYS_NAMES}
        self._jobs[self._run.options(**named, resources=custom or None).remote(job)] = job

    def wait(self) -> list[Outcome]:
        """Outcomes of the tasks that ended within a second."""
        if not self._jobs:
            return []
        waiting = list(self._jobs)
        ended, _ = ray.wait(waiting, timeout=POLL_S)
        if ended:  # and whatever else is there
            ended, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0)
        outcomes: list[Outcome] = []
        for reference in ended:
            outcomes += self._outcomes(reference)
        return outcomes + self._overdue()

    def close(self) -> None:
        """Leave the cluster."""
        disconnect()

    def _overdue(self) -> list[Outcome]:
        """End the teams whose time is up: their processes end with the task."""
        late = [reference for reference, deadline in self._deadlines.items() if deadline < time.monotonic()]
        outcomes: list[Outcome] = []
        for reference in late:
            ray.cancel(reference, force=True)
            del self._deadlines[reference]
            outcomes += timed_out(self._jobs.pop(reference))
        return outcomes

    def _outcomes(self, reference: Any) -> list[Outcome]:
        job = self._jobs.pop(reference)
        self._deadlines.pop(reference, None)
        try:
            outcomes: list[Outcome] = ray.get(reference)
        except ray.exceptions.RayTaskError as error:  # a stage's errors are outcomes: this node lacks something
            return job.ended(Ending.FAILED, " ".join(str(error.cause).split()))
        except ray.exceptions.RayError as error:
            return job.ended(Ending.WORKER_DIED, f"the worker ended: {type(error).__name__}")
        return outcomes


def _run_on_worker(job: Job) -> list[Outcome]:
    """The job on the GPU that Ray chose for it, whichever others this reused worker had before."""
    gpus = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
    if gpus:
        job = replace(job, gpu=int(gpus[0]))
    return run_within_time(job)
