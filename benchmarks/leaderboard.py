"""Leaderboards of this build beside an older one: core-seconds and wall seconds by kind of stage, and every mIoU.

The cut is a small suite with each dear kind of stage: features, CAM, co-attention, the affinity refiner, stage 2.
`--whole` also runs scenes-leaderboard as it is, each build with its own file of it, and a cut of voc12-animals (clean,
one rng seed, cam and cam+affinity to segmentation), which needs SEEDBED_REAL_DATA. Both builds run alternating, each
time on an empty store and one thread a stage. Core-seconds are user and system time, told by each process itself;
those of a stage lie between the two events that its worker writes. What is left is around the stages: imports,
planning, gathering; and, with `--executor ray`, Ray's own processes and the waiting driver.

Neighbours on a shared core make the same work cost up to half as much again: on such a machine several repetitions, of
which the cheapest counts, or the kinds of stage that neither build changed, tell how far the ratios can be believed.

`--recorded STORE` takes the older build's run of the whole from a store that it was made on (a copy); such a run has
wall seconds of stages alone, which are core-seconds only as far as the machine was idle.

Run: python -m benchmarks.leaderboard [--against c3d8e38] [--whole] [--executor ray] [--recorded STORE] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks._builds import HERE, OLD, Build, Run, checked_out
from harness.store.layout import Ref
from harness.store.record import Record
from results.rows import Row, read_rows

CUT = """
dataset: {name: scenes, train: 96, dev: 32, val: 32}
settings: {clean: {}}
backbone: {size: 224}
segmenter: deeplab
references: [all-background]
gallery: 0
recipes:
  cam: {localizer: cam, labeler: {name: threshold, threshold: 0.62}}
  cam+affinity:
    localizer: cam
    refiners: [{name: affinity, low: 0.5, high: 2.0, log2_steps: 6, background_power: 1.0}]
    labeler: {name: threshold, threshold: 0.48}
  coattention:
    localizer: {name: coattention, scaled_pairs: [], training: {epochs: 5}}
    labeler: {name: threshold, threshold: 0.97}
"""
ANIMALS = """
dataset:
  name: voc12
  root: ${SEEDBED_REAL_DATA}/voc12-animals
  subset: voc12-animals
  classes: [cat, cow, dog, horse, sheep, person]
settings: {clean: {}}
backbone: {size: 320}
compute: {training_threads: 1}
segmenter: deeplab
references: [all-background]
gallery: 0
recipes:
  cam: {localizer: cam, labeler: {name: threshold, threshold: 0.33}}
  cam+affinity:
    localizer: cam
    refiners: [{name: affinity, low: 0.5, high: 5.0, log2_steps: 7, background_power: 2.5, training: {epochs: 2}}]
    labeler: {name: threshold, threshold: 0.34}
"""
Line = tuple[str, ...]
"""Setting, recipe, scored stage, policy and variant of a line of the leaderboard."""


@dataclass(frozen=True)
class Measured:
    """What one run took in seconds, whole and by kind of stage, and the mean mIoU of each line."""

    whole: Run
    kinds: Mapping[str, float]
    """Core-seconds by kind; stages that train by their component too."""
    counts: Mapping[str, int]
    lines: Mapping[Line, float]


def records(store: Path) -> Iterator[Record]:
    """The records of all artefacts of a store, an older build's too."""
    for path in store.glob("*/*/done.json"):
        yield Record.from_json(path.read_bytes(), Ref(path.parent.parent.name, path.parent.name))


def kind(record: Record) -> str:
    """The kind of stage, and what it trains or applies."""
    component = record.identity.get("component")
    if isinstance(component, dict) and record.kind.startswith(("localizer", "refiner", "segment", "cue")):
        return f"{record.kind} {component['name']}"
    return record.kind


def mean_lines(rows: list[Row]) -> dict[Line, float]:
    """The mean over rng seeds of every line of a leaderboard."""
    found: dict[Line, list[float]] = {}
    for row in rows:
        if row.miou is not None:
            line = (row.setting, row.recipe, row.stage, row.policy, row.variant)
            found.setdefault(line, []).append(row.miou)
    return {line: sum(values) / len(values) for line, values in found.items()}


def read(store: Path, whole: Run) -> Measured:
    """A finished run: what its stages took by kind, and the rows that it wrote."""
    kinds: defaultdict[str, float] = defaultdict(float)
    counts = Counter[str]()
    for record in records(store):
        # Of a run that was not probed the record is all that there is.
        spent = record.cpu_seconds or record.seconds
        if whole.stages:
            spent = whole.stages.get(record.key, 0.0)
        kinds[kind(record)] += spent
        counts[kind(record)] += 1
    rows: list[Row] = []
    for path in store.glob("leaderboards/*/rows.parquet"):
        rows += read_rows(path)
    return Measured(whole, kinds, counts, mean_lines(rows))


