"""Running one job, in whatever process an executor chose: lease, open, run, publish, and say how it went."""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from socket import gethostname
from tempfile import TemporaryDirectory
from typing import Literal

from harness.execution.processes import in_processes
from harness.execution.team import Launch, RankDied, RankFailed, train_together
from harness.stages.families import run_together
from harness.stages.graph import Stage
from harness.stages.numerics import cpu_class
from harness.stages.plugins import DATA, named_components, plugins_of
from harness.stages.provenance import modules_imported_by, sources_of
from harness.stages.work import Context, Work
from harness.store.events import EventLog
from harness.store.layout import FAILURES, SINGLE_RUN, Ref, document_of
from harness.store.lease import Lease
from harness.store.record import Record
from harness.store.store import Attempt, Lost, Store
from harness.suites.resources import Wants
from methods.base import Stopped
from methods.sharing import ALONE, Share
from settings.discovery import Registry
from settings.errors import UserError
from settings.guard import guarded
from settings.plugins import plugged_in

SOURCES_OF_KIND = {
    "features": "methods.features",
    "sweep": "results.metrics.sweep",
    "score": "results.metrics.counts",
    "select": "results.selection",
    "row": "results.metrics.miou",
    "examine_cue": "results.metrics.foreground",
    "gallery": "harness.drawing.sheet",
    "reveal": "harness.stages.revealing",
}
"""The module that computes a kind of stage which no component stands for."""
Status = Literal["done", "busy", "failed", "input_lost", "worker_died", "timed_out", "out_of_memory", "stopped"]


@dataclass(frozen=True)
class Outcome:
    """How a stage ended.

    `busy`: another process holds it; `input_lost`: an input was damaged and set aside; `out_of_memory`: of a GPU's;
    `stopped`: its training keeps a checkpoint and goes on when it is begun again.
    """

    ref: Ref
    status: Status
    seconds: float = 0.0
    reason: str = ""
    lost: Ref | None = None
    is_users: bool = False
    """Whether it failed by something that the user can mend: a damaged photo, weights that do not fit."""


@dataclass(frozen=True)
class Job:
    """Stages that run in one process, one after the other or as a bundle, and where."""

    stages: tuple[Stage, ...]
    store: str | Path
    """A folder or a URL: what `Store.at` opens."""
    log: Path
    wants: Wants = field(default_factory=lambda: {"threads": 1})
    """What the job holds while it runs."""
    halvings: int = 0
    """How often the batches of photos are halved, because a GPU had too little memory."""
    gpu: int | None = None
    """Which of the node's GPUs it computes on; None: torch's current one."""

    @property
    def timeout_s(self) -> float:
        """After which its processes are ended; 0: never."""
        return max(stage.demand.timeout_s for stage in self.stages)

    def parts(self) -> list[tuple[Stage, ...]]:
        """What runs together: a bundle, else each stage alone."""
        grouped = groupby(self.stages, key=lambda stage: stage.bundle or stage.key)
        return [tuple(stages) for _, stages in grouped]


def run_job(job: Job, launch: Launch = in_processes) -> list[Outcome]:
    """Run the stages that nobody has published yet; never raises for what goes wrong inside a stage.

    `launch` starts the processes of a stage that several train together.
    """
    store = Store.at(job.store)
    log = store.log(job.log)
    return [outcome for part in job.parts() for outcome in _run_part(job, part, store, log, launch)]


def _run_part(job: Job, stages: Sequence[Stage], store: Store, log: EventLog, launch: Launch) -> list[Outcome]:
    if log.is_stopping():
        return [Outcome(stage.ref, "stopped") for stage in stages]
    outcomes: list[Outcome] = []
    mine: dict[Stage, Lease] = {}
    with ExitStack() as stack:
        for stage in stages:
            lease = store.lease(stage.ref)
            stack.callback(lease.release)
            try:
                mine_or_done = store.has(stage.ref) or lease.acquire()
                # Looked at again: somebody may have published between the look and the lease.
                is_done = mine_or_done and store.has(stage.ref)
            except OSError as error:  # a full disk has no room for a lease either
                outcomes += _ended((), (stage,), store, log, "failed", reason_of(error), traceback.format_exc())
                continue
            if not mine_or_done:
                outcomes.append(Outcome(stage.ref, "busy"))
                continue
            if is_done:
                outcomes.append(Outcome(stage.ref, "done"))
            else:
                mine[stage] = lease
        return outcomes + (_run(job, mine, store, log, launch) if mine else [])


