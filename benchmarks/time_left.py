"""How right the time left is that a run tells: told and true, over a recorded run and over simulated ones.

Aim: within 25 % from the second minute on, as long as at least half a minute is left. The recording
(`recorded_leaderboard.csv.gz` and `recorded_events.csv.gz`, written by `--record SUITE --store STORE` from a store in
which that suite ran from nothing) holds a run's stages, with what they were guessed to take, and its events. The one
here is of the whole scenes-leaderboard in a newcomer's clone, on two slots of an otherwise idle machine. Simulated
runs take the stages of the whole scenes-leaderboard on a virtual clock, where they take what they are guessed to
take; what the estimate is told is wrong by a factor of up to 1.5, or 3, for each step of a recipe, and by one of up
to 2 for all of them together: the machine. Beside it the rule of before: what is left of the guessed work, at the
pace so far. Writes time_left.png beside this file.

`--replay` does nothing of this: it tells how right the estimate is over runs whose logs lie in their stores.

Run: python -m benchmarks.time_left [--runs 5] | --replay STORE/events/RUN.jsonl …
"""

from __future__ import annotations

import argparse
import csv
import gzip
import math
import random
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import cast

import matplotlib.pyplot as plt

from benchmarks.scheduling import FOLDER, LEADERBOARD, UNMEASURED, RecordedRuntime, Virtual, recorded, seconds_of
from benchmarks.scheduling import record as record_stages
from harness.execution.costs import Costs
from harness.execution.descriptions import described
from harness.execution.driver import drive
from harness.reports.progress import RunState
from harness.reports.time_left import ENDING_S
from harness.stages.graph import Stage
from harness.stages.planning import make_plan
from harness.stages.rounds import round_of_stages, rounds_of
from harness.stages.rows import RowIdentity
from harness.store.events import Ending, Event, EventLog, EventReader, Told
from harness.store.layout import Ref
from harness.store.store import Store
from harness.suites.suite import load_suite

EVENTS = FOLDER / "recorded_events.csv.gz"
FROM_S = 120.0
"""From when on the estimate has to be right."""
UNTIL_S = 30.0
"""With less left than this, a second more or less is no matter of percent."""
LOOK_S, SIMULATED_LOOK_S = 10.0, 30.0
TELL_S = 2.0
"""How often a recording keeps what a job told of its progress."""
MACHINE = 2.0
"""How much slower or faster than guessed a simulated machine may be in all it does."""
TELLING_S, STEPS, PREPARING_SHARE = 5.0, 100, 0.1
"""Simulated stages that take so long tell of so many steps, after this share of their time."""


@dataclass(frozen=True)
class Course:
    """What was told over a run, and what was true: seconds since it began, and seconds left."""

    name: str
    times: list[float]
    told: list[float]
    before: list[float]
    """What the rule of before would have told."""
    end: float

    def to_text(self) -> str:
        """One line: the worst errors, of now and of before."""
        now, before = 100 * self.worst(self.told), 100 * self.worst(self.before)
        wrong = f"at most {now:.0f} % wrong from minute 2 on, mean of told / true {self.mean():.2f}"
        wrong += f"; by the former rule {before:.0f} %"
        return f"{self.name}: {self.end:.0f} s; {wrong}"

    def worst(self, told: Sequence[float]) -> float:
        """The largest error of what was told, as a share of the true time left, from the second minute on."""
        return max((abs(ratio - 1.0) for ratio in self._ratios(told)), default=0.0)

    def mean(self) -> float:
        """The mean of told over true time left, from the second minute on; 1 is without bias, NaN of a short run."""
        ratios = self._ratios(self.told)
        if not ratios:
            return math.nan
        return fmean(ratios)

    def _ratios(self, told: Sequence[float]) -> list[float]:
        """What was told, over the true time left, wherever that has to be right."""
        ratios: list[float] = []
        for t, seconds in zip(self.times, told, strict=True):
            left = self.end - t
            if t >= FROM_S and left >= UNTIL_S:
                ratios.append(seconds / left)
        return ratios


class Planned:
    """Costs that are told, by key: what stands for the planner's guesses here."""

    def __init__(self, by_key: Mapping[str, float]) -> None:
        self._by_key = by_key

    def seconds(self, stage: Stage) -> float:
        """The planned seconds of a stage."""
        return self._by_key[stage.key]