def recorded(store: Path) -> Measured:
    """A run of which the store alone is there: older builds' stages have seconds by the wall clock."""
    spent = sum(record.cpu_seconds or record.seconds for record in records(store))
    return read(store, Run(float("nan"), spent, spent))


def ran(build: Build, suite: str, *options: str, keep: Path | None = None) -> Measured:
    """Run a suite on an empty store, a temporary one or a new one in `keep`."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) if keep is None else keep / f"{Path(suite).stem}-{build.name}"
        whole = build.suite(suite, store, *options)
        return read(store, whole)


def least(runs: list[Measured]) -> Measured:
    """Of several runs of one build the one of fewest core-seconds, which other programs disturbed least."""
    return min(runs, key=lambda run: run.whole.cpu)


def compare(title: str, old: Measured, new: Measured) -> None:
    """Print the two beside each other: kinds from the dearest on, sums, and the mIoU that moved most."""
    print(f"\n{title}\n{'core-seconds':32} {'stages':>7} {'old':>9} {'new':>9} {'new/old':>8}")
    for name in sorted({*old.kinds, *new.kinds}, key=lambda name: -old.kinds.get(name, 0.0)):
        row(name, old.kinds.get(name, 0.0), new.kinds.get(name, 0.0), new.counts.get(name, 0))
    stages = [sum(run.kinds.values()) for run in (old, new)]
    row("all stages", stages[0], stages[1], sum(new.counts.values()))
    row("around them in their processes", old.whole.workers_cpu - stages[0], new.whole.workers_cpu - stages[1])
    others = [run.whole.cpu - run.whole.workers_cpu for run in (old, new)]
    row("other processes (driver, Ray)", others[0], others[1])
    row("all", old.whole.cpu, new.whole.cpu)
    row("wall seconds", old.whole.wall, new.whole.wall)
    row("peak MiB of a process", old.whole.peak_memory_bytes / 2**20, new.whole.peak_memory_bytes / 2**20)
    tell_moves(old.lines, new.lines)


def tell_moves(old: Mapping[Line, float], new: Mapping[Line, float]) -> None:
    """Print which line's mIoU moved most, and by how much."""
    common = old.keys() & new.keys()
    if not common:
        print("no line of the leaderboard is in both")
        return
    moved = {line: abs(new[line] - old[line]) for line in common}
    most = max(moved, key=lambda line: moved[line])
    print(f"mIoU of {len(common)} lines: at most {moved[most]:.4f} apart, median {median(moved.values()):.4f};")
    print(f"  the most: {', '.join(filter(None, most))}: {old[most]:.4f} → {new[most]:.4f};")
    print(f"  lines that one of the two lacks: {len(old.keys() ^ new.keys())}", flush=True)


def row(name: str, old: float, new: float, count: int = 0) -> None:
    """One line of the table."""
    ratio = f"{new / old:8.3f}" if old > 0 else " " * 8
    print(f"{name:32} {count or '':>7} {old:9.1f} {new:9.1f} {ratio}")


def alternating(
    title: str, suite: str, old: Build, *options: str, repetitions: int = 1, keep: Path | None = None
) -> None:
    """Run both builds in turn, as often as asked, and compare."""
    found: dict[str, list[Measured]] = {old.name: [], HERE.name: []}
    for _ in range(repetitions):
        for build in (old, HERE):
            found[build.name].append(ran(build, suite, *options, keep=keep))
    compare(title, least(found[old.name]), least(found[HERE.name]))


def main() -> None:
    """Print a table a suite."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", default=OLD)
    parser.add_argument("--repetitions", type=int, default=1, help="of the cut; the whole is run once")
    parser.add_argument("--executor", choices=("serial", "ray"), default="serial")
    parser.add_argument("--slots", type=int, default=2, help="of Ray")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--recorded", type=Path)
    parser.add_argument("--keep", type=Path, help="keep the stores of the whole in this folder")
    options = parser.parse_args()
    how = ["--executor", options.executor]
    if options.executor == "ray":
        how += ["--slots", str(options.slots)]
    with tempfile.TemporaryDirectory() as folder, checked_out(options.against) as old:
        suites = {}
        for name, text in (("cut", CUT), ("animals-cut", ANIMALS)):
            suites[name] = Path(folder) / f"{name}.yaml"
            suites[name].write_text(text)
        print(f"old: {old.name}; new: {HERE.root}; {' '.join(how)}", flush=True)
        alternating("cut of scenes", str(suites["cut"]), old, *how, repetitions=options.repetitions)
        if not options.whole:
            return
        if "SEEDBED_REAL_DATA" in os.environ:
            alternating("cut of voc12-animals", str(suites["animals-cut"]), old, *how)
        else:
            print("voc12-animals: skipped, since SEEDBED_REAL_DATA is not set")
        if options.recorded:
            now = ran(HERE, "scenes-leaderboard", *how, keep=options.keep)
            compare("scenes-leaderboard", recorded(options.recorded), now)
        else:
            alternating("scenes-leaderboard", "scenes-leaderboard", old, *how, keep=options.keep)


if __name__ == "__main__":
    main()
