"""A suite from beginning to end: plan, run what is missing, gather rows, write the leaderboard."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.execution import ExecutorName
from harness.execution.costs import Costs
from harness.execution.driver import Result, check_teams, drive
from harness.execution.workers import Workers
from harness.stages.graph import Stage, missing_stages
from harness.stages.numerics import usable_cores
from harness.stages.planning import Plan, make_plan
from harness.store.backends.urls import Location, absolute
from harness.store.events import EventLog
from harness.store.layout import STAGES, Ref, document_of, key_of_document
from harness.store.lease import this_process
from harness.store.store import Lost, Store
from harness.suites.suite import Suite
from settings.errors import UserError

ANYWHERE = Workers()
MAX_REPAIRS = 10
"""How often artefacts that turn out damaged are made again within one run: more than stages lie behind each other."""
Display = Callable[[EventLog, dict[Ref, Stage], Store], AbstractContextManager[object]]


@dataclass(frozen=True)
class Run:
    """A finished run: its plan, what went wrong, and where its leaderboard was written."""

    plan: Plan
    result: Result
    store_folder: Path
    """The folder; of a store behind a URL the local one in front of it."""
    location: str
    """What `Store.at` opens."""
    stages_run: int
    seconds: float


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
    plan: Plan,
    location: Location,
    workers: Workers | ExecutorName = ANYWHERE,
    display: Display | None = None,
    start: float | None = None,
) -> Iterator[Run]:
    """The same for a plan, which may ask for less than its suite; `start` is when planning began."""
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
        with display(log, missing, store) if display else nullcontext():
            result = _execute(plan, missing, workers, store, log)
        made = store.present(missing)
        with suppress(OSError):  # they only make estimates better
            Costs(store).learn(store, {ref: missing[ref] for ref in made})
    try:
        yield Run(plan, result, store.root, store.location, len(made), time.perf_counter() - start)
    finally:
        if log:
            log.write(
                "run_finished", failures=len(result.failures), blocked=len(result.blocked), stopped=result.interrupted
            )


def _check_device(missing: dict[Ref, Stage]) -> None:
    """Raise UserError where stages want a GPU that torch does not find; torch is imported for none but these."""
    if any(stage.device == "cuda" for stage in missing.values()):
        import torch

        if not torch.cuda.is_available():
            found = "cuda, and torch finds no GPU that it can use"
            raise UserError("compute.device", found, "cpu, or a GPU", "see seedbed doctor")


def _set_damaged_targets_aside(plan: Plan, store: Store) -> None:
    """What a run shows is verified before it counts as done; what lies behind it, when it is opened."""
    for ref in plan.targets:
        if store.has(ref):
            with suppress(Lost):
                store.open(ref)


def missing_of(plan: Plan, store: Store, lost: Iterable[Ref] = ()) -> dict[Ref, Stage]:
    """The stages that are still to run; `lost` artefacts are wanted even where all that came of them exists."""
    lost = [ref for ref in lost if ref in plan.graph]
    store.present(lost)  # this process has yet to see that they are gone
    wanted = (*plan.targets, *lost)
    return missing_stages(plan.graph, wanted, _Exists(store))


class _Exists(dict[Ref, bool]):
    """Asks the store once for each artefact."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __missing__(self, ref: Ref) -> bool:
        self[ref] = self._store.has(ref)
        return self[ref]


def _execute(plan: Plan, missing: dict[Ref, Stage], workers: Workers, store: Store, log: EventLog) -> Result:
    executor = workers.make()
    try:
        log.write("connected", slots=executor.slots)
        executor.check(missing.values(), store.location)
        seconds = Costs(store).seconds
        result = drive(missing, executor, store.location, log, seconds)
        for _ in range(MAX_REPAIRS):
            if not result.lost or result.interrupted:
                break
            result = drive(missing_of(plan, store, result.lost.values()), executor, store.location, log, seconds)
        return result
    finally:
        executor.close()
        log.forget_stopping()


def _open_log(store: Store, plan: Plan, missing: dict[Ref, Stage], workers: Workers) -> EventLog:
    store.check_writable()
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{plan.suite.name}-{time.time_ns() % 10**6:06d}"
    log = store.begin_log(name)
    write_descriptions(store, missing.values())
    groups = {stage.key: stage.group for stage in missing.values()}
    log.write(
        "run_started",
        suite=plan.suite.name,
        executor=workers.name,
        slots=workers.known_slots,
        done=len(plan.graph) - len(missing),
        groups=groups,
        shown=[list(ref) for ref in plan.targets],
        driver=this_process(),
    )
    return log


def write_descriptions(store: Store, stages: Iterable[Stage]) -> None:
    """Keep what stages are, so that `seedbed stage KEY` can run each of them alone."""
    documents: dict[str, bytes] = {}
    for stage in stages:
        text = json.dumps(stage.to_json(), indent=1, sort_keys=True)
        documents[document_of(STAGES, stage.key)] = text.encode()
    store.write_documents(documents)


def described(store: Store) -> dict[str, Stage]:
    """The stages that runs have written down, by key; a damaged description is passed over, the next run mends it."""
    stages: dict[str, Stage] = {}
    for name, content in store.documents(STAGES).items():
        with suppress(ValueError, TypeError, LookupError, AttributeError, RecursionError):
            stage = Stage.from_json(json.loads(content))
            if stage.key == key_of_document(name):
                stages[stage.key] = stage
    return stages


def read_stages(store: Store, beginning: str) -> list[Stage]:
    """The stages whose key or label begins so."""
    stages = described(store).values()
    return [stage for stage in stages if stage.key.startswith(beginning) or stage.label.startswith(beginning)]
