"""Which values the next trial has: by Optuna (TPE, random), and prefix-aware, which keeps stages that exist.

Optuna proposes by ask and tell, and not through Tune's `OptunaSearch`: that tells Optuna of stopped trials as if they
had come to their end, and leaves a trial whose score is nan running for ever.

A proposal depends on the trials that are told, on the values of those that run, and on its number; on no clock. So a
search that was killed proposes the same trials again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from harness.searching.space import Dimension, Space, Values, stepped
from harness.suites.search import Range
from settings.records import fingerprint

__all__ = ["Cuts", "Known", "Passes", "Proposal", "Proposer", "State", "choice_labels", "finished_trial"]

State = Literal["complete", "stopped", "failed"]
START = 10
"""Trials that are drawn at random before TPE has seen enough; Optuna's own number."""
REDRAWS = 20
"""How often a proposal is drawn anew that equals an earlier one."""
SAMPLED_REDRAWS = 1
"""How often by the sampler itself, which comes back to what it holds for best; then evenly: that finds what is left."""
MANY = 250
"""As many trials as are told, proposals see all of them; TPE takes ever longer the more it sees."""
CUT_EACH, LATEST, BEST = 25, 15, 10
"""Beyond, after each so many trials all are forgotten but the latest and the best ones."""
MOST_LISTED = 100_000
"""A finite space of so many combinations is listed, to find what is left of it."""
MOST_DEPENDENT = 2_000
"""The same where options depend on what is chosen: each is looked at by itself, which takes a second or so."""
BEST_PREFIXES = 4
"""The best one in so many prefixes is kept."""
LEAST = 1e-6
Passes = Callable[[int, float], bool]


def _all_pass(rung: int, score: float) -> bool:
    return True


@dataclass(frozen=True)
class Known:
    """What a proposal may know of an earlier trial."""

    number: int
    values: Values
    state: State
    score: float | None
    """At the end; None where it did not come to it."""
    rungs: tuple[float, ...] = ()
    """The scores of the rungs that it came to."""
    seconds: tuple[float, ...] = ()
    """What each of these rungs cost beyond what earlier trials had made already."""


@dataclass(frozen=True)
class Proposal:
    """The values of a trial, and how they came about."""

    number: int
    values: Values
    origin: str


