"""Running one job, in whatever process an executor chose: lease, open, run, publish, and say how it went."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from socket import gethostname
from tempfile import TemporaryDirectory

from harness.execution.job import Job, Outcome
from harness.execution.processes import in_processes
from harness.execution.team import Launch, RankDied, RankFailed, reason_of, train_together
from harness.execution.workplace import PeakMemory, at_work, opened
from harness.stages.graph import Stage
from harness.stages.kind import plain
from harness.stages.numerics import cpu_class
from harness.stages.plugins import source_modules
from harness.stages.provenance import sources_of
from harness.stages.work import AnyWork
from harness.store.events import Ending, Event, EventLog
from harness.store.layout import FAILURES, SINGLE_RUN, Ref, document_of, run_of
from harness.store.lease import Lease
from harness.store.record import Record
from harness.store.store import Attempt, Lost, Store
from methods.base import Stopped
from settings.errors import UserError

__all__ = ["run_job", "run_openly"]


def run_job(job: Job, launch: Launch = in_processes) -> list[Outcome]:
    """Run the stages that nobody has published yet; never raises for what goes wrong inside a stage.

    `launch` starts the processes of a stage that several train together.
    """
    store = Store.at(job.store)
    worker = _Worker(job, store, store.log(job.log), launch)
    outcomes: list[Outcome] = []
    for stages in job.parts():
        outcomes += worker.run(stages)
    return outcomes


def run_openly(stage: Stage, store: Store) -> None:
    """Run one stage from its beginning, without catching its errors, publishing it or leaving anything: to debug.

    What several processes would train, this one trains alone.
    """
    log = store.begin_log(SINGLE_RUN)
    work = opened(stage, store, log, [stage.key], store.attempt(stage.ref))
    try:
        with TemporaryDirectory() as checkpoints:
            process = replace(work.process, checkpoint_folder=Path(checkpoints))
            work = replace(work, process=process)
            with at_work([work]):
                stage.kind.run_together([work])
    finally:
        store.discard(work.attempt)


@dataclass(frozen=True)
class _Failure:
    """Why stages that ran together ended without an artefact, in the words that logs and tables show."""

    status: Ending
    reason: str
    trace: str = ""
    is_users: bool = False
    lost: Ref | None = None

    def to_json(self, stage: Stage) -> dict[str, object]:
        """What `seedbed logs` tells of the stage, with all that is needed to run it again."""
        return {"label": stage.label, "reason": self.reason, "traceback": self.trace, "stage": stage.to_json()}


@dataclass(frozen=True)
class _Worker:
    """One job and the store and log that it runs against; a job's parts run one after the other."""

    job: Job
    store: Store
    log: EventLog
    launch: Launch

    def run(self, stages: Sequence[Stage]) -> list[Outcome]:
        """Run one part of the job, but for the stages that are published or that another process holds."""
        if self.log.is_stopping():
            return [Outcome(stage.ref, Ending.STOPPED) for stage in stages]
        outcomes: list[Outcome] = []
        mine: dict[Stage, Lease] = {}
        found: list[str] = []
        with ExitStack() as leases:
            for stage in stages:
                lease = self.store.lease(stage.ref)
                leases.callback(lease.release)
                try:
                    ending = self._claim(stage, lease)
                # A full disk has no room for a lease either, and a store that is gone no place.
                except (OSError, UserError) as error:
                    is_users = isinstance(error, UserError)
                    failure = _Failure(Ending.FAILED, reason_of(error), traceback.format_exc(), is_users)
                    outcomes += self._give_up((), [stage], failure)
                    continue
                if ending is None:
                    mine[stage] = lease
                else:
                    outcomes.append(Outcome(stage.ref, ending))
                    if ending is Ending.DONE:
                        found.append(stage.key)
            if found:
                # Another run made them meanwhile: who reads this run's log has to know that they are there.
                self.log.write(Ending.DONE, stages=found, seconds=0.0)
            if mine:
                outcomes += self._run(mine)
        return outcomes

    def _claim(self, stage: Stage, lease: Lease) -> Ending | None:
        """How the stage has ended before it was begun; None where the lease is taken, and it is to run."""
        self.store.check_there()
        if not self.store.has(stage.ref) and not lease.acquire():
            return Ending.BUSY
        # Looked at again: somebody may have published between the look and the lease.
        if self.store.has(stage.ref):
            return Ending.DONE
        return None

    def _run(self, mine: Mapping[Stage, Lease]) -> list[Outcome]:
        """Run stages together and publish what they made; some may be published when the rest fails."""
        stages = list(mine)
        keys = [stage.key for stage in stages]
        start, start_cpu = time.perf_counter(), time.process_time()
        self.log.write(Event.STARTED, stages=keys, pid=os.getpid())
        attempts: list[Attempt] = []
        works: list[AnyWork] = []
        published: list[Outcome] = []
        failed: list[Outcome] = []
        try:
            for stage in stages:
                attempts.append(self.store.attempt(stage.ref))
                works.append(opened(stage, self.store, self.log, keys, attempts[-1], halvings=self.job.halvings))
            peak_memory = self._compute(works)
            # Verified when they were opened, and once more: what was damaged while it was read made a wrong artefact.
            self._check_inputs(works)
            seconds = (time.perf_counter() - start) / len(works)
            cpu_seconds = (time.process_time() - start_cpu) / len(works)
            for work in works:
                record = _record(work, seconds, cpu_seconds, peak_memory)
                work.attempt.record = replace(record, run=self._run_name())
            for work in works:
                published.append(_publish(work, mine[work.stage], self.store, seconds))
        # Whatever a component does wrong is the stage's failure, not the run's.
        except Exception as error:
            # Published in order: what comes after the published ones has an attempt to discard, or never got one.
            left = attempts[len(published) :]
            failed = self._give_up(left, stages[len(published) :], self._reason(error, works, left))
        done = [outcome for outcome in published if outcome.status is Ending.DONE]
        if done:
            spent = sum(outcome.seconds for outcome in done)
            self.log.write(Ending.DONE, stages=[outcome.ref.key for outcome in done], seconds=round(spent, 3))
        return published + failed

    def _run_name(self) -> str:
        """The run that the job is of; a stage that is run alone counts as one of the newest run."""
        name = run_of(self.job.log)
        if name == SINGLE_RUN:
            return self.store.newest_run()
        return name

    def _compute(self, works: Sequence[AnyWork]) -> int:
        """Fill the attempts; returns the most bytes of memory that it took, in all processes together."""
        first = works[0]
        _check_machine(first.stage)
        others = 0
        with PeakMemory() as memory, at_work(works, self.job.gpu):
            if first.stage.processes > 1:
                others = train_together(first, self.log.path, self.launch)
            else:
                first.stage.kind.run_together(works)
        return memory.bytes + others

    def _check_inputs(self, works: Sequence[AnyWork]) -> None:
        """Raise Lost where an input changed while a stage read it; the hashes of what did not are remembered."""
        needs: dict[Ref, None] = {}
        for work in works:
            needs |= dict.fromkeys(work.stage.needs())
        for ref in needs:
            self.store.recheck(ref)

    def _reason(self, error: Exception, works: Sequence[AnyWork], left: Sequence[Attempt]) -> _Failure:
        """What an error means for the stages that ran, of which those with an attempt `left` are not published."""
        # Whatever else is wrong comes of that: inputs that are not there, folders that cannot be written.
        try:
            self.store.check_there()
        except UserError as gone:
            return _Failure(Ending.FAILED, reason_of(gone), traceback.format_exc(), is_users=True)
        if isinstance(error, Lost):
            return _Failure(Ending.INPUT_LOST, str(error), lost=error.ref)
        if isinstance(error, Stopped):
            return _Failure(Ending.STOPPED, str(error))
        if isinstance(error, RankDied):
            return _Failure(Ending.WORKER_DIED, str(error))
        # An input that was damaged meanwhile may have been the cause.
        try:
            self._check_inputs(works)
        except Lost as lost:
            return _Failure(Ending.INPUT_LOST, str(lost), lost=lost.ref)
        status = Ending.FAILED
        if _is_out_of_gpu_memory(error):
            status = Ending.OUT_OF_MEMORY
        # Somebody removed what it was writing: that is no fault of the stage's, which is begun again.
        if any(not attempt.folder.exists() for attempt in left):
            status = Ending.WORKER_DIED
        if isinstance(error, RankFailed):
            return _Failure(status, reason_of(error), error.trace, error.is_users)
        return _Failure(status, reason_of(error), traceback.format_exc(), isinstance(error, UserError))

    def _give_up(self, attempts: Iterable[Attempt], stages: Sequence[Stage], failure: _Failure) -> list[Outcome]:
        """Discard what stages have written, and put on record why: in the store with a traceback, and in the log."""
        for attempt in attempts:
            self.store.discard(attempt)
        if failure.trace:
            for stage in stages:
                # On a full disk, and of a store that is gone, the reason still reaches the table.
                with suppress(OSError, UserError):
                    text = json.dumps(failure.to_json(stage), indent=1, sort_keys=True)
                    self.store.write_documents({document_of(FAILURES, stage.key): text.encode()})
        self.log.write(failure.status, stages=[stage.key for stage in stages], reason=failure.reason)
        return [
            Outcome(stage.ref, failure.status, reason=failure.reason, lost=failure.lost, is_users=failure.is_users)
            for stage in stages
        ]


