"""One training step of each dear component, in this build beside an older one: CPU seconds, and memory.

Both builds train through the same door, the component's `fit`, on the same made features of fixed seed at the sizes of
scenes-leaderboard (backbone size 224, 48 photos; maps and masks come from the rendered truth), on one thread, each in
a process of its own, alternating. A step is what lies between two reports of progress; the first one warms up and is
left out. `least` takes for each step the least of the repetitions, `median` their median; both are means over the
steps, since a step's work may change from epoch to epoch. Memory is what `fit` adds to the process's peak.

`--profile` prints instead, for each build, the ten operations that take most of the CPU, and the share of each.

Run: python -m benchmarks.steps [--against c3d8e38] [--repetitions 3] [--only affinity deeplab] [--profile]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._builds import HERE, OLD, Build, checked_out

SCRIPT = Path(__file__).parent / "_one_step.py"
TARGETS = {"affinity": 5.0, "deeplab": 2.5, "coattention": 1.5, "cam": 1.0}


@dataclass(frozen=True)
class Steps:
    """What one `fit` took: CPU seconds of each step, and of all up to the end of the first; memory; its last losses."""

    first: float
    steps: tuple[float, ...]
    memory: int
    last: dict[str, float]


def measured(build: Build, name: str) -> Steps:
    """Train in a fresh process of that build."""
    told = _told(build, name)
    return Steps(told["first"], tuple(told["steps"]), told["memory"], told["last"])


def dearest(build: Build, name: str) -> str:
    """The ten dearest operations of a step, a line."""
    shares = (f"{operation} {share:.0%}" for operation, share in _told(build, name, "--profile")["operations"])
    return f"{name}, {build.name}: {', '.join(shares)}"


def _told(build: Build, name: str, *options: str) -> dict[str, Any]:
    command = [sys.executable, str(SCRIPT), name, *options]
    ended = subprocess.run(command, cwd=build.root, env=build.environment(), capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(f"{build.name}, {name}: {ended.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return told


@dataclass(frozen=True)
class Summary:
    """Of several repetitions: seconds a step, and the rest as `Steps` has it."""

    least: float
    median: float
    first: float
    memory: int


def summary(found: list[Steps]) -> Summary:
    """Step by step over the repetitions, then the mean over the steps."""
    table_RS = np.array([one.steps for one in found])
    least, median = float(table_RS.min(0).mean()), float(np.median(table_RS, 0).mean())
    return Summary(least, median, min(one.first for one in found), min(one.memory for one in found))


def line(name: str, old: Summary, new: Summary, difference: float) -> str:
    """One row of the table."""
    cells = [f"{name:12}"]
    for one in (old, new):
        cells.append(f"{1e3 * one.least:8.1f} {1e3 * one.median:8.1f} {one.first:7.2f} {one.memory / 2**20:7.0f}")
    ratios = f"{old.least / new.least:7.2f} {old.median / new.median:7.2f} {TARGETS[name]:7.1f}"
    return "  ".join([*cells, ratios, f"{difference:9.2g}"])


def main() -> None:
    """Print a row a component."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", default=OLD)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    if options.profile:
        with checked_out(options.against) as old:
            for name in options.only:
                for build in (old, HERE):
                    print(dearest(build, name), flush=True)
        return
    half = f"{'least ms':>8} {'median':>8} {'first s':>7} {'MiB':>7}"
    with checked_out(options.against) as old:
        print(f"{'':12}  {old.name:^33}  {HERE.name:^33}  {'old / new':^23}")
        print(f"{'':12}  {half}  {half}  {'least':>7} {'median':>7} {'aim':>7}  {'last loss':>9}", flush=True)
        for name in options.only:
            found: dict[str, list[Steps]] = {old.name: [], HERE.name: []}
            for _ in range(options.repetitions):
                for build in (old, HERE):
                    found[build.name].append(measured(build, name))
            before, now = found[old.name], found[HERE.name]
            # The weights of a fit are decided by its seed: where a kernel is another one, by rounding too.
            losses = [abs(before[0].last[key] - now[0].last[key]) for key in before[0].last if key in now[0].last]
            print(line(name, summary(before), summary(now), max(losses)), flush=True)


if __name__ == "__main__":
    main()
