"""The launcher of teams under Ray: the processes are workers of a Ray Train `TorchTrainer`, wherever nodes have room.

The task that runs the job asks Ray for nothing (0 CPUs, 0 GPUs): it waits while the workers work, and what they need is
asked for by the trainer's placement group, all of it at once (n bundles of a stage's threads, and a GPU each where the
cluster has n of them). So a full cluster cannot deadlock: whoever holds CPUs is a stage that waits for nobody, and a
team gets all its bundles or none. It cannot starve either as long as the driver counts a team's whole demand (processes
× threads) among what is running: it then submits nothing that would take the slots that the team is waiting for. A
demand above the cluster's slots would wait for ever: `executor.check_teams` refuses it before any work.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from tempfile import TemporaryDirectory
from typing import Any, cast

import ray

from harness.execution.job import Job, Outcome
from harness.execution.rank import PATIENCE, run_rank
from harness.execution.team import Report, Team
from harness.execution.worker import run_job

__all__ = ["run_training_job"]


class RankReported(RuntimeError):
    """A worker's report of a failure, as JSON: raised, since Ray Train ends the other workers for nothing less."""


def run_training_job(job: Job) -> list[Outcome]:
    """Run stages that several processes train; the body of a Ray task that asks for no resources."""
    return run_job(job, by_trainer)


def by_trainer(team: Team) -> Sequence[Report]:
    """Start a team as workers of Ray Train and wait for all (a `team.Launch`). Ray retries nothing."""
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
            cast(Any, _train),  # it may return something, whatever Ray's annotation says
            train_loop_config={"team": asdict(team), "own_gpus": has_gpus},
            scaling_config=ScalingConfig(num_workers=team.size, use_gpu=has_gpus, resources_per_worker=bundle),
            torch_config=TorchConfig(backend=backend, timeout_s=int(PATIENCE.total_seconds())),
            run_config=RunConfig(storage_path=storage, failure_config=FailureConfig(max_failures=0)),
        )
        try:
            result: Any = trainer.fit()
            return [Report(**content) for content in result.return_value]
        except TrainingFailedError as error:
            return _reports_of(error)


def _train(config: Mapping[str, Any]) -> list[dict[str, object]]:
    """What each worker runs, in a group that Ray Train has made; returns the reports of all."""
    from torch import distributed

    team, rank = Team(**config["team"]), ray.train.get_context().get_world_rank()
    if team.stage.device == "cuda" and not config["own_gpus"]:
        _share_gpus(rank)
    report = run_rank(team, rank)
    if report.reason:
        raise RankReported(json.dumps(asdict(report)))
    reports: list[dict[str, object]] = [{} for _ in range(team.size)]
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
    if isinstance(failure, RankReported):
        return Report(**json.loads(str(failure)))
    words = " ".join(str(failure).split())
    return Report(rank, reason=f"{type(failure).__name__}: {words[:120]}", died=True)