def _run(job: Job, stages: Mapping[Stage, Lease], store: Store, log: EventLog, launch: Launch) -> list[Outcome]:
    keys = [stage.key for stage in stages]
    start = time.perf_counter()
    log.write("started", stages=keys, pid=os.getpid())
    works: list[Work] = []
    outcomes: list[Outcome] = []
    try:
        for stage in stages:
            works.append(opened(stage, store, log, keys, store.attempt(stage.ref), halvings=job.halvings))
        first = works[0]
        _check_machine(first.stage)
        with (
            plugged_in(plugins_of(stages)),
            PeakMemory() as memory,
            compute(first.stage, job.gpu),
            guarded(first.stage.kind, first.mask_folders()),
        ):
            if first.stage.processes > 1:
                memory.others = train_together(first, log.path, launch)
            else:
                run_together(works)
        _check_inputs(works, store)
        seconds = (time.perf_counter() - start) / len(works)
        for work in works:
            work.attempt.record = _record(work, seconds, memory.bytes + memory.others)
        for work in works:
            outcomes.append(_publish(work, stages[work.stage], store, seconds))
    except Lost as error:
        ended = _ended(works, stages, store, log, "input_lost", str(error))
        return [replace(outcome, lost=error.ref) for outcome in ended]
    except Stopped as error:
        return _ended(works, stages, store, log, "stopped", str(error))
    except RankDied as error:
        return _ended(works, stages, store, log, "worker_died", str(error))
    except Exception as error:  # whatever a component does wrong is the stage's failure, not the run's
        if lost := _lost_meanwhile(works, store):
            return [replace(one, lost=lost.ref) for one in _ended(works, stages, store, log, "input_lost", str(lost))]
        # What a full disk let through before it failed stays published.
        left = list(stages)[len(outcomes) :]
        status: Status = "out_of_memory" if _is_out_of_gpu_memory(error) else "failed"
        if any(not work.attempt.folder.exists() for work in works[len(outcomes) :]):
            status = "worker_died"  # somebody removed what it was writing: it is begun again
        trace = error.trace if isinstance(error, RankFailed) else traceback.format_exc()
        ended = _ended(works[len(outcomes) :], left, store, log, status, reason_of(error), trace)
        is_users = error.is_users if isinstance(error, RankFailed) else isinstance(error, UserError)
        outcomes += [replace(outcome, is_users=is_users) for outcome in ended]
    if done := [outcome for outcome in outcomes if outcome.status == "done"]:
        log.write("finished", stages=[one.ref.key for one in done], seconds=round(seconds * len(done), 3))
    return outcomes


def _check_machine(stage: Stage) -> None:
    """Raise UserError where this machine computes otherwise than the one that planned: the key would be wrong."""
    planned = stage.identity.get("numerics", {}).get("cpu", here := cpu_class())
    if planned != here:
        place, mend = f"compute ({gethostname()})", "use nodes of one kind; see seedbed doctor --cluster"
        raise UserError(place, f"a CPU with {here}", f"one with {planned}, as where the run was planned", mend)


def _check_inputs(works: Sequence[Work], store: Store) -> None:
    """Raise Lost where an input changed while the stage read it; the hashes of what did not are remembered."""
    for ref in dict.fromkeys(ref for work in works for ref in work.stage.needs()):
        store.recheck(ref)


def _lost_meanwhile(works: Sequence[Work], store: Store) -> Lost | None:
    """The input for whose damage a stage failed, if there is one."""
    try:
        _check_inputs(works, store)
    except Lost as error:
        return error
    return None


def _publish(work: Work, lease: Lease, store: Store, seconds: float) -> Outcome:
    """Publish, unless this process was paused past its lease and somebody else has begun the stage anew."""
    if not lease.is_held():
        store.discard(work.attempt)
        return Outcome(work.stage.ref, "busy")
    if not store.publish(work.attempt):
        return Outcome(work.stage.ref, "busy")
    with suppress(OSError):  # what is left over is for `seedbed store gc`
        store.clean_up(work.stage.ref)
    return Outcome(work.stage.ref, "done", seconds)


def run_openly(stage: Stage, store: Store) -> None:
    """Run one stage from its beginning, without catching its errors, publishing it or leaving anything: to debug.

    What several processes would train, this one trains alone.
    """
    log = store.begin_log(SINGLE_RUN)
    work = opened(stage, store, log, [stage.key], store.attempt(stage.ref))
    try:
        with TemporaryDirectory() as checkpoints, plugged_in(plugins_of([stage])), compute(stage):
            context = replace(work.context, checkpoint_folder=Path(checkpoints))
            with guarded(stage.kind, work.mask_folders()):
                run_together([replace(work, context=context)])
    finally:
        store.discard(work.attempt)


