"""How well the ready queue fills slots: 10,000 stages with recorded times, on real Ray (sleeping) and a virtual clock.

Aims: makespan at most 1.10 of the lower bound max(critical path, work / slots), at most 2 ms of the driver's CPU time a
stage, memory that does not grow. The stages are those of `recorded_stages.csv.gz` (written by `--record SUITE --store
STORE` from the records of a finished run), as often as it takes; on real Ray their times are divided, so that the whole
takes two minutes. Writes scheduling.png beside this file.
The order of stages is compared with the one by the longest way alone, on the stages of one run of scenes-leaderboard
(`recorded_leaderboard.csv.gz`) with 1, 2, 4 and 8 slots: the makespans, aim at most 1.03 of the other order's, and when
each table is complete, as a share of the makespan.
Run: python -m benchmarks.scheduling [--stages 10000] [--ray-stages 10000] [--slots 16 64 512] [--orders-only]
"""

from __future__ import annotations

import argparse
import csv
import gzip
import heapq
import io
import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import ray

from harness.execution.costs import Costs
from harness.execution.driver import drive
from harness.execution.executor import Executor
from harness.execution.job import Job, Outcome
from harness.execution.queue import NO_ROUNDS, remaining_way
from harness.execution.ray import Ray
from harness.execution.workplace import resident_bytes
from harness.stages.graph import Stage
from harness.stages.kind import Identity, Runtime, StageKind
from harness.stages.planning import make_plan
from harness.stages.rounds import round_of_stages, rounds_of
from harness.stages.work import Work
from harness.store.events import Ending, EventLog
from harness.store.layout import Ref, StageFiles
from harness.store.store import Store
from harness.suites.suite import load_suite

FOLDER = Path(__file__).parent
RECORDED = FOLDER / "recorded_stages.csv.gz"
LEADERBOARD = FOLDER / "recorded_leaderboard.csv.gz"
UNMEASURED = Costs(Store(Path("/nowhere")))
"""The guesses alone, as on a store that has measured nothing."""
ORDER_SLOTS = (1, 2, 4, 8)
RAY_SLOTS = 8
RAY_MAKESPAN_S = 120.0


@dataclass(frozen=True)
class RecordedComponent:
    """What the estimate of the time left asks of a stage's component."""

    name: str


@dataclass(frozen=True, kw_only=True)
class RecordedIdentity(Identity):
    """Which of the recorded stages, and of what kind it was."""

    n: int
    kind: str
    component: RecordedComponent | None = None


@dataclass(frozen=True, kw_only=True)
class RecordedRuntime(Runtime):
    """What the stage took, what it was guessed to take, and the first table that needs it; -1: none does."""

    seconds: float
    planned: float = 0.0
    round: int = -1


class Recorded(StageKind[RecordedIdentity, RecordedRuntime]):
    """A stage that was run once and is only slept through now."""

    name = "recorded"
    identity = RecordedIdentity
    runtime = RecordedRuntime
    writes = StageFiles

    def run(self, work: Work[RecordedIdentity, RecordedRuntime]) -> None:
        """Take as long as it took."""
        time.sleep(work.runtime.seconds)


@cache
def recorded_kind(name: str) -> Recorded:
    """The kind of recorded stages that were of the kind of that name."""
    kind: Recorded = type("RecordedKind", (Recorded,), {"name": name})()
    return kind


class Entry(NamedTuple):
    """One stage of a recording, as its line in the file has it."""

    kind: str
    seconds: str
    """What it took."""
    threads: str
    bundle: str
    needs: str
    """The numbers of the stages that it reads, separated by blanks."""
    round: str = "-1"
    """The first table that needs it; -1: none does."""
    component: str = ""
    group: str = ""
    planned: str = "0"
    """The seconds that it was guessed to take, before anything was measured."""


