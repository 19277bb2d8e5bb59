"""What the constants of proposals trade against each other: whole searches in less than a second each.

The search of `benchmarks.search` (learning rate and width of CAM's hidden layer, iterations and size of PAMR), whose
scores on a grid of 359 combinations were recorded once (search_grid.csv). Its seconds are medians of three real
searches on two idle cores; but for those of width 128, which was trained there once, with the process's warm-up: they
are taken to lie between the other widths'. A simulated trial's score lies between the grid's points (linear in the
rate's logarithm and in iterations), its stages take those seconds on two slots, and proposals are the product's own.
So hundreds of searches of 90 stage-seconds show what five real ones cannot.
Without ASHA, failures, and the time that proposals take.
Printed, by arm: trials, localizers among them, best score (standard error), the time that slots were busy, and the
share of the cost of random searches that share nothing at which their best score was reached: the median, how many
reached it, how many at a third of the cost. The last arm knows of every localizer at once, for the seconds of one
refiner, how good it can become, and draws localizers at random: what is out of reach for better proposals alone.
Run: python -m benchmarks.search_simulated [--searches 72]
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
import pandas as pd

from benchmarks.search import ITERATIONS, RANGES, RATE, write_suite
from harness.searching.proposals import Cuts, Known, Proposer
from harness.searching.space import Space, Values, space_of
from harness.suites.suite import load_suite

GRID = Path(__file__).parent / "search_grid.csv"
WIDTH, SIZE = "localizer.hidden", "refiners.0.size"
BUDGET, SLOTS, THIRD = 90.0, 2, 1 / 3
WARM_UP = 5.0
"""More seconds than others take: of the first localizer in a process."""
Curve = list[tuple[float, float]]
"""Stage-seconds spent and the score of each trial."""


@dataclass
class Grid:
    """The recorded scores, read between their points."""

    table: pd.DataFrame
    fits: dict[int, float] = field(init=False)
    """Seconds of a localizer by its width."""

    def __post_init__(self) -> None:
        self.rates = np.array(sorted(self.table[RATE].unique()))
        self.iterations = np.array(sorted(self.table[ITERATIONS].unique()))
        self.fits = dict(self.table.groupby(WIDTH)["localizer seconds"].first())
        self._ends = {place: self._square(rows, "score") for place, rows in self.table.groupby([WIDTH, SIZE])}
        self._raws = {width: self._square(rows, "raw score")[:, 0] for width, rows in self.table.groupby(WIDTH)}
        self._refined = dict(self.table.groupby(SIZE)["refiner seconds"].first())

    def _square(self, rows: pd.DataFrame, column: str) -> np.ndarray[Any, Any]:
        return rows.pivot_table(index=RATE, columns=ITERATIONS, values=column).interpolate(axis=1).to_numpy()

    def scores(self, values: Values) -> tuple[float, float]:
        """At the localizer and at the end."""
        at, ends_RI = np.log(values[RATE]), self._ends[values[WIDTH], values[SIZE]]
        along = [np.interp(at, np.log(self.rates), column) for column in ends_RI.T]
        raw = np.interp(at, np.log(self.rates), self._raws[values[WIDTH]])
        return float(raw), float(np.interp(values[ITERATIONS], self.iterations, along))

    def seconds(self, values: Values) -> tuple[float, float]:
        """Of the localizer and of what follows it."""
        return self.fits[values[WIDTH]], self._refined[values[SIZE]]

    def best_of(self, width: int, rate: float) -> float:
        """The best score with a localizer."""
        places = itertools.product(self._refined, self.iterations)
        return max(self.scores({RATE: rate, WIDTH: width, SIZE: size, ITERATIONS: n})[1] for size, n in places)


Stage = tuple[Any, ...]
"""A localizer's options, or these and its refiner's."""


@dataclass
class Simulated:
    """A search, and what it came to."""

    space: Space
    grid: Grid
    default: Values
    rng_seed: int
    sampler: Literal["prefix", "tpe", "random"] = "prefix"
    parallel: int = 5
    curve: Curve = field(default_factory=list)
    clock: float = 0.0

    def run(self) -> Simulated:
        """Trials start, take slots and are told as in `harness.searching.search`."""
        self._proposer = Proposer(self.space, self.sampler, self.rng_seed)
        self._trials: list[Values] = []
        self._paid: dict[Stage, tuple[int, float]] = {}
        """The trial that pays for a stage, and its seconds."""
        self._made: set[Stage] = set()
        self._working: list[tuple[float, Stage]] = []
        while True:
            while self._starts() or self._dispatches():
                pass
            if not self._working:
                break
            self.clock, stage = heapq.heappop(self._working)
            self._made.add(stage)
        while len(self.curve) < len(self._trials):
            self._settle()
        return self

    @property
    def localizers(self) -> int:
        """How many were trained."""
        return sum(len(stage) == len(_stages(self._trials[0])[0]) for stage in self._made)

    @property
    def busy(self) -> float:
        """The share of the slots' time that stages took."""
        return sum(seconds for _, seconds in self._paid.values()) / SLOTS / self.clock

    def _starts(self) -> bool:
        """Whether another trial has started."""
        number = len(self._trials)
        before = self._trials[: max(0, number - self.parallel + 1)]
        if any(_stages(values)[-1] not in self._made for values in before):
            return False
        while len(self.curve) < len(before):
            self._settle()
        if self.curve and self.curve[-1][0] >= BUDGET:
            return False
        if number == 0:
            self._proposer.begin(0, self.default)
        values = self._proposer.propose(number).values if number else self.default
        self._trials.append(values)
        for stage, seconds in zip(_stages(values), self.grid.seconds(values), strict=True):
            self._paid.setdefault(stage, (number, seconds))
        return True

    def _dispatches(self) -> bool:
        """Whether a free slot has taken the next stage of the earliest trial that has one."""
        if len(self._working) == SLOTS:
            return False
        for values in self._trials:
            left = next((stage for stage in _stages(values) if stage not in self._made), None)
            if left is not None and all(left != stage for _, stage in self._working):
                payer, seconds = self._paid[left]
                if len(self._made) + len(self._working) < SLOTS:
                    seconds += WARM_UP
                    self._paid[left] = payer, seconds
                heapq.heappush(self._working, (self.clock + seconds, left))
                return True
        return False

    def _settle(self) -> None:
        """Tell of the next trial, with what it cost beyond those before it."""
        number = len(self.curve)
        values = self._trials[number]
        paid = [self._paid[stage] for stage in _stages(values)]
        costs = tuple(seconds if payer == number else 0.0 for payer, seconds in paid)
        scores = self.grid.scores(values)
        self._proposer.tell(Known(number, values, "complete", scores[-1], scores, costs))
        self.curve.append(((self.curve[-1][0] if self.curve else 0.0) + sum(costs), scores[-1]))