def _check_machine(stage: Stage) -> None:
    """Raise UserError where this machine computes otherwise than the one that planned: the key would be wrong."""
    planned, here = stage.numerics.cpu, cpu_class()
    if planned not in (None, here):
        place, mend = f"compute ({gethostname()})", "use nodes of one kind; see seedbed doctor --cluster"
        raise UserError(place, f"a CPU with {here}", f"one with {planned}, as where the run was planned", mend)


def _record(work: AnyWork, seconds: float, cpu_seconds: float, peak_memory_bytes: int) -> Record:
    """What the attempt's record says already, and how the stage went; the seconds are its share of those of its job."""
    stage = work.stage
    # What the other processes of a team spent is not known here.
    if stage.processes > 1:
        cpu_seconds = 0.0
    return replace(
        work.attempt.record,
        label=stage.label,
        group=stage.group,
        identity=plain(stage.identity),
        inputs=tuple(dict.fromkeys(stage.needs())),
        seconds=round(seconds, 4),
        cpu_seconds=round(cpu_seconds, 4),
        photos=stage.photos,
        device=stage.device,
        peak_memory_bytes=peak_memory_bytes,
        sources={name: sources_of(name) for name in source_modules(stage)},
    )


def _publish(work: AnyWork, lease: Lease, store: Store, seconds: float) -> Outcome:
    """Publish, unless this process was paused past its lease and somebody else has begun the stage anew."""
    if not lease.is_held():
        store.discard(work.attempt)
        return Outcome(work.stage.ref, Ending.BUSY)
    if not store.publish(work.attempt):
        return Outcome(work.stage.ref, Ending.BUSY)
    # What is left over is for `seedbed store gc`.
    with suppress(OSError):
        store.clean_up(work.stage.ref)
    return Outcome(work.stage.ref, Ending.DONE, seconds)


def _is_out_of_gpu_memory(error: Exception) -> bool:
    # Not imported for this: where no stage has imported torch, none ran out of a GPU's memory.
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.cuda.OutOfMemoryError)
