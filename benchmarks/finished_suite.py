"""A second run of a finished suite of 1,000 stages, in a fresh process: planning, reading the rows, ending.

Run: python -m benchmarks.finished_suite
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from harness.reports.leaderboard import run_and_gather
from harness.stages.planning import make_plan
from harness.suites.suite import Suite, load_suite

STAGES, REPETITIONS, TARGET_S = 1000, 5, 2.0
SEEDS = 3
TINY = [
    "dataset.size=32",
    "dataset.val=128",
    "references=[all-background]",
    "gallery=0",
    f"rng_seeds={list(range(SEEDS))}",
]
AGAIN = """
import sys
import harness.reports.leaderboard, harness.suites.suite
from time import perf_counter
suite = harness.suites.suite.load_suite("smoke", sys.argv[2:])
start = perf_counter()
finished = harness.reports.leaderboard.run_and_gather(suite, __import__("pathlib").Path(sys.argv[1]), "ray")
seconds = perf_counter() - start
assert finished.run.stages_run == 0 and not {"torch", "ray"} & set(sys.modules)
print(seconds)
"""


def suite_of(stages: int) -> tuple[Suite, list[str]]:
    """The smoke suite with as many shards as it takes, and the overrides that make it."""
    shards = 1
    while True:
        overrides = [*TINY, f"dataset.train={48 * shards}", f"dataset.dev={16 * shards}"]
        suite = load_suite("smoke", overrides)
        if len(make_plan(suite).graph) >= stages:
            return suite, overrides
        shards += 1


def main() -> None:
    """Print the first run's time and the median of the later ones."""
    suite, overrides = suite_of(STAGES)
    with tempfile.TemporaryDirectory() as folder:
        first = run_and_gather(suite, Path(folder), "serial")
        assert first.exit_code == 0, first.summary()
        command = [sys.executable, "-c", AGAIN, folder, *overrides]
        times = [float(subprocess.check_output(command, text=True)) for _ in range(REPETITIONS)]
    stages = len(first.run.plan.graph)
    print(
        f"{stages} stages: first run {first.run.seconds:.0f} s; finished, after imports: {median(times):.2f} s ", end=""
    )
    print(f"(target ≤ {TARGET_S:.0f} s, torch and ray not imported)")


if __name__ == "__main__":
    main()
