"""`seedbed run smoke` on Ray, struck by all that can go wrong, ends as if nothing had happened.

`make chaos` holds fifty rounds; the ordinary suite the first one, on what a run in one process has made up to pseudo
labels: its table is that of all executors. In each, one or two runs share a store on a small disk of its own; faults
strike at random moments, and a run that ends before the table is whole is started again.
"""

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from harness.reports.leaderboard import Finished
from harness.store.store import Store
from tests.chaos.evidence import differences, flaws
from tests.chaos.faults import (
    DISK_BYTES,
    FAULTS,
    LEASE_TIMEOUT_S,
    ON_ONE_PROCESS,
    Fault,
    KillWorker,
    MoveClock,
    Scene,
    wait_for,
)
from tests.chaos.runs import FAKETIME, SERIAL, Run
from tests.chaos.telling import told

ROUNDS = int(os.environ.get("SEEDBED_CHAOS_ROUNDS", "1"))
FIRST = int(os.environ.get("SEEDBED_CHAOS_FIRST", "0"))
HOW = ("--executor", "ray", "--slots", "2")
MOST_RUNS = 8
TIMEOUT_S = 300


@pytest.mark.parametrize("number", range(FIRST, FIRST + ROUNDS))
def test_a_run_that_is_struck_ends_with_the_same_table(number: int, smoke: Finished, tmp_path: Path) -> None:
    rng = random.Random(f"round {number}")
    strikes = [(rng.choice(FAULTS), rng.uniform(0, 6)) for _ in range(rng.randint(1, 3))] if number else FIRST_ROUND
    with disk(tmp_path / "disk") as room:
        store = Store(tmp_path / "disk" / "store")
        if not number:
            _begin(store.root, smoke.run.store_folder)
        done = _endure(store.root, strikes, rng, 1 + number % 2, room)
        wrong = flaws(store) + differences(store.root / "leaderboards" / "smoke", smoke.folder)
    told.append(f"round {number}: {', '.join(done)}: {'; '.join(wrong) or 'as if nothing had happened'}")
    assert wrong == []


@pytest.mark.skipif("SEEDBED_CHAOS_ROUNDS" not in os.environ, reason="takes a minute: `make chaos`")
@pytest.mark.skipif(FAKETIME is None, reason="no clock of its own: Debian's package faketime")
@pytest.mark.parametrize("number", range(FIRST, FIRST + -(-ROUNDS // 10)))
def test_a_run_whose_clock_is_set_ends_with_the_same_table(number: int, smoke: Finished, tmp_path: Path) -> None:
    rng = random.Random(f"clock {number}")
    strikes = [(MoveClock(), 0.0), *((rng.choice(ON_ONE_PROCESS), rng.uniform(0, 6)) for _ in range(2))]
    clock = tmp_path / "clock"
    clock.write_text("+0")
    with disk(tmp_path / "disk") as room:
        store = Store(tmp_path / "disk" / "store")
        done = _endure(store.root, strikes, rng, 1, room, clock)
        wrong = flaws(store) + differences(store.root / "leaderboards" / "smoke", smoke.folder)
    told.append(f"clock {number}: {', '.join(done)}: {'; '.join(wrong) or 'as if nothing had happened'}")
    assert wrong == []


FIRST_ROUND: list[tuple[Fault, float]] = [(KillWorker(), 0.5)]
"""What `make test` does."""


def _begin(store: Path, finished: Path) -> None:
    """Copy what a finished run has made up to pseudo labels, without its log and tables."""
    later = shutil.ignore_patterns("segmenter_fit", "segment", "score", "row", "gallery", "events", "leaderboards")
    shutil.copytree(finished, store, ignore=later)


def _endure(
    store: Path,
    strikes: list[tuple[Fault, float]],
    rng: random.Random,
    runs: int,
    room: Path | None,
    clock: Path | None = None,
) -> list[str]:
    """Runs on one store, the first of them struck, until the first ends well; what was done to it."""
    done: list[str] = []
    for _ in range(MOST_RUNS):
        with ExitStack() as stack:
            first, *others = [stack.enter_context(_run(store, clock)) for _ in range(runs)]
            scene = Scene(first, rng, room)
            while strikes and first.process.poll() is None:
                fault, seconds = strikes.pop(0)
                wait_for(scene, seconds)
                if what := fault.strike(scene):
                    done.append(f"{what} after {seconds:.1f} s")
            codes = [run.process.wait(TIMEOUT_S) for run in (first, *others)]
            for timer in scene.later:
                timer.join()
            if codes[0] == 0 and not strikes:
                assert set(codes) <= {0, 1, 2}, f"the other run ended by {codes}"
                return done
    raise AssertionError(f"not whole after {MOST_RUNS} runs: {done}")


def _run(store: Path, clock: Path | None) -> Run:
    how = SERIAL if clock else HOW
    return Run(store, how=how, clock=clock, SEEDBED_LEASE_TIMEOUT=f"{LEASE_TIMEOUT_S:g}", OMP_NUM_THREADS="1")


@contextmanager
def disk(folder: Path) -> Iterator[Path | None]:
    """A small file system of its own where one may be mounted, else an ordinary folder that is never full."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