def record(suite: str, overrides: Sequence[str], store: Path | None, path: Path) -> None:
    """Write what is known of every stage of a suite that is finished in a store, in the order of the plan.

    Without a store each stage takes what it is guessed to take.
    """
    plan = make_plan(load_suite(suite, overrides))
    number = {ref: index for index, ref in enumerate(plan.graph)}
    rounds = round_of_stages(plan.graph, rounds_of(plan.graph[ref] for ref in plan.rows))
    seconds = {ref: UNMEASURED.seconds(stage) for ref, stage in plan.graph.items()}
    if store is not None:
        seconds = {ref: record.seconds for ref, record in Store(store).records(plan.graph).items()}
    with gzip.open(path, "wt", newline="") as file:
        writer = csv.writer(file)
        for ref, stage in plan.graph.items():
            component = getattr(stage.identity, "component", None)
            entry = Entry(
                stage.kind.name,
                f"{seconds[ref]:.4g}",
                str(stage.threads),
                stage.bundle[:8],
                " ".join(str(number[need]) for need in dict.fromkeys(stage.needs())),
                str(rounds.get(ref, -1)),
                "" if component is None else component.name,
                stage.group,
                f"{UNMEASURED.seconds(stage):.4g}",
            )
            writer.writerow(entry)


def read_recorded(path: Path) -> list[Entry]:
    """The stages of a recording; in one of before there were rounds, their last entries are the defaults."""
    with gzip.open(path, "rb") as file:
        return [Entry(*row) for row in csv.reader(io.TextIOWrapper(file))]


def recorded(count: int | None = None, scale: float = 1.0, path: Path = RECORDED) -> dict[Ref, Stage]:
    """The recorded stages, once or again and again until there are `count`; `runtime.seconds` is what each takes."""
    entries = read_recorded(path)
    count = count or len(entries)
    stages: list[Stage] = []
    while len(stages) < count:
        offset = len(stages)
        for entry in entries[: count - offset]:
            needs = tuple(stages[offset + int(need)].ref for need in entry.needs.split())
            component = RecordedComponent(entry.component) if entry.component else None
            stages.append(
                Stage(
                    recorded_kind(entry.kind),
                    RecordedIdentity(n=len(stages), kind=entry.kind, component=component),
                    RecordedRuntime(
                        seconds=float(entry.seconds) * scale, planned=float(entry.planned), round=int(entry.round)
                    ),
                    {"inputs": needs},
                    label=str(len(stages)),
                    group=entry.group,
                    threads=int(entry.threads),
                    bundle=f"{entry.bundle} {offset}" if entry.bundle else "",
                )
            )
    return {stage.ref: stage for stage in stages}


def seconds_of(stage: Stage) -> float:
    """What a stage takes; here estimates are exact."""
    assert isinstance(stage.runtime, RecordedRuntime)
    return stage.runtime.seconds


class Virtual(Executor):
    """Slots on a clock that jumps from one end of a job to the next."""

    def __init__(self, slots: int) -> None:
        self.slots, self.now = slots, 0.0
        self.busy: list[tuple[float, int]] = []
        self.spans: dict[Ref, tuple[float, float]] = {}
        """When each stage began and ended."""
        self._free = slots
        self._waiting: deque[Job] = deque()
        self._running: list[tuple[float, int, Job]] = []
        self._count = 0

    def submit(self, job: Job) -> None:
        """Begin it, or keep it until there is room."""
        self._waiting.append(job)
        self._begin()

    def wait(self) -> list[Outcome]:
        """The next end."""
        if not self._running:
            return []
        self.now, _, job = heapq.heappop(self._running)
        self._free += int(job.wants["threads"])
        self._begin()
        self.busy.append((self.now, self.slots - self._free))
        return [Outcome(stage.ref, Ending.DONE) for stage in job.stages]

    def close(self) -> None:
        """Nothing was started."""

    def _begin(self) -> None:
        while self._waiting and self._waiting[0].wants["threads"] <= self._free:
            job = self._waiting.popleft()
            self._free -= int(job.wants["threads"])
            self._count += 1
            self.spans |= _spans(job, self.now)
            heapq.heappush(self._running, (self.now + sum(map(seconds_of, job.stages)), self._count, job))