@dataclass
class Proposer:
    """Proposes trials of one recipe; whoever asks tells it of every trial, in the order of their numbers."""

    space: Space
    sampler: Literal["prefix", "tpe", "random"]
    rng_seed: int
    known: list[Known] = field(default_factory=list)
    """The trials that were told."""

    def __post_init__(self) -> None:
        self.cuts = Cuts(self.space)
        self._running: dict[int, Values] = {}
        self._seen: set[str] = set()
        self._outside = 0
        """How many of these lie outside of the ranges, as the default configuration may."""
        self._size = _size(self.space)
        self._distributions = {each.path: _distribution(each) for each in self.space.dimensions}
        self._rest: Iterator[Values] | None = None
        self._study: Study | None = None
        self._trials: dict[int, Trial] = {}
        """Those of the study that run, by our numbers."""

    @property
    def is_exhausted(self) -> bool:
        """Whether every combination of a finite space was proposed."""
        return self._size is not None and len(self._seen) - self._outside >= self._size

    def propose(self, number: int, passes: Passes = _all_pass) -> Proposal:
        """The values of the trial of this number, others than those before where the space has others.

        `passes` says of a rung and a score whether a trial that comes to it goes on: no other prefix is kept.
        """
        if self._is_mostly_tried:
            return self._proposed_of_the_rest(number)
        study, prefixes = self._current_study(), self._prefixes(number, passes)
        sampled_redraws = SAMPLED_REDRAWS if len(self.known) <= MANY else 0
        for redraw in range(REDRAWS):
            rng = np.random.default_rng(_seed(self.rng_seed, self.space.name, number, redraw))
            evenly = redraw > sampled_redraws or self.sampler == "random" or len(self.known) < START
            kept, prefix = prefixes.draw(rng)
            seed = int(rng.integers(2**31))
            if evenly:
                trial, values = None, self._drawn_evenly(study, seed, prefix)
            else:
                trial, values = self._sampled(study, seed, prefix)
            if fingerprint(values) not in self._seen:
                break
            if trial is not None:
                study.tell(trial, state=TrialState.FAIL)
        else:
            return self._proposed_of_the_rest(number)
        self._seen.add(fingerprint(values))
        self._running[number] = values
        if trial is None:
            self._enter(study, number, values)
        else:
            self._trials[number] = trial
        return Proposal(number, values, ("random" if evenly else "tpe") + kept)

    @property
    def _is_mostly_tried(self) -> bool:
        """Whether so much of a space was tried that what is left is gone through evenly: no draw finds it soon."""
        is_listed = self._size is not None and self._size <= MOST_LISTED
        return is_listed and len(self.known) > MANY and 2 * len(self._seen) > (self._size or 0)

    def _proposed_of_the_rest(self, number: int) -> Proposal:
        """The next combination of a finite space that was not tried, in an order that the rng seed draws.

        Of a space without end, or too large to be listed, whatever is drawn, be it equal to an earlier one.
        """
        if self._rest is None:
            self._rest = self._shuffled()
        found = next((values for values in self._rest if fingerprint(values) not in self._seen), None)
        if found is None:
            study = self._current_study()
            found = self._drawn_evenly(study, _seed(self.rng_seed, self.space.name, number) % 2**31, {})
        self._seen.add(fingerprint(found))
        self._running[number] = found
        return Proposal(number, found, "random")

    def _shuffled(self) -> Iterator[Values]:
        """All combinations of a finite space in random order; none of one that is not listed."""
        if self._size is None or self._size > MOST_LISTED:
            return
        every = _combinations(self.space)
        rng = np.random.default_rng(_seed(self.rng_seed, self.space.name, "rest"))
        for place in rng.permutation(len(every)):
            yield every[place]

    def begin(self, number: int, values: Values) -> None:
        """A trial with these values is under way, or was recorded: none with the same values is proposed again."""
        if fingerprint(values) not in self._seen and not _is_within(self.space, values):
            self._outside += 1
        self._seen.add(fingerprint(values))
        self._running[number] = values
        if self._study is not None:
            self._enter(self._study, number, values)

    def tell(self, known: Known) -> None:
        """A trial has come to an end."""
        self.known.append(known)
        del self._running[known.number]
        trial = self._trials.pop(known.number, None)
        if _cut(len(self.known)) != _cut(len(self.known) - 1):
            self._study = None
        if self._study is None or trial is None:
            return
        if known.state == "complete":
            self._study.tell(trial, known.score)
        elif known.state == "failed":
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            # Told as stopped, with the scores of its rungs: Optuna ranks these below those that came to their end.
            for step, score in enumerate(known.rungs):
                trial.report(score, step)
            self._study.tell(trial, state=TrialState.PRUNED)

    def _sampled(self, study: Study, seed: int, prefix: Values) -> tuple[Trial, Values]:
        """A trial of the study, which TPE gives its values, but for what it keeps of an earlier one."""
        if self.space.is_flat:
            study.sampler = _FlatTPE(self._distributions, seed)
        else:
            study.sampler = TPESampler(seed=seed, n_startup_trials=START)
        if prefix:
            study.enqueue_trial(params_of(self.space, prefix))
        trial = study.ask()
        return trial, self._suggested(trial)

    def _drawn_evenly(self, study: Study, seed: int, prefix: Values) -> Values:
        """Values that Optuna's random sampler draws, but for what is kept of an earlier trial."""
        # Without a trial of the study: what is left of a finite space takes many draws.
        sampler, nobody = RandomSampler(seed=seed), optuna.trial.create_trial(value=0.0)
        fixed = params_of(self.space, prefix)
        values: Values = {}
        for dimension in self.space.dimensions:
            path = dimension.path
            if not self.space.is_active(dimension, values):
                continue
            if path in fixed:
                values[path] = _value_of(dimension, fixed[path])
            else:
                drawn = sampler.sample_independent(study, nobody, path, self._distributions[path])
                values[path] = _value_of(dimension, drawn)
        return values

    def _suggested(self, trial: Trial) -> Values:
        """The values that a trial of the study is given, those of components first."""
        values: Values = {}
        for dimension in self.space.dimensions:
            if self.space.is_active(dimension, values):
                suggested = _suggest(trial, dimension.path, self._distributions[dimension.path])
                values[dimension.path] = _value_of(dimension, suggested)
        return values

    def _prefixes(self, number: int, passes: Passes) -> _Prefixes:
        """What a proposal may keep of earlier ones; nothing for plain sampling."""
        if self.sampler != "prefix":
            return _Prefixes()
        if not self.known:
            return self._first_prefixes(number)
        known = _worth_telling(self.known)
        weights = self.cuts.weights(known, passes)
        return _Prefixes(weights, {cut: self.cuts.ranked(known, cut, passes) for cut in weights if cut is not None})

    def _first_prefixes(self, number: int) -> _Prefixes:
        """Before any trial has ended, every other proposal keeps all that it can of the default configuration.

        Else each of the first trials would compute every rung of its own, though nothing is known of any.
        """
        first, cuts = min(self._running, default=number), self.cuts.rungs[:-1]
        if not cuts or (number - first) % 2 == 0:
            return _Prefixes()
        running = Known(first, self._running[first], "complete", None, (0.0,) * (cuts[-1] + 1))
        ranked = self.cuts.ranked([running], cuts[-1], _all_pass)
        return _Prefixes({cuts[-1]: 1.0}, {cuts[-1]: ranked}) if ranked else _Prefixes()

    def _current_study(self) -> Study:
        """Optuna's study of the trials that are told and of those that run."""
        if self._study is None:
            optuna.logging.set_verbosity(optuna.logging.ERROR)
            self._study = optuna.create_study(direction="maximize", sampler=RandomSampler(seed=0))
            for known in _worth_telling(self.known):
                if (trial := finished_trial(self.space, known)) is not None:
                    self._study.add_trial(trial)
            for number, values in self._running.items():
                self._enter(self._study, number, values)
        return self._study

    def _enter(self, study: Study, number: int, values: Values) -> None:
        """Have the study take a trial for running that it did not propose itself."""
        if _is_within(self.space, values):
            study.enqueue_trial(params_of(self.space, values))
            self._trials[number] = study.ask()
            self._suggested(self._trials[number])