def course(
    name: str,
    stages: Iterable[Stage],
    rounds: Mapping[Ref, int],
    planned: Mapping[str, float],
    events: Sequence[Told],
    look_s: float,
) -> Course:
    """Feed a run's events to the state that displays keep, and ask it now and then."""
    costs = cast("Costs", Planned(planned))
    state = RunState({stage.key: stage for stage in stages}, costs, rounds)
    begin, end = events[0]["t"], events[-1]["t"]
    times: list[float] = []
    told: list[float] = []
    before: list[float] = []
    pending = list(reversed(events))
    now = begin + look_s
    while now < end:
        while pending and pending[-1]["t"] <= now:
            state.take(pending.pop())
        times.append(now - begin)
        told.append(state.seconds_left(now))
        before.append(_before(state, planned, now))
        now += look_s
    return Course(name, times, told, before, end - begin)


def _before(state: RunState, planned: Mapping[str, float], now: float) -> float:
    """The former rule: the guessed work that is left, at the pace of the guessed work that is done."""
    done = 0.0
    for key, seconds in planned.items():
        if key in state.told and key in state.running:
            done += seconds * state.told[key]["done"] / max(state.told[key]["total"], 1)
        elif state.condition(key) == "done":
            done += seconds
    return (sum(planned.values()) - done) / max(done / (now - state.started), 0.1)


# A recorded run


def record(suite: str, overrides: Sequence[str], store: Path) -> None:
    """Write the events of the newest run of a suite on a store, and the stages beside it."""
    record_stages(suite, overrides, store, LEADERBOARD)
    number = {ref.key: n for n, ref in enumerate(make_plan(load_suite(suite, overrides)).graph)}
    events = list(EventReader(Store(store).logs()[-1]).new())
    begin, last = events[0]["t"], dict[str, float]()
    with gzip.open(EVENTS, "wt", newline="") as file:
        writer = csv.writer(file)
        for event in events:
            t, keys = event["t"], event.get("stages", [])
            done, total = event.get("done", 0), event.get("total", 0)
            if event["event"] == Event.PROGRESS:
                if t - last.get(keys[0], 0.0) < TELL_S and done < total:
                    continue
                last[keys[0]] = t
            numbers = " ".join(str(number[key]) for key in keys)
            writer.writerow([round(t - begin, 2), event["event"], numbers, event.get("slots", ""), done, total])


def recorded_events(stages: Sequence[Stage]) -> list[Told]:
    """The events of the recorded run, from 0 s on."""
    events: list[Told] = []
    with gzip.open(EVENTS, "rt", newline="") as file:
        for t, word, numbers, slots, done, total in csv.reader(file):
            event: Told = {"event": word, "t": float(t), "stages": [stages[int(n)].key for n in numbers.split()]}
            if slots:
                event["slots"] = int(slots)
            if word == Event.PROGRESS:
                event |= {"done": int(done), "total": int(total), "unit": "", "values": {}}
            events.append(event)
    return events


def replayed(log: Path) -> Course:
    """The course of the run of that log, whose stages its store still describes, with the guesses of today."""
    store = Store(log.parent.parent)
    events = list(EventReader(log).new())
    known = described(store)
    graph = {stage.ref: stage for stage in known.values()}
    shown = [graph[Ref(*ref)] for ref in events[0]["shown"]]
    rounds = round_of_stages(graph, rounds_of(stage for stage in shown if isinstance(stage.identity, RowIdentity)))
    stages = [known[key] for key in events[0]["groups"]]
    planned = {stage.key: UNMEASURED.seconds(stage) for stage in stages}
    return course(log.stem, stages, rounds, planned, events, LOOK_S)


# Simulated runs


def simulated_events(stages: Mapping[Ref, Stage], slots: int) -> list[Told]:
    """What a run of the recorded stages would tell on a virtual clock; long ones tell of steps, having prepared."""
    executor = Virtual(slots)
    with tempfile.TemporaryDirectory() as name:
        drive(stages, executor, name, EventLog(Path(name) / "log.jsonl"), planned_of, rounds_in(stages))
    events: list[Told] = [{"event": Event.RUN_STARTED, "t": 0.0, "slots": slots}]
    # What has one bundle and one time was one part of a job, and is told of together.
    parts: dict[tuple[str, float, float], list[Stage]] = {}
    for ref, stage in stages.items():
        parts.setdefault((stage.bundle or ref.key, *executor.spans[ref]), []).append(stage)
    for (_, begin, end), part in parts.items():
        keys = [stage.key for stage in part]
        events.append({"event": Event.STARTED, "t": begin, "stages": keys})
        events.append({"event": Ending.DONE, "t": end, "stages": keys})
        if end - begin < TELLING_S:
            continue
        first = begin + PREPARING_SHARE * (end - begin)
        for step in range(STEPS + 1):
            t = first + (end - first) * step / STEPS
            told: Told = {"event": Event.PROGRESS, "t": t, "stages": keys, "done": step, "total": STEPS}
            events.append({**told, "unit": "steps", "values": {}})
    events.append({"event": Event.RUN_FINISHED, "t": executor.now + ENDING_S})
    order = {Event.RUN_STARTED: 0, Ending.DONE: 1, Event.STARTED: 2, Event.PROGRESS: 3, Event.RUN_FINISHED: 4}
    return sorted(events, key=lambda event: (event["t"], order[event["event"]]))


