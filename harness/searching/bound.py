"""What sharing stages can bring a search at most, by the costs that a store measured, before anything is run."""

from __future__ import annotations

from dataclasses import dataclass

from harness.execution.costs import Costs
from harness.reports.progress import duration
from harness.searching.space import Space, Values, check_paths, samples_of, space_of
from harness.searching.trials import Bench
from harness.stages.graph import Stage
from harness.stages.plugins import read_plugins
from harness.store.backends.urls import Location, absolute
from harness.store.layout import Ref
from harness.store.store import Store
from harness.suites.suite import Suite
from settings.errors import UserError, counted
from settings.plugins import plugged_in

__all__ = ["Bound", "bounds_of"]


@dataclass(frozen=True)
class Bound:
    """What a trial of one recipe costs, rung by rung, beyond what all trials have in common."""

    recipe: str
    rungs: tuple[tuple[str, float], ...]
    """Each rung's name and seconds."""
    shared: float
    """The seconds of what all trials have in common: features, the weak set."""
    measured: bool
    """Whether the seconds rest on what the store measured, all of them."""
    last: float
    """The seconds of the shortest part that a trial must compute anew: from the last rung on that an option changes."""
    trials: int | None = None
    """Of the budget; None where it is one of time."""

    @property
    def most(self) -> float:
        """How many times as many trials a second there can be, against trials that share nothing but what all share."""
        return sum(seconds for _, seconds in self.rungs) / self.last if self.last else 1.0

    def to_text(self) -> str:
        """One line for `seedbed plan`."""
        parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.rungs)
        basis = "measured" if self.measured else "partly guessed"
        told = (
            f"search of {self.recipe}: a trial costs {parts} ({basis}), and {self.shared:.1f} s are common to all; "
            f"kept prefixes allow at most {self.most:.1f} times as many trials"
        )
        if self.trials is None:
            return told
        number = counted(self.trials, "trial")
        return (
            f"{told}; {number} as dear as the default one: {duration(self.all_trials)} of core time, "
            "less what is shared and stopped"
        )

    @property
    def all_trials(self) -> float:
        """The seconds of a budget of trials at the default options, if each computed all and none were stopped."""
        return self.shared + (self.trials or 0) * sum(seconds for _, seconds in self.rungs)


def bounds_of(suite: Suite, location: Location) -> list[Bound]:
    """The bounds of the recipes that the suite's search names (all that its ranges concern, where it names none)."""
    assert suite.search is not None
    costs = Costs(Store.at(absolute(location)))
    found = []
    with plugged_in(read_plugins(suite.plugins)):
        names = list(suite.search.recipes or suite.recipes)
        check_paths(names, suite)
        bench = Bench(suite)
        for name in names:
            try:
                space = space_of(name, suite)
            except UserError:
                # A recipe that no range concerns is none of the search's; mistakes are told by the search itself.
                if suite.search.recipes:
                    raise
                continue
            found.append(_bound(space, bench, costs))
    return found


def _bound(space: Space, bench: Bench, costs: Costs) -> Bound:
    default = space.defaults(bench.suite)
    rungs = bench.rungs(space, default)
    others = bench.rungs(space, _other(space, default))
    known: dict[Ref, Stage] = {}
    for rung in others:
        known |= {stage.ref: stage for stage in bench.behind(rung.targets, known.__contains__)}
    shared = 0.0
    seen: dict[Ref, Stage] = {}
    found: list[tuple[str, float]] = []
    measured = True
    for rung in rungs:
        seconds = 0.0
        for stage in bench.behind(rung.targets, seen.__contains__):
            seen[stage.ref] = stage
            if stage.ref in known:
                shared += costs.seconds(stage)
            else:
                seconds += costs.seconds(stage)
                measured = measured and (costs.is_measured(stage) or not stage.photos)
        found.append((rung.name, seconds))
    steps = {space.step_of(each) for each in space.dimensions}
    last = sum(seconds for _, seconds in found[max(steps, default=0) :])
    assert bench.suite.search is not None
    return Bound(space.name, tuple(found), shared, measured, last, bench.suite.search.budget.trials)


def _other(space: Space, default: Values) -> Values:
    """Values that all differ from the default ones, as far as their ranges have others."""
    values = dict(default)
    for dimension in space.dimensions:
        if dimension.path in values and dimension.option:
            others = [value for value in samples_of(dimension.range) if value != default[dimension.path]]
            values[dimension.path] = others[0]
    return values