@dataclass(frozen=True)
class _Prefixes:
    """What proposals of one number may keep of earlier ones; the same for all redraws."""

    weights: Mapping[int | None, float] = field(default_factory=dict)
    """How likely each cut is, None: that nothing is kept; empty for plain sampling."""
    ranked: Mapping[int, Sequence[tuple[int, Values]]] = field(default_factory=dict)
    """For each cut the earlier trials' numbers and what lies before it, the best first."""

    def draw(self, rng: np.random.Generator) -> tuple[str, Values]:
        """What a proposal keeps, and its words; nothing where a cut that keeps nothing was drawn."""
        if not self.weights:
            return "", {}
        cuts = list(self.weights)
        chances = np.array([self.weights[cut] for cut in cuts])
        cut = cuts[int(rng.choice(len(cuts), p=chances / chances.sum()))]
        if cut is None:
            return "", {}
        ranked = self.ranked[cut]
        best = ranked[: -(-len(ranked) // BEST_PREFIXES)]
        number, prefix = best[int(rng.integers(len(best)))]
        return f", prefix of trial {number}", prefix


class _FlatTPE(TPESampler):
    """TPE where every trial has the same options, which Optuna would find out anew from all trials."""

    def __init__(self, distributions: Mapping[str, BaseDistribution], seed: int) -> None:
        super().__init__(seed=seed, n_startup_trials=START)
        # In the order in which Optuna's own search has them: draws depend on it.
        self._own = {path: distributions[path] for path in sorted(distributions) if not distributions[path].single()}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The options that are sampled together: all that have more than one value."""
        return self._own


def finished_trial(space: Space, known: Known) -> FrozenTrial | None:
    """A trial as Optuna keeps it; None where it lies outside of the ranges, as the default configuration may."""
    if not _is_within(space, known.values):
        return None
    state = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}[known.state]
    return optuna.trial.create_trial(
        state=state,
        value=known.score if known.state == "complete" else None,
        params=params_of(space, known.values),
        distributions=distributions_of(space, known.values),
        intermediate_values=dict(enumerate(known.rungs)),
    )


def _is_within(space: Space, values: Values) -> bool:
    """Whether the values lie in the ranges."""
    try:
        params = params_of(space, values)
    except KeyError:
        return False
    distributions = distributions_of(space, values)
    return all(distributions[path]._contains(distributions[path].to_internal_repr(params[path])) for path in params)


class Cuts:
    """Where proposals of one recipe may be cut: what lies before a cut is kept of an earlier trial."""

    def __init__(self, space: Space) -> None:
        steps = {dimension.path: space.step_of(dimension) for dimension in space.dimensions}
        self.rungs = sorted(set(steps.values()))
        """The rungs that some option changes first, in their order."""
        self._before = {cut: {path for path, step in steps.items() if step <= cut} for cut in self.rungs}
        self._space = space
        self._prefixes: dict[tuple[int, int], tuple[str, Values]] = {}
        self._within: dict[str, bool] = {}
        """By a prefix's name: whether it lies in the ranges, as that of the default configuration may not."""

    def weights(self, known: Sequence[Known], passes: Passes = _all_pass) -> dict[int | None, float]:
        """How likely each cut is: after which rung a proposal is drawn anew; None: all of it is.

        Expected gain per remaining second: how much the scores spread among trials that share what lies before the cut
        (where no two of them do: as among all), by the median of what the rungs after it cost.
        """
        most = max((len(each.seconds) for each in known), default=0)
        costs = []
        for rung in range(most):
            # Of a rung that an earlier trial had computed already nothing was paid: that tells no cost.
            paid = [each.seconds[rung] for each in known if len(each.seconds) > rung and each.seconds[rung] > 0]
            costs.append(float(np.median(paid)) if paid else 0.0)
        overall = _spread([[each.score for each in known if each.score is not None]])
        found: dict[int | None, float] = {None: max(overall, LEAST) / max(sum(costs), LEAST)}
        for cut in self.rungs[:-1]:
            if not self.ranked(known, cut, passes):
                continue
            alike: dict[str, list[float]] = {}
            for each in known:
                if each.score is not None:
                    alike.setdefault(self._prefix(each, cut)[0], []).append(each.score)
            shared = [scores for scores in alike.values() if len(scores) > 1]
            within = _spread(shared) if shared else overall
            found[cut] = max(within, LEAST) / max(sum(costs[cut + 1 :]), LEAST)
        return found

    def ranked(self, known: Sequence[Known], cut: int, passes: Passes) -> list[tuple[int, Values]]:
        """The prefixes of earlier trials within the ranges, the best first.

        By the best end that one came to, then by its own rung.
        """
        best: dict[str, tuple[tuple[float, float], int, Values]] = {}
        for each in known:
            if len(each.rungs) <= cut or each.state == "failed" or not passes(cut, each.rungs[cut]):
                continue
            worth = (float("-inf") if each.score is None else each.score, each.rungs[cut])
            name, prefix = self._prefix(each, cut)
            if name not in self._within:
                self._within[name] = _is_within(self._space, prefix)
            if not self._within[name]:
                continue
            if name not in best or worth > best[name][0]:
                best[name] = (worth, each.number, prefix)
        ranked = sorted(best.values(), key=lambda entry: entry[0], reverse=True)
        return [(number, prefix) for _, number, prefix in ranked]

    def name_of(self, values: Values, cut: int) -> str:
        """The same name for the same values before a cut, which is that of any rung."""
        return self._named(values, cut)[0]

    def _prefix(self, known: Known, cut: int) -> tuple[str, Values]:
        place = known.number, cut
        if place not in self._prefixes:
            self._prefixes[place] = self._named(known.values, cut)
        return self._prefixes[place]

    def _named(self, values: Values, cut: int) -> tuple[str, Values]:
        last = max((rung for rung in self.rungs if rung <= cut), default=None)
        before = self._before[last] if last is not None else set()
        prefix = {path: value for path, value in values.items() if path in before}
        return fingerprint(prefix), prefix


def _spread(groups: Sequence[Sequence[float]]) -> float:
    """The standard deviation within groups, over all of them; 0 where no group has two values."""
    squares = sum(float(((np.array(group) - np.mean(group)) ** 2).sum()) for group in groups if len(group) > 1)
    freedom = sum(len(group) - 1 for group in groups if len(group) > 1)
    return float(np.sqrt(squares / freedom)) if freedom else 0.0


def _worth_telling(known: Sequence[Known]) -> list[Known]:
    """All trials; beyond `MANY` the best ones and the latest ones up to the last cut, and all since.

    By the trials alone, so that a search that was killed sees what it would have seen.
    """
    cut = _cut(len(known))
    if not cut:
        return list(known)
    scored = [each for each in known[: cut - LATEST] if each.score is not None]
    best = sorted(scored, key=lambda each: each.score or 0.0, reverse=True)[:BEST]
    kept = {each.number for each in (*best, *known[cut - LATEST :])}
    return [each for each in known if each.number in kept]


def _cut(told: int) -> int:
    """After how many of the trials that are told the others were last forgotten; 0: never."""
    return MANY + (told - MANY) // CUT_EACH * CUT_EACH if told >= MANY else 0


def distributions_of(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """Optuna's distributions of the dimensions that have a value."""
    return {each.path: _distribution(each) for each in space.dimensions if each.path in values}


def params_of(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as Optuna keeps them; KeyError for a choice that there is not."""
    found: dict[str, Any] = {}
    for dimension in space.dimensions:
        if dimension.path in values:
            value = values[dimension.path]
            if dimension.range.choice is not None:
                labels = {fingerprint(each): label for label, each in choice_labels(dimension).items()}
                value = labels[fingerprint(value)]
            found[dimension.path] = value
    return found


def choice_labels(dimension: Dimension) -> dict[Any, Any]:
    """What Optuna calls each choice: plain values are their own names, lists and mappings become text.

    All become text where names would be equal: to Python, and so to Optuna, False is 0 and 1.0 is 1.
    """
    assert dimension.range.choice is not None
    values = dimension.range.choice
    texts = [json.dumps(value, sort_keys=True) for value in values]
    plain = [value is None or isinstance(value, bool | int | float | str) for value in values]
    names = [value if is_plain else text for value, text, is_plain in zip(values, texts, plain, strict=True)]
    return dict(zip(names if len(set(names)) == len(names) else texts, values, strict=True))


def _distribution(dimension: Dimension) -> BaseDistribution:
    written = dimension.range
    if written.choice is not None:
        return CategoricalDistribution(list(choice_labels(dimension)))
    assert written.bounds is not None
    low, high = written.bounds
    if written.is_whole:
        step = int(written.step or 1)
        return IntDistribution(int(low), int(low) + (int(high) - int(low)) // step * step, written.is_log, step)
    if written.step is not None:
        return FloatDistribution(
            low, stepped(low, written.step, int((high - low) / written.step + 1e-9)), False, written.step
        )
    return FloatDistribution(low, high, written.is_log)


def _suggest(trial: Trial, path: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(path, distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step, log = distribution.low, distribution.high, distribution.step, distribution.log
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(path, int(low), int(high), step=distribution.step, log=log)
    return trial.suggest_float(path, low, high, step=step, log=log)


def _value_of(dimension: Dimension, suggested: Any) -> Any:
    """The value as recipes have it."""
    written = dimension.range
    if written.choice is not None:
        return choice_labels(dimension)[suggested]
    if written.step is not None and written.uniform is not None:
        return stepped(written.uniform[0], written.step, round((suggested - written.uniform[0]) / written.step))
    return suggested


def _size(space: Space) -> int | None:
    """How many combinations there are; None where they are endless, or many that depend on what is chosen."""
    counts = [_count(dimension.range) for dimension in space.dimensions]
    if None in counts:
        return None
    most = math.prod(count or 0 for count in counts)
    if space.is_flat:
        return most
    return len(_combinations(space)) if most <= MOST_DEPENDENT else None


def _combinations(space: Space) -> list[Values]:
    """All combinations of a finite space, each with the options that are there with what it chooses."""
    found: list[Values] = [{}]
    for dimension in space.dimensions:
        longer: list[Values] = []
        for values in found:
            if space.is_active(dimension, values):
                longer += [{**values, dimension.path: value} for value in _every_value(dimension)]
            else:
                longer.append(values)
        found = longer
    return found


def _count(written: Range) -> int | None:
    """How many values a range has; None where they are endless."""
    if written.choice is not None:
        return len(written.choice)
    if not written.is_whole and written.step is None:
        return None
    assert written.bounds is not None
    low, high = written.bounds
    return int((high - low) / (written.step or 1) + 1e-9) + 1


def _every_value(dimension: Dimension) -> list[Any]:
    """All values of a range that ends, as recipes have them."""
    written = dimension.range
    if written.choice is not None:
        return list(written.choice)
    assert written.bounds is not None
    low, step = written.bounds[0], written.step or 1
    places = range(_count(written) or 0)
    if written.is_whole:
        return [int(low) + place * int(step) for place in places]
    return [stepped(low, step, place) for place in places]


def _seed(*parts: object) -> int:
    return int(fingerprint(list(map(str, parts)))[:12], 16)