def opened(
    stage: Stage,
    store: Store,
    log: EventLog,
    keys: list[str],
    attempt: Attempt,
    share: Share = ALONE,
    halvings: int = 0,
) -> Work:
    """A stage with its inputs opened and its surroundings; of several processes the first alone tells of progress.

    Raises Lost for an input that cannot be used.
    """
    inputs = {role: tuple(store.open(ref) for ref in refs) for role, refs in stage.inputs.items()}
    numerics = stage.identity.get("numerics", {})
    context = Context(
        device=numerics.get("device", "cpu"),
        precision=numerics.get("precision", "float32"),
        rng_seed=stage.identity.get("rng_seed", 0),
        checkpoint_folder=store.checkpoint_folder(stage.ref),
        report=lambda done, total, unit, values: (
            log.progress(keys, done, total, unit, values) if share.is_first else None
        ),
        share=share,
        stop_asked=log.is_stopping,
        halvings=halvings,
    )
    return Work(stage, inputs, attempt, context, store)


def _record(work: Work, seconds: float, peak_memory: int) -> Record:
    """What the attempt's record says already, and how the stage went."""
    stage = work.stage
    return replace(
        work.attempt.record,
        label=stage.label,
        group=stage.group,
        identity=dict(stage.identity),
        inputs=tuple(dict.fromkeys(stage.needs())),
        seconds=round(seconds, 4),
        photos=stage.photos,
        device=work.context.device,
        peak_memory_bytes=peak_memory,
        sources={name: sources_of(name) for name in source_modules(stage)},
    )


def source_modules(stage: Stage) -> list[str]:
    """The modules whose sources make a stage's artefact: its component's, or the one that computes its kind.

    A plug-in's own text is in the key; here stand the modules of ours that it imports.
    """
    if stage.kind in SOURCES_OF_KIND:
        return [SOURCES_OF_KIND[stage.kind]]
    named = named_components(stage)
    makers = [named["component"]] if "component" in named else [named[role] for role in DATA]
    with plugged_in(plugins_of([stage])):
        return sorted({module for registry, name in makers for module in _modules(registry, name)})


def _modules(registry: Registry, name: str) -> Sequence[str]:
    plugin = registry.plugin(name)
    return modules_imported_by(plugin.tree) if plugin else [registry.module_of(name)]


def _ended(
    works: Sequence[Work],
    stages: Iterable[Stage],
    store: Store,
    log: EventLog,
    status: Status,
    reason: str,
    trace: str = "",
) -> list[Outcome]:
    for work in works:
        store.discard(work.attempt)
    for stage in stages:
        content = {"label": stage.label, "reason": reason, "traceback": trace, "stage": stage.to_json()}
        if trace:
            with suppress(OSError):  # on a full disk the reason still reaches the table
                text = json.dumps(content, indent=1, sort_keys=True)
                store.write_documents({document_of(FAILURES, stage.key): text.encode()})
    log.write(status, stages=[stage.key for stage in stages], reason=reason)
    return [Outcome(stage.ref, status, reason=reason) for stage in stages]


def reason_of(error: Exception) -> str:
    """One line: what went wrong, and for what is not the user's mistake the kind of error."""
    text = " ".join(str(error).split())
    return text if isinstance(error, UserError | RankFailed) else f"{type(error).__name__}: {text}"


def _is_out_of_gpu_memory(error: Exception) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.cuda.OutOfMemoryError)


@contextmanager
def compute(stage: Stage, gpu: int | None = None) -> Iterator[None]:
    """The stage's threads and GPU, and torch's arithmetic for it; afterwards the process is as it was."""
    import torch

    from methods.training import flushed_denormals

    before = torch.get_num_threads()
    torch.set_num_threads(stage.threads)
    on_gpu = stage.device == "cuda"
    if on_gpu and gpu is not None:
        torch.cuda.set_device(gpu)
    try:
        with flushed_denormals():
            yield
    finally:
        torch.set_num_threads(before)
        if on_gpu:  # other processes on this GPU cannot have what stays in this one's cache
            torch.cuda.empty_cache()


class PeakMemory:
    """The highest resident memory of this process while a block runs, sampled ten times a second (Linux)."""

    def __init__(self) -> None:
        self.bytes = 0
        self.others = 0
        """Bytes of the processes that this one started."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.bytes = max(self.bytes, resident_bytes())
            if self._stop.wait(0.1):
                return


def resident_bytes() -> int:
    """Resident memory of this process; its all-time peak where the kernel does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * resource.getpagesize()
