"""What planning guesses that stages cost, beside what they took on a store, kind by kind.

`seedbed plan` against an empty store knows no measured costs: it adds up what each kind of stage guesses. Here these
guesses stand beside the CPU seconds that the records of a finished run tell (of older stores: wall seconds). Aim: to be
within a factor of 1.5 for each kind that makes 2 % of the whole or more, and for the whole.

Run: python -m benchmarks.guesses STORE SUITE [--set …]; without a store it runs the suite smoke on one of its own.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.execution.costs import OVERHEAD_S
from harness.execution.running import run_suite
from harness.stages.graph import Stage
from harness.stages.planning import make_plan
from harness.store.record import Record
from harness.store.store import Store
from harness.suites.recipes import ComponentIdentity
from harness.suites.suite import Suite, load_suite

FACTOR = 1.5
SHARE = 0.02


@dataclass
class Compared:
    """Seconds of all stages of one kind that a store has."""

    stages: int = 0
    guessed: float = 0.0
    measured: float = 0.0
    by_wall: int = 0
    """How many of the stages have no CPU seconds on record."""

    def take(self, stage: Stage, record: Record) -> None:
        """Add one stage."""
        self.stages += 1
        self.guessed += stage.kind.seconds(stage) + OVERHEAD_S
        self.measured += record.cpu_seconds or record.seconds
        self.by_wall += not record.cpu_seconds

    def is_off(self) -> bool:
        """Whether the guess is further off than it may be."""
        return not 1 / FACTOR <= self.guessed / max(self.measured, 1e-9) <= FACTOR


def kind_of(stage: Stage) -> str:
    """The kind, and the component where the stage runs one of a method."""
    component = getattr(stage.identity, "component", None)
    if isinstance(component, ComponentIdentity) and component.role != "labeler":
        return f"{stage.kind.name} {component.name}"
    return stage.kind.name


def compared(suite: Suite, store: Store) -> dict[str, Compared]:
    """Every kind of stage of the suite that the store has something of."""
    graph = make_plan(suite).graph
    records = store.records([ref for ref in graph if store.has(ref)])
    found: dict[str, Compared] = {}
    for ref, stage in graph.items():
        if ref in records:
            found.setdefault(kind_of(stage), Compared()).take(stage, records[ref])
    return found


def show(found: Mapping[str, Compared]) -> None:
    """Print a line a kind, the dearest first, and one for the whole."""
    whole = Compared()
    for one in found.values():
        whole.stages += one.stages
        whole.guessed += one.guessed
        whole.measured += one.measured
        whole.by_wall += one.by_wall
    print(f"{'kind':28} {'stages':>6} {'guessed s':>10} {'took s':>10} {'ratio':>6} {'share':>6}")
    for name, one in sorted(found.items(), key=lambda item: -item[1].measured):
        share = one.measured / whole.measured
        mark = ""
        if share >= SHARE and one.is_off():
            mark = "  off"
        print(_line(name, one, share) + mark)
    print(_line("all", whole, 1.0) + ("  off" if whole.is_off() else ""))
    if whole.by_wall:
        print(
            f"{whole.by_wall} stages have no CPU seconds on record: wall seconds, those of a busy machine if it was one"
        )


def _line(name: str, one: Compared, share: float) -> str:
    ratio = one.guessed / max(one.measured, 1e-9)
    return f"{name:28} {one.stages:6} {one.guessed:10.1f} {one.measured:10.1f} {ratio:6.2f} {100 * share:5.1f}%"


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", nargs="?", type=Path)
    parser.add_argument("suite", nargs="?", default="smoke")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    suite = load_suite(options.suite, options.set)
    if options.store:
        show(compared(suite, Store.at(options.store)))
        return
    with tempfile.TemporaryDirectory() as folder:
        with run_suite(suite, Path(folder), "serial"):
            pass
        show(compared(suite, Store(Path(folder))))


if __name__ == "__main__":
    main()
