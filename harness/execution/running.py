"""From a suite to a store that has everything of it: plan, look what is missing, run that, and keep a log of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.execution import ExecutorName
from harness.execution.costs import Costs
from harness.execution.descriptions import describe
from harness.execution.driver import Result, drive
from harness.execution.executor import check_teams
from harness.execution.retries import MAX_REPAIRS
from harness.execution.stale import remove_stale
from harness.execution.workers import Workers
from harness.stages.graph import Stage, missing_stages
from harness.stages.numerics import usable_cores
from harness.stages.planning import Plan, make_plan
from harness.stages.rounds import round_of_stages, rounds_of
from harness.store.backends.urls import Location, absolute
from harness.store.events import Event, EventLog
from harness.store.layout import Ref, later_run
from harness.store.lease import this_process
from harness.store.store import Lost, Store
from harness.suites.suite import Suite
from settings.errors import UserError

__all__ = ["ANYWHERE", "Display", "Run", "check_device", "missing_of", "open_log", "run_plan", "run_suite"]

ANYWHERE = Workers()
"""Wherever this machine can: on all its cores."""
Display = Callable[[EventLog, dict[Ref, Stage], Store, Plan], AbstractContextManager[object]]
"""Shows a run while the block is open: from its log, the stages that it runs, its store, and its plan."""


@dataclass(frozen=True)
class Run:
    """A finished run: the plan that it was for, what went wrong, and where the artefacts lie."""

    plan: Plan
    result: Result
    store_folder: Path
    """The folder; of a store behind a URL the local one in front of it."""
    location: str
    """What `Store.at` opens."""
    stages_run: int
    """How many of the stages that were missing are there now, whichever process made them."""
    seconds: float
    """From the beginning of planning on, by the clock on the wall."""


@contextmanager
def run_suite(
    suite: Suite,
    location: Location,
    workers: Workers | ExecutorName = ANYWHERE,
    display: Display | None = None,
    strict: bool = False,
) -> Iterator[Run]:
    """Run every stage of a suite that is missing; a finished one starts no executor. UserError comes before any work.

    `strict`: what other sources than today's made is missing too. The run goes on, as its log tells, until the block
    ends: what it made is gathered there, and no `gc` takes it away.
    """
    start = time.perf_counter()
    plan = make_plan(suite)
    if strict:
        remove_stale(plan, Store.at(absolute(location)).create())
    with run_plan(plan, location, workers, display, start) as run:
        yield run


@contextmanager
def run_plan(
    plan: Plan,
    location: Location,
    workers: Workers | ExecutorName = ANYWHERE,
    display: Display | None = None,
    start: float | None = None,
) -> Iterator[Run]:
    """Run the stages of a plan that are missing, as `run_suite` does for that of a whole suite.

    `start` is when planning began: the run's seconds count from there, by `time.perf_counter`.
    """
    if start is None:
        start = time.perf_counter()
    workers = Workers.of(workers)
    store = Store.at(absolute(location)).create()
    try:
        _set_damaged_targets_aside(plan, store)
        missing = missing_of(plan, store)
        # A cluster's nodes have GPUs and cores of their own: it is asked when it is there.
        if workers.address is None:
            check_device(missing.values())
            check_teams(missing.values(), workers.slots or usable_cores())
        log: EventLog | None = None
        if missing:
            done = len(plan.graph) - len(missing)
            log = open_log(store, plan.suite.name, missing, workers, done=done, shown=plan.targets)
    except OSError as error:
        raise store.unusable(error) from None
    # Until it has come to its end: what refuses or ends a run halfway leaves a log that says so.
    result = Result(interrupted=log is not None)
    made: set[Ref] = set()
    try:
        if log:
            shown: AbstractContextManager[object] = nullcontext()
            if display:
                shown = display(log, missing, store, plan)
            with shown:
                result = _execute(plan, missing, workers, store, log)
            made = store.present(missing)
            # They only make estimates better.
            with suppress(OSError, UserError):
                Costs(store).learn(store, {ref: missing[ref] for ref in made})
        yield Run(plan, result, store.root, store.location, len(made), time.perf_counter() - start)
    finally:
        if log:
            counts = {"failures": len(result.failures), "blocked": len(result.blocked)}
            log.write(Event.RUN_FINISHED, **counts, stopped=result.interrupted)


def check_device(stages: Iterable[Stage]) -> None:
    """Raise UserError where stages want a GPU and torch does not find any."""
    # Runs on CPUs are spared the import of torch, which takes seconds.
    if any(stage.device == "cuda" for stage in stages):
        import torch

        if not torch.cuda.is_available():
            found = "cuda, and torch finds no GPU that it can use"
            raise UserError("compute.device", found, "cpu, or a GPU", "see seedbed doctor")


def _set_damaged_targets_aside(plan: Plan, store: Store) -> None:
    """Verify the targets that are there, so that what a run shows is whole; damaged ones are missing afterwards."""
    # What lies behind them is verified when a stage opens it: a finished suite reads its targets alone.
    for ref in plan.targets:
        if store.has(ref):
            with suppress(Lost):
                store.open(ref)


def missing_of(plan: Plan, store: Store, lost: Iterable[Ref] = ()) -> dict[Ref, Stage]:
    """The stages that are still to run; `lost` artefacts are wanted even where all that came of them exists."""
    lost = [ref for ref in lost if ref in plan.graph]
    # The worker that opened them has set them aside, and this process has yet to see that they are gone.
    store.present(lost)
    return missing_stages(plan.graph, (*plan.targets, *lost), _Exists(store))


class _Exists(dict[Ref, bool]):
    """Whether an artefact is published, by reference; the store is asked when that is looked up, once for each."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __missing__(self, ref: Ref) -> bool:
        # Not all at once: behind what is published nothing is looked up, and each look may be one over a network.
        self[ref] = self._store.has(ref)
        return self[ref]


def _execute(plan: Plan, missing: dict[Ref, Stage], workers: Workers, store: Store, log: EventLog) -> Result:
    """Drive the missing stages, then what turned out damaged with all that waits for it."""
    # Not before there is something to run: a cluster takes seconds to start.
    executor = workers.make()
    try:
        log.write(Event.CONNECTED, slots=executor.slots)
        executor.check(missing.values(), store.location)
        seconds = Costs(store).seconds
        rounds = round_of_stages(plan.graph, rounds_of(plan.graph[ref] for ref in plan.rows))
        result = drive(missing, executor, store.location, log, seconds, rounds)
        for _ in range(MAX_REPAIRS):
            if not result.lost or result.interrupted:
                break
            missing = missing_of(plan, store, result.lost.values())
            result = drive(missing, executor, store.location, log, seconds, rounds)
        return result
    finally:
        executor.close()
        log.forget_stopping()


def open_log(
    store: Store,
    name: str,
    missing: Mapping[Ref, Stage],
    workers: Workers,
    done: int = 0,
    shown: Iterable[Ref] = (),
) -> EventLog:
    """A log of its own for a run of the suite of that name, which begins with all that others have to know of it.

    `missing` is what it runs, `done` how many stages there are already, `shown` what stays while the run goes on.
    """
    store.check_writable()
    log = store.begin_log(later_run(name, store.newest_run()))
    # Before the event that names them: who reads of a stage in the log finds out what it is.
    describe(store, missing.values())
    log.write(
        Event.RUN_STARTED,
        suite=name,
        executor=workers.name,
        slots=workers.known_slots,
        done=done,
        groups={stage.key: stage.group for stage in missing.values()},
        shown=[list(ref) for ref in shown],
        driver=this_process(),
    )
    return log
