"""Jobs as Ray tasks, whose workers are reused; a stage that several processes train is a Ray Train `TorchTrainer`.

The task that runs such a stage asks Ray for nothing (0 CPUs, 0 GPUs): it waits while the workers work, and what they
need is asked for by the trainer's placement group, all of it at once (n bundles of a stage's threads, and a GPU each
where the cluster has n of them). So a full cluster cannot deadlock: whoever holds CPUs is a stage that waits for
nobody, and a team gets all its bundles or none. It cannot starve either as long as the driver counts a team's whole
demand (processes × threads) among what is running: it then submits nothing that would take the slots that the team is
waiting for. A demand above the cluster's slots would wait for ever: `executor.check_teams` refuses it before any work.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import ray

from harness.execution import Packages
from harness.execution.child import run_within_time, timed_out
from harness.execution.cluster import connect, disconnect
from harness.execution.credentials import Credentials, adopt, credentials
from harness.execution.executor import Executor, check_teams
from harness.execution.job import Job, Outcome
from harness.execution.local_cluster import LocalCluster
from harness.execution.nodes import offered, strangers_to
from harness.execution.team import PATIENCE, Report, Team, run_rank
from harness.execution.worker import run_job
from harness.stages.graph import Stage
from harness.store.events import Ending
from harness.suites.resources import Wants
from settings.errors import UserError

__all__ = ["Ray", "by_trainer", "run_training_job"]

_Reference = ray.ObjectRef[list[Outcome]]

POLL_S = 1.0
"""How long the driver waits for tasks before it looks at its signals, deadlines and nodes again."""
RAYS_NAMES = {"threads": "num_cpus", "gpus": "num_gpus", "memory": "memory"}
"""What Ray's options call the resources that are not custom."""