def guesses(stages: Mapping[Ref, Stage], factor: float, chance: random.Random) -> dict[str, float]:
    """Seconds that are wrong by up to `factor` for each group, and by up to `MACHINE` for all of them together."""
    machine = math.exp(chance.uniform(-1, 1) * math.log(MACHINE))
    wrong: dict[str, float] = {}
    planned: dict[str, float] = {}
    for stage in stages.values():
        if stage.group not in wrong:
            wrong[stage.group] = machine * math.exp(chance.uniform(-1, 1) * math.log(factor))
        planned[stage.key] = seconds_of(stage) * wrong[stage.group]
    return planned


def rounds_in(stages: Mapping[Ref, Stage]) -> dict[Ref, int]:
    """The first table that needs each stage, of those that a table needs."""
    numbers = {ref: runtime_of(stage).round for ref, stage in stages.items()}
    return {ref: number for ref, number in numbers.items() if number >= 0}


def runtime_of(stage: Stage) -> RecordedRuntime:
    """The runtime of a recorded stage."""
    assert isinstance(stage.runtime, RecordedRuntime)
    return stage.runtime


def planned_of(stage: Stage) -> float:
    """What a stage was guessed to take."""
    return runtime_of(stage).planned


def plot(courses: Sequence[Course], path: Path) -> None:
    """Told over true time left, a panel each: 1 is right; the band is the aim."""
    figure, axes = plt.subplots(1, len(courses), figsize=(4.4 * len(courses), 3.8), layout="constrained", sharey=True)
    for one, axis in zip(courses, axes, strict=True):
        for told, label in ((one.before, "before"), (one.told, "now")):
            points = [(t, s / (one.end - t)) for t, s in zip(one.times, told, strict=True) if one.end - t >= UNTIL_S]
            axis.plot(*zip(*points, strict=True), label=f"{label}: at most {100 * one.worst(told):.0f} % wrong")
        axis.axhspan(0.75, 1.25, color="0.9")
        axis.axvline(FROM_S, color="0.6", linewidth=0.8)
        axis.set(title=one.name, xlabel="seconds since the run began", ylim=(0, 2.5))
        axis.legend(fontsize="small")
    axes[0].set_ylabel("time left: told / true")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", metavar="SUITE")
    parser.add_argument("--set", action="append", default=[], help="of the suite that is recorded")
    parser.add_argument("--store", type=Path, default=Path("runs"))
    parser.add_argument("--replay", type=Path, nargs="+", metavar="LOG", default=[])
    parser.add_argument("--runs", type=int, default=5, help="simulated runs of each sort")
    options = parser.parse_args()
    if options.record:
        record(options.record, options.set, options.store)
        return
    if options.replay:
        for log in options.replay:
            print(replayed(log).to_text())
        return
    stages = recorded(path=LEADERBOARD)
    courses: list[Course] = []
    if EVENTS.exists():
        planned = {stage.key: planned_of(stage) for stage in stages.values()}
        events = recorded_events(list(stages.values()))
        courses.append(course("recorded run", stages.values(), rounds_in(stages), planned, events, LOOK_S))
        print(courses[-1].to_text())
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "guessed.csv.gz"
        record_stages("scenes-leaderboard", (), None, path)
        stages = recorded(path=path)
    for slots, factor in ((2, 1.5), (2, 3.0), (8, 1.5)):
        events = simulated_events(stages, slots)
        chance = random.Random(0)
        found = []
        for _ in range(options.runs):
            name = f"simulated, {slots} slots, guesses within {factor:g} ×"
            planned = guesses(stages, factor, chance)
            found.append(course(name, stages.values(), rounds_in(stages), planned, events, SIMULATED_LOOK_S))
        found.sort(key=lambda one: one.worst(one.told))
        # The median run is drawn, and the worst is told.
        courses.append(found[len(found) // 2])
        print(f"{courses[-1].to_text()}; worst of {len(found)} runs {100 * found[-1].worst(found[-1].told):.0f} %")
    plot(courses, FOLDER / "time_left.png")


if __name__ == "__main__":
    main()
