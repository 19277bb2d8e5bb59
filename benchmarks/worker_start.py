"""How long a Ray worker takes from its process's start to its first stage, and what the dear imports cost it.

A worker's start is read from /proc (Linux), its first stage from the run's event log: when it was begun, and when it
was done. The suite is smoke, whose stages take next to nothing themselves. Imports are timed each in a fresh process.
Aim: 4 s from start to first stage (median over workers and repetitions).

Run: python -m benchmarks.worker_start [--repetitions 3] [--slots 2]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from harness.store.events import Ending, Event, EventReader, Told
from harness.store.store import Store

TARGET_S = 4.0
POLL_S = 0.05
MODULES = (
    "harness.execution.ray",
    "torch",
    "methods.features",
    "methods.networks.backbones",
    "methods.networks.deeplab",
    "timm",
    "torchvision",
    "segmentation_models_pytorch",
    "pandas",
    "seaborn",
    "sklearn",
    "cleanlab",
    "numba",
)
IMPORT = "import sys, time; start = time.process_time(); __import__(sys.argv[1]); print(time.process_time() - start)"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@dataclass
class Worker:
    """One worker process: when it started, and began and ended its first stage, in seconds since the epoch."""

    born: float
    begun: float
    cpu: float
    """CPU seconds until it began."""
    stages: set[str] = field(default_factory=set)
    """Keys of the stages that it began first."""
    done: float | None = None


def born(pid: int) -> tuple[float, float]:
    """When a process started, in seconds since the epoch, and the CPU seconds it has used; OSError where it is gone."""
    # After the name, which may contain spaces: user and system time, and the start since the machine's, in clock ticks.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, start = (int(fields[place]) / os.sysconf("SC_CLK_TCK") for place in (11, 12, 19))
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - uptime + start, user + system


def watched(slots: int) -> list[Worker]:
    """Run smoke on a store of its own through Ray, and return its workers."""
    workers: dict[int, Worker] = {}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "harness.commands.main", "run", "smoke", "--store", folder]
        command += ["--executor", "ray", "--slots", str(slots)]
        run = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        reader: EventReader | None = None
        while run.poll() is None:
            time.sleep(POLL_S)
            logs: list[Path] = []
            with suppress(OSError):
                logs = list(Store(Path(folder)).logs())
            if reader is None and logs:
                reader = EventReader(logs[-1])
            for event in reader.new() if reader else ():
                note(event, workers)
        assert run.returncode == 0, f"the run ended with {run.returncode}"
    return list(workers.values())


def note(event: Told, workers: dict[int, Worker]) -> None:
    """Take one event of the log: a worker's first stage has begun, or is done."""
    t, keys = event["t"], event.get("stages", [])
    if event["event"] == Event.STARTED and event["pid"] not in workers:
        # Its CPU seconds are those of a moment later, when this process came to look.
        with suppress(OSError):
            birth, cpu = born(event["pid"])
            workers[event["pid"]] = Worker(birth, t, cpu, set(keys))
    elif event["event"] == Ending.DONE:
        for worker in workers.values():
            if worker.done is None and worker.stages & set(keys):
                worker.done = t


def imported(module: str) -> float:
    """CPU seconds that the import of a module takes in a fresh process, whose files the kernel has at hand."""
    taken = []
    for _ in range(2):
        ended = subprocess.run([sys.executable, "-c", IMPORT, module], env=ENVIRONMENT, capture_output=True, text=True)
        if ended.returncode:
            return float("nan")
        taken.append(float(ended.stdout))
    return min(taken)


def main() -> None:
    """Print the medians, and a line a module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--slots", type=int, default=2)
    options = parser.parse_args()
    workers: list[Worker] = []
    for _ in range(options.repetitions):
        workers += watched(options.slots)
    begun = [worker.begun - worker.born for worker in workers]
    done = [worker.done - worker.born for worker in workers if worker.done is not None]
    print(f"{len(workers)} workers in {options.repetitions} runs")
    print(f"start to first stage begun: median {median(begun):.2f} s, most {max(begun):.2f} s (aim {TARGET_S:g} s)")
    print(f"  CPU seconds until then:   median {median(worker.cpu for worker in workers):.2f} s")
    print(f"start to first stage done:  median {median(done):.2f} s, most {max(done):.2f} s")
    for module in MODULES:
        print(f"  import {module:28} {imported(module):6.2f} s of CPU")


if __name__ == "__main__":
    main()