def _spans(job: Job, start: float) -> dict[Ref, tuple[float, float]]:
    """When each stage of a job begins and ends: one part after the other, and a bundle's stages together."""
    spans: dict[Ref, tuple[float, float]] = {}
    for part in job.parts():
        end = start + sum(map(seconds_of, part))
        spans |= dict.fromkeys((stage.ref for stage in part), (start, end))
        start = end
    return spans


class Sleeping(Ray):
    """Real Ray tasks that sleep as long as their stages took."""

    def __init__(self, slots: int) -> None:
        super().__init__(slots)
        self._run = ray.remote(max_retries=0, num_returns=1)(_sleep)
        self.busy: list[tuple[float, int]] = []
        self.memory: list[int] = []
        self._start = time.perf_counter()

    def wait(self) -> list[Outcome]:
        """As Ray's, with a look at how much is under way."""
        outcomes = super().wait()
        under_way = sum(int(job.wants["threads"]) for job in self._jobs.values())
        self.busy.append((time.perf_counter() - self._start, min(self.slots, under_way)))
        self.memory.append(resident_bytes())
        return outcomes


def _sleep(job: Job) -> list[Outcome]:
    time.sleep(sum(map(seconds_of, job.stages)))
    return [Outcome(stage.ref, Ending.DONE) for stage in job.stages]


@dataclass
class Measured:
    """One way of running the stages."""

    name: str
    stages: int
    makespan_s: float
    bound_s: float
    driver_ms: float
    """Of the driver's CPU time, a stage."""
    busy: list[tuple[float, int]] = field(repr=False)
    slots: int

    def to_text(self) -> str:
        """One line."""
        ratio = self.makespan_s / self.bound_s
        return (
            f"{self.name}: {self.stages} stages in {self.makespan_s:.1f} s, {ratio:.3f} of the lower bound, "
            f"{self.driver_ms:.2f} ms of driver CPU a stage"
        )


def bound(stages: Mapping[Ref, Stage], slots: int) -> float:
    """max(critical path, work / slots), in seconds."""
    dependants: dict[Ref, list[Ref]] = {ref: [] for ref in stages}
    for ref, stage in stages.items():
        for need in stage.needs():
            dependants[need].append(ref)
    way = remaining_way(stages, dependants, seconds_of)
    work = sum(seconds_of(stage) * min(stage.threads, slots) for stage in stages.values())
    return max(max(way.values()), work / slots)


def measure(name: str, stages: Mapping[Ref, Stage], executor: Any, folder: Path) -> Measured:
    """Drive the stages, and look at the clocks."""
    start, cpu = time.perf_counter(), time.process_time()
    result = drive(stages, executor, folder, EventLog(folder / "log.jsonl"), seconds_of)
    assert not result.failures
    makespan = executor.now if isinstance(executor, Virtual) else time.perf_counter() - start
    driver_ms = 1000 * (time.process_time() - cpu) / len(stages)
    lower = bound(stages, executor.slots)
    return Measured(name, len(stages), makespan, lower, driver_ms, executor.busy, executor.slots)


def compare_orders(name: str, path: Path, folder: Path) -> None:
    """Print what the order by rounds costs of the makespan of a recording, and when it completes each table."""
    stages = recorded(path=path)
    numbers: dict[Ref, int] = {}
    for ref, stage in stages.items():
        assert isinstance(stage.runtime, RecordedRuntime)
        if stage.runtime.round >= 0:
            numbers[ref] = stage.runtime.round
    work = sum(map(seconds_of, stages.values()))
    shares = []
    for number in range(max(numbers.values()) + 1):
        needed = sum(seconds_of(stages[ref]) for ref, earliest in numbers.items() if earliest <= number)
        shares.append(f"{needed / work:.3f}")
    print(f"{name}: {len(stages)} stages, {work:.0f} core-seconds; needed by each table:", *shares)
    for slots in ORDER_SLOTS:
        by_way, by_round = Virtual(slots), Virtual(slots)
        drive(stages, by_way, folder, EventLog(folder / "log.jsonl"), seconds_of, NO_ROUNDS)
        drive(stages, by_round, folder, EventLog(folder / "log.jsonl"), seconds_of, numbers)
        ratio = by_round.now / by_way.now
        print(f"{slots} slots, by way alone: {by_way.now:.0f} s, tables at {_shares(by_way, numbers)}")
        print(f"{slots} slots, by rounds: {by_round.now:.0f} s ({ratio:.3f}), tables at {_shares(by_round, numbers)}")


