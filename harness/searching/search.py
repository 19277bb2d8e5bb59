"""The loop of a search: trials start, come to their rungs, are stopped or end, and are put on record.

Ray Tune's own loop is not used: in it a trial is a process of 2 to 5 s, which would only wait for stages that our one
executor runs, be they there already or not; and its state is not the store's. Its rule for stopping (ASHA) is
`results.rungs.stops`. Where Tune stands beside us in numbers: `python -m benchmarks.search`.

Whatever is decided for trial k depends on trials up to k − `parallel` alone, all of which have ended when it starts. So
neither the clock nor a kill changes what a search comes to, as long as its budget is one of trials.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.execution.driver import Result
from harness.searching.proposals import Passes, Proposer, State
from harness.searching.records import Notebook, RungRecord, Trial
from harness.searching.space import Space, Values
from harness.searching.trials import Bench, Rung
from harness.stages.graph import Stage
from harness.store.layout import Ref
from harness.store.store import Lost, Store
from harness.suites.search import Budget, Search
from results.rungs import RungCheck, check_rung, cutoff
from results.searches import DEFAULT, DEFAULT_FREE
from settings.errors import UserError
from settings.records import fingerprint

__all__ = ["RecipeSearch", "Searches"]

FULL = 8
"""The first trials, and later one in so many, run to their end: by these the rungs are judged."""
SECONDS_AN_HOUR = 3600.0
Listener = Callable[["RecipeSearch", Trial], None]


@dataclass
class _Active:
    """A trial that is under way."""

    number: int
    values: Values
    origin: str
    rungs: tuple[Rung, ...]
    passes: Passes
    """Whether it goes on with a score at a rung, by what was known when it started."""
    reached: list[RungRecord] = field(default_factory=list)
    is_handed: bool = False
    """Whether the stages of its next rung were given to the run."""

    @property
    def rung(self) -> Rung:
        """The one that it is on the way to."""
        return self.rungs[len(self.reached)]


class RecipeSearch:
    """The search of one recipe."""

    def __init__(self, space: Space, bench: Bench, store: Store, search: Search, budget: Budget, parallel: int) -> None:
        self.space, self.bench, self.budget, self.search = space, bench, budget, search
        self._store = store
        self.defaults = space.defaults(bench.suite)
        # Trial 0 as it is written; where the threshold is free, trial 1 is the same at its best threshold.
        first = bench.rungs(space, {}, is_default=True)
        definition = fingerprint([_definition(space, search), [rung.targets for rung in first]])
        self.notebook = Notebook(store, bench.suite.folder_name, space.name, definition)
        self.trials = self.notebook.trials()
        """All that ended, by number."""
        self._beginning = self.notebook.begin(search.parallel or parallel)
        self.parallel = self._beginning.parallel
        self._recorded = {number for number, trial in self.trials.items() if trial.state != "failed"}
        self._hours_before = max((trial.hours for trial in self.trials.values()), default=0.0)
        self._started = time.monotonic()
        self._proposer = Proposer(space, search.sampler, search.rng_seed)
        self._active: dict[int, _Active] = {}
        self._planned: dict[int, tuple[Rung, ...]] = {}
        """The rungs of trials whose costs are not known yet: planned once."""
        self._ended: set[int] = set()
        self._claimed: set[Ref] = set()
        self._judges: list[Trial] = []
        """The settled trials that nobody might stop and that came to their end."""
        self._peers: dict[int, dict[str, float]] = {}
        """By rung, the settled trials' scores there; what several of them have in common is one peer."""
        self._settled_spent = 0.0
        self._settled = 0
        """How many trials, from the first on, have their costs."""
        self._next = 0
        self.is_over = False
        """Whether no trial is started any more."""

    @property
    def hours(self) -> float:
        """That the search has taken so far, over all calls."""
        return self._hours_before + (time.monotonic() - self._started) / SECONDS_AN_HOUR

    @property
    def spent(self) -> float:
        """Stage-seconds of the trials whose costs are known."""
        return sum(trial.spent for trial in self.trials.values() if trial.is_settled)

    @property
    def best(self) -> Trial | None:
        """The trial of the highest score, the first among equals; None where none came to its end."""
        complete = [trial for trial in self.trials.values() if trial.score is not None]
        return max(complete, key=lambda trial: (trial.score or 0.0, -trial.number), default=None)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way and nothing will be."""
        return self.is_over and not self._active

    def advance(self, result: Result, told: Listener) -> bool:
        """Take notice of what there is now, and start what may start; whether anything has changed."""
        has_changed = False
        for active in list(self._active.values()):
            has_changed |= self._look_at(active, result, told)
        while self._may_start():
            self._start(told)
            has_changed = True
        return has_changed

    def wanted(self, again: bool) -> dict[Ref, tuple[int, Stage]]:
        """The stages of trials' next rungs that are not there, with the number of the first trial that wants each.

        Those that were given once are given `again` where the run began anew.
        """
        found: dict[Ref, tuple[int, Stage]] = {}
        for active in self._active.values():
            if active.is_handed and not again:
                continue
            active.is_handed = True
            for stage in self.bench.behind(active.rung.targets, self._store.has):
                found.setdefault(stage.ref, (active.number, stage))
        return found

    def settle(self) -> None:
        """Note what the trials have cost whose predecessors have all ended; after the last one, of all."""
        while self._settled in self._ended:
            self._settle(self._settled)

    def checks(self) -> list[RungCheck]:
        """How well each rung but the last predicts the end, by the settled trials that nobody might stop."""
        names = [rung.name for rung in max((trial.rungs for trial in self._judges), key=len, default=())]
        # A choice of refiners makes chains of several lengths: only equal ones are compared.
        alike = [trial for trial in self._judges if [rung.name for rung in trial.rungs] == names]
        ends = [trial.score or 0.0 for trial in alike]
        found = []
        for place, name in enumerate(names[:-1]):
            scores = [trial.rungs[place].score for trial in alike]
            found.append(check_rung(name, scores, ends, self.search.reduction))
        return found

    @property
    def _twin(self) -> int | None:
        """The number of the default configuration as it is written, where another trial has the same values."""
        return 0 if self.space.threshold_is_free else None

    def _may_start(self) -> bool:
        number = self._next
        if self.is_over or any(active <= number - self.parallel for active in self._active):
            return False
        if number in self.trials:
            return True
        if self._proposer.is_exhausted or not self._has_budget(number):
            self.is_over = True
            return False
        return True

    def _has_budget(self, number: int) -> bool:
        """Whether the budget has room for a trial of this number."""
        for earlier in range(self._settled, number - self.parallel + 1):
            self._settle(earlier)
        budget = self.budget
        if budget.trials is not None and number >= budget.trials:
            return False
        if budget.stage_seconds is not None and self._settled_spent >= budget.stage_seconds:
            return False
        return budget.hours is None or self.hours < budget.hours

    def _start(self, told: Listener) -> None:
        number = self._next
        self._next += 1
        for earlier in range(self._settled, number - self.parallel + 1):
            self._settle(earlier)
        passes = self._passes(number)
        recorded = self.trials.get(number)
        if recorded is not None:
            values, origin = recorded.values, recorded.origin
            self._know(number, values)
        elif number == 0 or (number == 1 and self.space.threshold_is_free):
            values, origin = self.defaults, DEFAULT if number == 0 else DEFAULT_FREE
            self._know(number, values)
        else:
            proposal = self._proposer.propose(number, passes)
            values, origin = proposal.values, proposal.origin
        if number in self._recorded:
            self._ended.add(number)
            return
        try:
            rungs = self._rungs(number, values)
        except UserError as error:
            self._end(Trial(number, values, origin, "failed", reason=str(error), may_stop=False), told)
            return
        self._planned[number] = rungs
        self._active[number] = _Active(number, values, origin, rungs, passes)
        while number in self._active and self._look_at(self._active[number], Result(), told):
            pass

    def _rungs(self, number: int, values: Values) -> tuple[Rung, ...]:
        return self.bench.rungs(self.space, {} if number == 0 else values, is_default=number == 0)

    def _know(self, number: int, values: Values) -> None:
        """Have the proposer know of a trial that it did not propose; the same values are told once."""
        if number != self._twin:
            self._proposer.begin(number, values)

    def _look_at(self, active: _Active, result: Result, told: Listener) -> bool:
        """Whether a trial has come to a rung, or to its end."""
        rung = active.rung
        if not all(self._store.has(ref) for ref in rung.targets):
            reason = _reason(rung.targets, result)
            if reason:
                self._finish(active, "failed", told, reason)
            return bool(reason)
        try:
            score = self.bench.score(self._store, rung)
        except Lost as error:
            self._finish(active, "failed", told, str(error))
            return True
        if not math.isfinite(score.value):
            self._finish(active, "failed", told, f"the score at {rung.name} is undefined (nan)")
            return True
        active.reached.append(RungRecord(rung.name, score.value, score.threshold))
        active.is_handed = False
        if len(active.reached) == len(active.rungs):
            self._finish(active, "complete", told)
        elif not active.passes(len(active.reached) - 1, score.value):
            self._finish(active, "stopped", told, f"not among the best one in {self.search.reduction:g} at {rung.name}")
        return True

    def _may_stop(self, number: int) -> bool:
        return self.search.stopping == "asha" and number >= FULL and number % FULL != 0

    def _passes(self, number: int) -> Passes:
        """Whether the trial of this number goes on with a score at a rung, by what is settled when it starts."""
        cutoffs: dict[int, float] = {}
        if self._may_stop(number):
            for place, check in enumerate(self.checks()):
                if check.is_on and self._peers.get(place):
                    cutoffs[place] = cutoff(list(self._peers[place].values()), self.search.reduction)
        return lambda place, score: score >= cutoffs.get(place, float("-inf"))

    def _finish(self, active: _Active, state: State, told: Listener, reason: str = "") -> None:
        del self._active[active.number]
        targets = active.rungs[max(len(active.reached), 1) - 1].targets
        trial = Trial(
            active.number,
            active.values,
            active.origin,
            state,
            tuple(active.reached),
            reason,
            self._may_stop(active.number),
            targets,
            hours=round(self.hours, 5),
        )
        self._end(trial, told)

    def _end(self, trial: Trial, told: Listener) -> None:
        last = next(reversed(self.trials), -1)
        self.trials[trial.number] = trial
        if trial.number < last:
            # In the order of their numbers, whichever ended first.
            self.trials = dict(sorted(self.trials.items()))
        self._ended.add(trial.number)
        self.notebook.write(trial)
        told(self, trial)

    def _settle(self, number: int) -> None:
        """Find out what a trial has cost beyond those before it, and let proposals know of it."""
        trial = self.trials[number]
        if not trial.is_settled:
            trial = self._with_costs(trial)
            self.trials[number] = trial
            self.notebook.write(trial)
        self._planned.pop(number, None)
        self._claimed.update(trial.claimed)
        self._settled, self._settled_spent = number + 1, self._settled_spent + trial.spent
        if number == self._twin:
            return
        self._proposer.tell(trial.known())
        if not trial.may_stop and trial.score is not None:
            self._judges.append(trial)
        if trial.state != "failed":
            for place, rung in enumerate(trial.rungs):
                prefix = self._proposer.cuts.name_of(trial.values, place)
                self._peers.setdefault(place, {})[prefix] = rung.score

    def _with_costs(self, trial: Trial) -> Trial:
        rungs = self._planned.get(trial.number) or self._rungs(trial.number, trial.values)
        costs, claimed = [], []
        for rung in rungs[: len(trial.rungs)]:
            stages = self.bench.behind(rung.targets, self._claimed.__contains__)
            refs = [stage.ref for stage in stages]
            self._claimed.update(refs)
            claimed += refs
            records = self._store.records(refs).values()
            seconds = sum(record.seconds for record in records)
            spent = sum(record.seconds for record in records if record.finished >= self._beginning.started)
            costs.append((seconds, spent))
        return trial.settled(costs, claimed)


class Searches:
    """The searches of several recipes, one after the other: what feeds the run with stages."""

    def __init__(self, searches: Sequence[RecipeSearch], told: Listener) -> None:
        self.searches = searches
        self.rounds: dict[Ref, int] = {}
        """The trial that each stage is made for first, over all recipes: earlier ones go first."""
        self._told = told
        self._result: Result | None = None

    def more(self, result: Result) -> Mapping[Ref, Stage]:
        """The stages that trials wait for; a trial all of whose stages are there ends at once."""
        begins_anew = result is not self._result
        self._result = result
        found: dict[Ref, Stage] = {}
        for place, search in enumerate(self.searches):
            while search.advance(result, self._told):
                pass
            for ref, (number, stage) in search.wanted(begins_anew).items():
                found.setdefault(ref, stage)
                self.rounds.setdefault(ref, place * 1_000_000 + number)
            # The next recipe begins when this one starts no more: so its last trials leave no slot idle.
            if not search.is_over:
                break
        return found


def _reason(targets: Sequence[Ref], result: Result) -> str:
    """Why stages that are not there will not be made; empty where nothing keeps them from it."""
    for ref in targets:
        root = result.blocked.get(ref, ref)
        if root in result.failures:
            return result.failures[root]
    return ""


def _definition(space: Space, search: Search) -> list[object]:
    """What makes a search another one, beside the stages of its default configuration."""
    ranges = {each.path: each.range.model_dump(mode="json", exclude_none=True) for each in space.dimensions}
    rules = search.model_dump(mode="json", include={"sampler", "stopping", "reduction", "parallel", "rng_seed"})
    return [space.name, ranges, space.threshold_is_free, search.objective.model_dump(mode="json"), rules]
