"""What Ray with two slots gains, beside what two processes that know nothing of each other reach on this machine.

Both do the same work with one thread a stage, in one session, one after the other: `seedbed run SUITE --executor ray
--slots 2`, and two `--executor serial` at once, each on a store of its own. Ray's speed-up over serial is T1 / T_ray;
that of two independent processes, 2 · T1 / T_two; their ratio T_two / (2 · T_ray) needs no serial run alone, and does
not suffer from cores that slow each other down. Aims: a ratio of at least 0.87; 8 s from the start to the first stage.
Run: python -m benchmarks.speed_up [SUITE] [--set …] [--repetitions 1]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from harness.store.events import EventReader
from harness.store.store import Store

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def start(suite: str, overrides: Sequence[str], store: Path, *how: str) -> subprocess.Popen[bytes]:
    """A run as a process."""
    options = [part for override in overrides for part in ("--set", override)]
    command = [sys.executable, "-m", "harness.commands.main", "run", suite, "--store", str(store), *options, *how]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def timed(runs: Sequence[subprocess.Popen[bytes]], began: float) -> float:
    """Seconds until all have ended well."""
    assert [run.wait() for run in runs] == [0] * len(runs)
    return time.time() - began


def first_stage_s(store: Path, began: float) -> float:
    """From the command to the first stage."""
    log = Store(store).logs()[-1]
    return float(next(event["t"] for event in EventReader(log).new() if event["event"] == "started")) - began


def main() -> None:
    """Print each repetition, and the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", nargs="?", default="scenes-leaderboard")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--repetitions", type=int, default=1)
    options = parser.parse_args()
    ratios: list[float] = []
    for _ in range(options.repetitions):
        with tempfile.TemporaryDirectory() as name:
            stores = [Path(name) / store for store in ("ray", "one", "two")]
            began = time.time()
            by_ray = timed([start(options.suite, options.set, stores[0], "--executor", "ray", "--slots", "2")], began)
            first = first_stage_s(stores[0], began)
            began = time.time()
            alone = [start(options.suite, options.set, store, "--executor", "serial") for store in stores[1:]]
            by_two = timed(alone, began)
        ratios.append(by_two / (2 * by_ray))
        print(
            f"Ray {by_ray:.0f} s (first stage after {first:.1f} s), two alone {by_two:.0f} s: {ratios[-1]:.3f}",
            flush=True,
        )
    print(f"Ray's speed-up is {median(ratios):.3f} of that of two independent processes (aim 0.87)")


if __name__ == "__main__":
    main()