def _shares(executor: Virtual, numbers: Mapping[Ref, int]) -> str:
    """When each table was complete, as a share of the makespan."""
    complete: dict[int, float] = {}
    for ref, number in numbers.items():
        complete[number] = max(complete.get(number, 0.0), executor.spans[ref][1])
    ends = [max(end for other, end in complete.items() if other <= number) for number in sorted(complete)]
    return " ".join(f"{end / executor.now:.3f}" for end in ends)


def plot(found: Sequence[Measured], path: Path) -> None:
    """The share of busy slots over the run's time, a curve each."""
    figure, axes = plt.subplots(figsize=(8, 4.8), layout="constrained")
    for one in found:
        ratio = one.makespan_s / one.bound_s
        times = [t / one.makespan_s for t, _ in one.busy]
        label = f"{one.name}: {ratio:.3f} × bound, {one.driver_ms:.2f} ms a stage"
        axes.step(times, [100 * n / one.slots for _, n in one.busy], where="post", label=label, linewidth=0.8)
    axes.set(xlabel="time, of the makespan", ylabel="busy slots (%)", ylim=(0, 105), xlim=(0, 1))
    axes.set_title(f"{found[0].stages:,} stages with recorded times")
    figure.legend(loc="outside lower center", fontsize="small")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", type=int, default=10_000)
    parser.add_argument("--ray-stages", type=int, default=10_000, help="0: no real Ray")
    parser.add_argument("--slots", type=int, nargs="*", default=[16, 64, 512])
    parser.add_argument("--record", metavar="SUITE")
    parser.add_argument("--set", action="append", default=[], help="of the suite that is recorded")
    parser.add_argument("--store", type=Path, default=Path("runs"))
    parser.add_argument("--to", type=Path, default=RECORDED, help="where the recording is written")
    parser.add_argument("--orders-only", action="store_true")
    parser.add_argument("--guessed", metavar="SUITE", help="compare the orders on a plan's guesses, and end")
    options = parser.parse_args()
    if options.record:
        record(options.record, options.set, options.store, options.to)
        return
    found: list[Measured] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.guessed:
            record(options.guessed, options.set, None, folder / "guessed.csv.gz")
            compare_orders(f"{options.guessed}, as guessed", folder / "guessed.csv.gz", folder)
            return
        compare_orders("the recorded leaderboard", LEADERBOARD, folder)
        if options.orders_only:
            return
        if options.ray_stages:
            at_full = recorded(options.ray_stages)
            scale = RAY_MAKESPAN_S / bound(at_full, RAY_SLOTS)
            executor = Sleeping(RAY_SLOTS)
            try:
                stages = recorded(options.ray_stages, scale)
                found.append(measure(f"Ray, {RAY_SLOTS} slots", stages, executor, folder))
                tenths = executor.memory[:: max(1, len(executor.memory) // 10)]
                print("driver memory (MB):", *(f"{size / 1e6:.0f}" for size in tenths))
            finally:
                executor.close()
        for slots in options.slots:
            found.append(measure(f"virtual clock, {slots} slots", recorded(options.stages), Virtual(slots), folder))
    for one in found:
        print(one.to_text())
    plot(found, FOLDER / "scheduling.png")


if __name__ == "__main__":
    main()