class Ray(Executor):
    """A fresh local cluster that ends with the run, or one that exists at an address."""

    # A cluster names all that it has.
    unnamed = 0.0

    def __init__(self, slots: int | None = None, address: str | None = None, packages: Packages = "installed") -> None:
        self._own: LocalCluster | None = None
        """The cluster that ends with this run; it may be another one than that which the run began with."""
        if address is None:
            self._own = LocalCluster(slots)
        else:
            connect(address, packages)
        self._credentials = credentials()
        self._most = math.inf
        """How many slots of a cluster that exists this run may take; of its own it takes all."""
        if address is not None and slots is not None:
            self._most = slots
        self._widest = self.slots = 1
        # One of this run's own has the same node as long as it lives; asked when it does not, it would never answer.
        self._nodes = offered()
        self.capacity()
        # Ray retries nothing, since `retries` decides what is begun again. With 0 it leaves to us also what its memory
        # monitor ended; with any more, that would be begun again as often as Ray's own setting says.
        # What a job asks for comes with `options`, at each call: with a GPU named here, Ray would start a process for
        # every task instead of using its workers again.
        self._run = ray.remote(max_retries=0, num_returns=1)(_run_on_worker)
        self._train = ray.remote(max_retries=0, num_returns=1)(run_training_job)
        self._jobs: dict[_Reference, Job] = {}
        self._deadlines: dict[_Reference, float] = {}
        """When a team's time is up, by `time.monotonic`; other jobs watch their time themselves."""
        self._cut_off: list[Outcome] = []
        """How jobs ended whose cluster ended, until `wait` tells it."""
        self._loss = ""
        """How Ray told that its own processes have ended, which it may notice before they have."""

    def capacity(self) -> Wants:
        """What the nodes that are alive have now; threads no more than the slots that this run may take."""
        if self._own is None:
            self._nodes = offered()
        nodes = self._nodes
        whole: defaultdict[str, float] = defaultdict(float)
        for node in nodes:
            for name, amount in node.items():
                whole[name] += amount
        custom = {name: value for name, value in whole.items() if name not in ("CPU", "GPU", "memory")}
        self.slots = max(1, int(min(whole["CPU"], self._most)))
        cores = [node.get("CPU", 0.0) for node in nodes]
        self._widest = int(max(cores, default=0.0))
        return {**custom, "threads": self.slots, "gpus": whole["GPU"], "memory": whole["memory"]}

    def widest(self) -> int:
        """The cores of the largest node, or the slots where these are fewer."""
        return max(1, min(self.slots, self._widest))

    def check(self, stages: Iterable[Stage], store: str) -> None:
        """Raise UserError for stages that the cluster has too little for, and for a store that a node does not find."""
        stages = list(stages)
        super().check(stages, store)
        check_teams(stages, self.slots)
        # The nodes of a cluster of this run's own are this machine.
        if self._own:
            return
        for host, trouble in strangers_to(store).items():
            mend = "a folder that all nodes have at the same path, or a URL; see seedbed doctor --cluster"
            raise UserError("--store", f"on {host}: it {trouble}", "a store that every node reaches", mend)

    def submit(self, job: Job) -> None:
        """Hand the job to Ray, which finds a node for it; a team's job asks for its processes itself."""
        self._renew()
        if job.stages[0].processes > 1:
            reference = self._train.options(num_cpus=0).remote(job, self._credentials)
            self._deadlines[reference] = time.monotonic() + (job.timeout_s or math.inf)
        else:
            reference = self._run.options(**_asked_of_ray(job.wants)).remote(job, self._credentials)
        self._jobs[reference] = job

    def wait(self) -> list[Outcome]:
        """Outcomes of the tasks that have ended, and of those whose time is up; waits a second for the first."""
        self._renew()
        if self._cut_off:
            ended_with_it, self._cut_off = self._cut_off, []
            return ended_with_it
        if not self._jobs:
            return []
        waiting = list(self._jobs)
        ended, _ = ray.wait(waiting, timeout=POLL_S)
        # Ray returns no more than it was asked for, and asked for more it waits for them: so it is asked twice.
        if ended:
            ended, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0)
        outcomes: list[Outcome] = []
        for reference in ended:
            outcomes += self._outcomes(reference)
        return outcomes + self._overdue()

    def close(self) -> None:
        """Leave the cluster; one of this run's own ends, with all that still runs there."""
        if self._own:
            self._own.end()
        else:
            disconnect()

    def _renew(self) -> None:
        """Start a cluster of this run's own anew where it has ended; what ran there is to begin again."""
        if self._own is None or not (trouble := self._loss or self._own.trouble()):
            return
        for job in self._jobs.values():
            self._cut_off += job.ended(Ending.WORKER_DIED, f"the Ray cluster on this machine ended: {trouble}")
        self._jobs.clear()
        self._deadlines.clear()
        self._loss = ""
        self._own.renew(trouble)

    def _overdue(self) -> list[Outcome]:
        """End the teams whose time is up, by ending their tasks, with which their processes end; their outcomes."""
        late = [reference for reference, deadline in self._deadlines.items() if deadline < time.monotonic()]
        outcomes: list[Outcome] = []
        for reference in late:
            ray.cancel(reference, force=True)
            del self._deadlines[reference]
            outcomes += timed_out(self._jobs.pop(reference))
        return outcomes

    def _outcomes(self, reference: _Reference) -> list[Outcome]:
        """What a task that ended returned, or what Ray says of its end."""
        job = self._jobs.pop(reference)
        self._deadlines.pop(reference, None)
        try:
            outcomes = ray.get(reference)
            if self._own:
                self._own.proven()
            return outcomes
        except ray.exceptions.RayTaskError as error:
            # What goes wrong inside a stage is an outcome: this node lacks something, such as a package.
            return job.ended(Ending.FAILED, " ".join(str(error.cause).split()))
        except ray.exceptions.RayError as error:
            if isinstance(error, ray.exceptions.LocalRayletDiedError | ray.exceptions.NodeDiedError):
                self._loss = type(error).__name__
            return job.ended(Ending.WORKER_DIED, f"the worker ended: {type(error).__name__}")


def _asked_of_ray(wants: Wants) -> dict[str, object]:
    """The options of a Ray task that holds all that a job wants while it runs."""
    custom = dict(wants)
    options: dict[str, object] = {}
    for name, option in RAYS_NAMES.items():
        if name in custom:
            options[option] = custom.pop(name)
    return {**options, "resources": custom or None}


