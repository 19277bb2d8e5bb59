"""A second `seedbed run` of a finished suite, whole process, beside the first; and what it imports.

Run: python -m benchmarks.finished_suite
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

TARGET_S = 5.0
REPETITIONS = 3


def seconds(store: Path) -> float:
    """Wall seconds of `seedbed run smoke` on a store."""
    start = perf_counter()
    command = [sys.executable, "-m", "harness.cli", "run", "smoke", "--executor", "serial", "--store", str(store)]
    subprocess.run(command, check=True, capture_output=True)
    return perf_counter() - start


def main() -> None:
    """Print both times."""
    with tempfile.TemporaryDirectory() as folder:
        first = seconds(Path(folder))
        again = sorted(seconds(Path(folder)) for _ in range(REPETITIONS))[REPETITIONS // 2]
    print(f"seedbed run smoke: first {first:.1f} s, finished {again:.2f} s (target ≤ {TARGET_S:.0f} s)")


if __name__ == "__main__":
    main()
