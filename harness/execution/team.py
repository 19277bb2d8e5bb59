"""A stage that several processes train together: what each is told, what it reports, and what is made of the reports.

The job's own process is none of them: it holds the lease, has a launcher start the team, judges the reports, and
publishes what the first process wrote. Launchers are `processes.in_processes` (this machine) and `ray.by_trainer`
(Ray Train); they call `run_rank` in each process that they have started and joined to torch's process group.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.execution.workplace import PeakMemory, at_work, opened
from harness.stages.graph import Stage, StageContent
from harness.stages.work import AnyWork
from harness.store.backends.urls import absolute
from harness.store.layout import Ref
from harness.store.store import Attempt, Lost, Store
from methods.base import Stopped
from methods.reducing import PeerLost
from methods.sharing import Share
from settings.errors import UserError

__all__ = [
    "PATIENCE",
    "Launch",
    "RankDied",
    "RankFailed",
    "Report",
    "Team",
    "check",
    "reason_of",
    "run_rank",
    "train_together",
]

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others at one meeting: they may differ by the photos that each decodes."""


@dataclass(frozen=True)
class Team:
    """What every process of a team is told, in plain types: it is sent as JSON, or through Ray."""

    description: StageContent
    """Of the stage, as `Stage.to_json` gives it."""
    store: str
    """What `Store.at` opens."""
    log: str
    attempt: str
    """The folder that the first process fills; those of the others are thrown away."""
    size: int
    sync_batch_norm: bool

    @classmethod
    def of(cls, work: AnyWork, log: Path) -> Team:
        """The team of a stage that is about to be run, with every path such that other processes find it."""
        return cls(
            description=work.stage.to_json(),
            store=absolute(work.store.location),
            log=str(log.resolve()),
            attempt=str(work.attempt.folder.resolve()),
            size=work.stage.processes,
            sync_batch_norm=bool(work.stage.numerics.sync_batch_norm),
        )

    @property
    def stage(self) -> Stage:
        """The stage that the team trains, read from its description."""
        return Stage.from_json(self.description)


@dataclass(frozen=True)
class Report:
    """How one process of a team ended; without a reason all went well."""

    rank: int
    reason: str = ""
    trace: str = ""
    is_users: bool = False
    lost: Sequence[str] = ()
    """(kind, key) of an input that was found damaged."""
    follows: bool = False
    """It failed because another process was gone: that one knows the reason."""
    stopped: bool = False
    """It was asked to stop and kept what it needs to go on."""
    died: bool = False
    """It ended without a word."""
    ledger: Sequence[dict[str, object]] = ()
    """What the process has read of true masks and labels."""
    peak_memory_bytes: int = 0
    gpu: str = ""
    """What identifies the GPU that it had, if any."""


Launch = Callable[[Team], Sequence[Report]]
"""Starts a team's processes, waits until all have ended, and returns their reports; none of them is left running."""


class RankFailed(RuntimeError):
    """The stage failed in one of its processes, whose reason this is."""

    def __init__(self, report: Report, size: int) -> None:
        super().__init__(report.reason)
        self.is_users = report.is_users
        self.trace = f"process {report.rank + 1} of {size}:\n{report.trace}"


class RankDied(RuntimeError):
    """One of the processes ended without a word (it was killed): the stage is begun again, as after any such death."""


def run_rank(team: Team, rank: int) -> Report:
    """Run the team's stage as one of its processes; never raises for what goes wrong inside the stage.

    torch's default process group is the team's; with GPUs, the current one is this process's.
    """
    stage = team.stage
    with TemporaryDirectory() as thrown_away, PeakMemory() as memory:
        # All processes compute the same files, of which one copy is wanted.
        attempt = Attempt.into(stage.ref, Path(thrown_away))
        try:
            store = Store.at(team.store)
            if rank == 0:
                attempt = store.attempt(stage.ref, Path(team.attempt).name)
            share = Share(rank, team.size, team.sync_batch_norm)
            work = opened(stage, store, store.log(Path(team.log)), [stage.key], attempt, share)
            with at_work([work]):
                stage.kind.run_together([work])
            if rank == 0:
                store.hand_over(attempt)
        except Exception as error:  # whatever a component does wrong, as in a stage of one process
            return _failed(rank, error)
    return Report(rank, ledger=attempt.record.ledger, peak_memory_bytes=memory.bytes, gpu=_gpu(stage.device))


def _failed(rank: int, error: Exception) -> Report:
    """The report of a process whose part of the stage raised an error, by what kind of error it was."""
    trace = traceback.format_exc()
    # Errors do not travel between processes as they are; what the job's process must know of a lost input does.
    if isinstance(error, Lost):
        return Report(rank, reason=str(error.args[1]), trace=trace, lost=tuple(error.ref))
    return Report(
        rank,
        reason=reason_of(error),
        trace=trace,
        is_users=isinstance(error, UserError),
        stopped=isinstance(error, Stopped),
        follows=isinstance(error, PeerLost),
    )


def _gpu(device: str) -> str:
    """What identifies this process's GPU among those of all machines; empty on a CPU."""
    if device != "cuda":
        return ""
    import torch

    return str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid)


def train_together(work: AnyWork, log: Path, launch: Launch) -> int:
    """Have a team run the stage into its attempt; returns the bytes of memory that its processes held together.

    Raises Lost, Stopped, RankFailed or RankDied, by what happened to the process that failed first.
    """
    team = Team.of(work, log)
    reports = launch(team)
    check(reports, team.size)
    # The first process may have run on another node: behind a URL, what it wrote comes by way of the store.
    work.store.take_over(work.attempt)
    gpus = {report.gpu for report in reports if report.gpu}
    work.attempt.record = replace(work.attempt.record, ledger=tuple(reports[0].ledger), gpus=len(gpus))
    return sum(report.peak_memory_bytes for report in reports)


def check(reports: Sequence[Report], size: int) -> None:
    """Raise for the process that began a team's failure, if any did: Lost, Stopped, RankFailed or RankDied."""
    failed = [report for report in reports if report.reason]
    # One failure makes others: a process that is gone leaves the rest waiting, until they fail too.
    # Who merely lost another process comes last: that one's own reason, or its silence, is what happened.
    for report in sorted(failed, key=lambda report: (report.follows, report.died, report.rank)):
        if report.stopped:
            raise Stopped(report.reason)
        if report.lost:
            raise Lost(Ref(*report.lost), report.reason)
        if report.died:
            raise RankDied(f"process {report.rank + 1} of {size} ended: {report.reason}")
        if report.follows:
            raise RankDied(f"one of {size} processes is gone, as process {report.rank + 1} found: {report.reason}")
        raise RankFailed(report, size)
    if len(reports) < size:
        raise RankDied(f"{size - len(reports)} of {size} processes gave no report")


def reason_of(error: Exception) -> str:
    """One line: what went wrong, and for what is not the user's mistake the kind of error."""
    text = " ".join(str(error).split())
    # What a process of a team reported has been through here.
    if isinstance(error, UserError | RankFailed):
        return text
    return f"{type(error).__name__}: {text}"