def _stages(values: Values) -> tuple[Stage, Stage]:
    localizer = values[RATE], values[WIDTH]
    return localizer, (*localizer, values[ITERATIONS], values[SIZE])


def drawn(rng: np.random.Generator) -> Values:
    """A combination, drawn evenly."""
    ranges: Mapping[str, Any] = RANGES
    rate = float(np.exp(rng.uniform(*np.log(ranges[RATE]["log_uniform"]))))
    low, high = ranges[ITERATIONS]["int"]
    choices = {path: int(rng.choice(ranges[path]["choice"])) for path in (WIDTH, SIZE)}
    return {RATE: rate, ITERATIONS: int(rng.integers(low, high + 1)), **choices}


def unshared(grid: Grid, rng_seed: int) -> Curve:
    """A random search that shares nothing."""
    rng, spent = np.random.default_rng([rng_seed, 1]), 0.0
    curve: Curve = []
    while spent < BUDGET:
        values = drawn(rng)
        spent += sum(grid.seconds(values)) + WARM_UP * (len(curve) < SLOTS)
        curve.append((spent, grid.scores(values)[-1]))
    return curve


def all_knowing(grid: Grid, default: Values, rng_seed: int) -> Curve:
    """The default's and drawn localizers, each at once with its best refiner."""
    rng, values, spent = np.random.default_rng([rng_seed, 2]), default, 0.0
    curve: Curve = []
    while spent < BUDGET:
        spent += sum(grid.seconds(values)) + WARM_UP * (len(curve) < SLOTS)
        curve.append((spent, grid.best_of(values[WIDTH], values[RATE])))
        values = drawn(rng)
    return curve


