"""From a suite to a store that has everything of it: plan, look what is missing, run that, and keep a log of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from harness.execution import ExecutorName
from harness.execution.costs import Costs
from harness.execution.descriptions import describe
from harness.execution.driver import Result, drive
from harness.execution.executor import check_teams
from harness.execution.retries import MAX_REPAIRS
from harness.execution.workers import Workers
from harness.stages.graph import Stage, missing_stages
from harness.stages.numerics import usable_cores
from harness.stages.planning import Goal, Plan, make_plan
from harness.store.backends.urls import Location, absolute
from harness.store.events import Event, EventLog
from harness.store.layout import Ref
from harness.store.lease import this_process
from harness.store.store import Lost, Store
from harness.suites.suite import Suite
from settings.errors import UserError

__all__ = ["ANYWHERE", "Display", "Run", "RunOf", "missing_of", "run_plan", "run_suite"]

ANYWHERE = Workers()
"""Wherever this machine can: on all its cores."""
Display = Callable[[EventLog, dict[Ref, Stage], Store], AbstractContextManager[object]]
"""Shows a run while the block is open: from its log, the stages that it runs, and its store."""


AnyGoal = TypeVar("AnyGoal", bound=Goal)
Goal_co = TypeVar("Goal_co", bound=Goal, covariant=True)


@dataclass(frozen=True)
class RunOf(Generic[Goal_co]):
    """A finished run: the plan or other goal that it was for, what went wrong, and where the artefacts lie."""

    plan: Goal_co
    result: Result
    store_folder: Path
    """The folder; of a store behind a URL the local one in front of it."""
    location: str
    """What `Store.at` opens."""
    stages_run: int
    seconds: float


Run: TypeAlias = RunOf[Plan]
"""The run of a whole suite."""


@contextmanager
def run_suite(
    suite: Suite,
    location: Location,
    workers: Workers | ExecutorName = ANYWHERE,
    display: Display | None = None,
) -> Iterator[Run]:
    """Run every stage of a suite that is missing; a finished one starts no executor. UserError comes before any work.

    The run goes on, as its log tells, until the block ends: what it made is gathered there, and no `gc` takes it away.
    """
    start = time.perf_counter()
    with run_plan(make_plan(suite), location, workers, display, start) as run:
        yield run


@contextmanager
def run_plan(
    plan: AnyGoal,
    location: Location,
    workers: Workers | ExecutorName = ANYWHERE,
    display: Display | None = None,
    start: float | None = None,
) -> Iterator[RunOf[AnyGoal]]:
    """Run the missing stages of a plan, or of a goal that asks for less than its suite, as `run_suite` does.

    `start` is when planning began: the run's seconds count from there, by `time.perf_counter`.
    """
    start = time.perf_counter() if start is None else start
    workers = Workers.of(workers)
    store = Store.at(absolute(location)).create()
    try:
        _set_damaged_targets_aside(plan, store)
        missing = missing_of(plan, store)
        if workers.address is None:  # a cluster's nodes have their own
            _check_device(missing)
            check_teams(missing.values(), workers.slots or usable_cores())
        log = _open_log(store, plan, missing, workers) if missing else None
    except OSError as error:
        raise store.unusable(error) from None
    result = Result()
    made: set[Ref] = set()
    if log:
        shown = display(log, missing, store) if display else nullcontext()
        with shown:
            result = _execute(plan, missing, workers, store, log)
        made = store.present(missing)
        with suppress(OSError):  # they only make estimates better
            Costs(store).learn(store, {ref: missing[ref] for ref in made})
    try:
        yield RunOf(plan, result, store.root, store.location, len(made), time.perf_counter() - start)
    finally:
        if log:
            counts = {"failures": len(result.failures), "blocked": len(result.blocked)}
            log.write(Event.RUN_FINISHED, **counts, stopped=result.interrupted)


def _check_device(missing: dict[Ref, Stage]) -> None:
    """Raise UserError where stages want a GPU that torch does not find; torch is imported for none but these."""
    if any(stage.device == "cuda" for stage in missing.values()):
        import torch

        if not torch.cuda.is_available():
            found = "cuda, and torch finds no GPU that it can use"
            raise UserError("compute.device", found, "cpu, or a GPU", "see seedbed doctor")


def _set_damaged_targets_aside(plan: Goal, store: Store) -> None:
    """What a run shows is verified before it counts as done; what lies behind it, when it is opened."""
    for ref in plan.targets:
        if store.has(ref):
            with suppress(Lost):
                store.open(ref)


def missing_of(plan: Goal, store: Store, lost: Iterable[Ref] = ()) -> dict[Ref, Stage]:
    """The stages that are still to run; `lost` artefacts are wanted even where all that came of them exists."""
    lost = [ref for ref in lost if ref in plan.graph]
    store.present(lost)  # this process has yet to see that they are gone
    return missing_stages(plan.graph, (*plan.targets, *lost), _Exists(store))


class _Exists(dict[Ref, bool]):
    """Whether each artefact is published; the store is asked once for each, and only for those that matter."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __missing__(self, ref: Ref) -> bool:
        self[ref] = self._store.has(ref)
        return self[ref]


def _execute(plan: Goal, missing: dict[Ref, Stage], workers: Workers, store: Store, log: EventLog) -> Result:
    """Drive the missing stages, then what turned out damaged with all that waits for it."""
    executor = workers.make()  # not before there is something to run: a cluster takes seconds to start
    try:
        log.write(Event.CONNECTED, slots=executor.slots)
        executor.check(missing.values(), store.location)
        seconds = Costs(store).seconds
        result = drive(missing, executor, store.location, log, seconds)
        for _ in range(MAX_REPAIRS):
            if not result.lost or result.interrupted:
                break
            missing = missing_of(plan, store, result.lost.values())
            result = drive(missing, executor, store.location, log, seconds)
        return result
    finally:
        executor.close()
        log.forget_stopping()


def _open_log(store: Store, plan: Goal, missing: dict[Ref, Stage], workers: Workers) -> EventLog:
    """A log of its own for this run, which begins with all that others have to know of it."""
    store.check_writable()
    log = store.begin_log(f"{time.strftime('%Y%m%d-%H%M%S')}-{plan.name}-{time.time_ns() % 10**6:06d}")
    describe(store, missing.values())
    groups = {stage.key: stage.group for stage in missing.values()}
    log.write(
        Event.RUN_STARTED,
        suite=plan.name,
        executor=workers.name,
        slots=workers.known_slots,
        done=len(plan.graph) - len(missing),
        groups=groups,
        shown=[list(ref) for ref in plan.targets],
        driver=this_process(),
    )
    return log