def _run_on_worker(job: Job, handed: Credentials) -> list[Outcome]:
    """Run a job on the GPU that Ray chose for it, if it asked for one; the body of a Ray task."""
    adopt(handed)
    # A reused worker has had other GPUs before, and torch still computes on the last one.
    gpus = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
    if gpus:
        job = replace(job, gpu=int(gpus[0]))
    return run_within_time(job)


class RankReported(RuntimeError):
    """A worker's report of a failure, as JSON: raised, since Ray Train ends the other workers for nothing less."""


def run_training_job(job: Job, handed: Credentials) -> list[Outcome]:
    """Run stages that several processes train; the body of a Ray task that asks for no resources."""
    adopt(handed)
    return run_job(job, by_trainer)


def by_trainer(team: Team) -> Sequence[Report]:
    """Start a team as workers of Ray Train and wait until all have ended; the reports, by rank, of those that gave one.

    This is a `team.Launch`. Nothing is retried by Ray.
    """
    # Their import takes seconds, which jobs of one process are spared.
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    # It greets, and tells of every worker; what the stage has to tell is in Seedbed's own log.
    logging.getLogger("ray.train").setLevel(logging.CRITICAL)
    stage = team.stage
    gpus: float = ray.cluster_resources().get("GPU", 0)  # type: ignore[no-untyped-call]
    has_gpus = stage.device == "cuda" and gpus >= team.size
    bundle = {"CPU": float(stage.threads), **dict(stage.demand.custom)}
    if has_gpus:
        bundle["GPU"] = 1.0
    if stage.demand.memory_bytes:
        bundle["memory"] = float(stage.demand.memory_bytes)
    backend = "nccl" if has_gpus else "gloo"
    with TemporaryDirectory(prefix="seedbed-team-") as storage:
        trainer = TorchTrainer(
            # As arguments, not as the trainer's configuration: Ray may show that one, and in the team is a store's URL.
            partial(_train, team, has_gpus, credentials()),  # type: ignore[arg-type] # it may return something
            scaling_config=ScalingConfig(num_workers=team.size, use_gpu=has_gpus, resources_per_worker=bundle),
            torch_config=TorchConfig(backend=backend, timeout_s=int(PATIENCE.total_seconds())),
            run_config=RunConfig(storage_path=storage, failure_config=FailureConfig(max_failures=0)),
        )
        try:
            # Ray's annotation leaves out what a training function returns.
            result: Any = trainer.fit()
            return [Report(**content) for content in result.return_value]
        except TrainingFailedError as error:
            return _reports_of(error)


def _train(team: Team, has_own_gpus: bool, handed: Credentials) -> list[dict[str, object]]:
    """What each worker runs, in a process group that Ray Train has made; returns the reports of all, by rank."""
    from torch import distributed

    adopt(handed)
    rank = ray.train.get_context().get_world_rank()
    if team.stage.device == "cuda" and not has_own_gpus:
        _share_gpus(rank)
    report = run_rank(team, rank)
    if report.reason:
        raise RankReported(json.dumps(asdict(report)))
    # Ray hands on what the first worker returns, and nothing of the others.
    reports: list[dict[str, object]] = [{}] * team.size
    distributed.all_gather_object(reports, asdict(report))
    return reports


def _share_gpus(rank: int) -> None:
    """Where the cluster has too few GPUs, workers share those that they see; else Ray has chosen."""
    import torch

    torch.cuda.set_device(rank % torch.cuda.device_count())


def _reports_of(error: Exception) -> list[Report]:
    """A report for each worker that failed; a worker that Ray lost has died."""
    failures: Mapping[int, Exception] = getattr(error, "worker_failures", {}) or {0: error}
    return [_report_of(rank, failure) for rank, failure in sorted(failures.items())]


def _report_of(rank: int, failure: Exception) -> Report:
    """The report that a worker raised, or one that says how it died."""
    if isinstance(failure, RankReported):
        return Report(**json.loads(str(failure)))
    words = " ".join(str(failure).split())
    return Report(rank, reason=f"{type(failure).__name__}: {words[:120]}", died=True)