def told(name: str, curves: Sequence[Curve], others: Sequence[Curve], more: str = "") -> None:
    """Print an arm: each of its searches against every one that shares nothing."""
    bests = np.array([max(score for _, score in curve) for curve in curves])
    pairs = itertools.product(curves, others)
    shares = np.array([_cost_of(max(score for _, score in other), curve) / other[-1][0] for curve, other in pairs])
    error = bests.std(ddof=1) / np.sqrt(len(bests))
    reached = f"{np.median(shares):.2f}, {np.isfinite(shares).mean():.0%}, {(shares <= THIRD).mean():.0%}"
    counts = np.mean([len(curve) for curve in curves])
    print(f"{name:34} {counts:5.1f} trials, best {bests.mean():.4f} ({error:.4f}); {reached}{more}", flush=True)


def _cost_of(score: float, curve: Curve) -> float:
    return next((spent for spent, reached in curve if reached >= score), float("inf"))


def _weights(exponent: float) -> Callable[..., dict[int | None, float]]:
    """Chances of cuts, to a power: above 1 prefixes are kept more often than gains per second say."""
    own = Cuts.weights

    def weights(self: Cuts, *arguments: Any) -> dict[int | None, float]:
        return {cut: chance**exponent for cut, chance in own(self, *arguments).items()}

    return weights


MODULE = "harness.searching.proposals"
ARMS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "as it is": ({}, {}),
    "window of 4": ({"parallel": 4}, {}),
    "window of 6": ({"parallel": 6}, {}),
    "window of 8": ({"parallel": 8}, {}),
    "TPE after 5 trials": ({}, {"START": 5}),
    "prefixes kept, rest drawn evenly": ({}, {"START": 10**9}),
    "chances to the power 1.2": ({}, {"Cuts.weights": _weights(1.2)}),
    "chances to the power 1.5": ({}, {"Cuts.weights": _weights(1.5)}),
    "plain TPE": ({"sampler": "tpe"}, {}),
    "plain random": ({"sampler": "random"}, {}),
}


def main() -> None:
    """Simulate the arms and print what they came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=72, help="of each arm")
    count = parser.parse_args().searches
    grid = Grid(pd.read_csv(GRID))
    with tempfile.TemporaryDirectory() as folder:
        suite = load_suite(str(write_suite(Path(folder), epochs=8)))
    space = space_of("cam+pamr", suite)
    default = space.defaults(suite)
    others = [unshared(grid, rng_seed) for rng_seed in range(count)]
    print(f"{'':34} trials, best score (standard error); share of the cost: median, reached, at a third")
    told("random, nothing shared", others, others)
    for name, (options, patches) in ARMS.items():
        with ExitStack() as stack:
            for target, value in patches.items():
                stack.enter_context(patch(f"{MODULE}.{target}", value))
            runs = [Simulated(space, grid, default, rng_seed, **options).run() for rng_seed in range(count)]
        localizers, busy = (np.mean([getattr(run, what) for run in runs]) for what in ("localizers", "busy"))
        more = f"; {localizers:.1f} localizers, slots busy {busy:.0%}"
        told(name, [run.curve for run in runs], others, more)
    told("all-knowing behind the localizer", [all_knowing(grid, default, seed) for seed in range(count)], others)


if __name__ == "__main__":
    main()
