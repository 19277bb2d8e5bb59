"""Which values the next trial has: by Optuna (TPE, random), and prefix-aware, which keeps stages that exist.

Optuna proposes by ask and tell, and not through Tune's `OptunaSearch`: that tells Optuna of stopped trials as if they
had come to their end, and leaves a trial whose score is nan running for ever.

A proposal depends on the trials that are told, on the values of those that run, and on its number; on no clock. So a
search that was killed proposes the same trials again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from harness.searching.space import Dimension, Space, Values, stepped
from settings.records import fingerprint

__all__ = ["Cuts", "Known", "Passes", "Proposal", "Proposer", "State", "choice_labels", "finished_trial"]

State = Literal["complete", "stopped", "failed"]
START = 10
"""Trials that are drawn at random before TPE has seen enough; Optuna's own number."""
REDRAWS = 20
"""How often a proposal is drawn anew that equals an earlier one."""
SAMPLED_REDRAWS = 1
"""How often by the sampler itself, which comes back to what it holds for best; then evenly: that finds what is left."""
MOST_TOLD, KEPT, BEST_KEPT = 250, 120, 40
"""TPE takes ever longer the more trials it sees: beyond the first number it sees the best ones and the latest ones."""
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
        self._size = _size(self.space)
        self._study: Study | None = None
        self._trials: dict[int, Trial] = {}
        """Those of the study that run, by our numbers."""

    @property
    def is_exhausted(self) -> bool:
        """Whether every combination of a finite space was proposed."""
        return self._size is not None and len(self._seen) >= self._size

    def propose(self, number: int, passes: Passes = _all_pass) -> Proposal:
        """The values of the trial of this number, others than those before where the space has others.

        `passes` says of a rung and a score whether a trial that comes to it goes on: no other prefix is kept.
        """
        study = self._current_study()
        for redraw in range(REDRAWS):
            rng = np.random.default_rng(_seed(self.rng_seed, self.space.name, number, redraw))
            evenly = redraw > SAMPLED_REDRAWS or self.sampler == "random" or len(self.known) < START
            kept, prefix = self._prefix(rng, passes)
            study.sampler = self._sampler(rng, evenly)
            if prefix:
                study.enqueue_trial(params_of(self.space, prefix))
            trial = study.ask()
            values = self._suggested(trial)
            if fingerprint(values) not in self._seen or redraw == REDRAWS - 1:
                break
            study.tell(trial, state=TrialState.FAIL)
        self._seen.add(fingerprint(values))
        self._running[number], self._trials[number] = values, trial
        return Proposal(number, values, ("random" if evenly else "tpe") + kept)

    def begin(self, number: int, values: Values) -> None:
        """A trial with these values is under way, or was recorded: none with the same values is proposed again."""
        self._seen.add(fingerprint(values))
        self._running[number] = values
        if self._study is not None:
            self._enter(self._study, number, values)

    def tell(self, known: Known) -> None:
        """A trial has come to an end."""
        self.known.append(known)
        del self._running[known.number]
        trial = self._trials.pop(known.number, None)
        if self._study is None or trial is None:
            return
        if len(self._study.get_trials(deepcopy=False)) > MOST_TOLD:
            self._study = None
        elif known.state == "complete":
            self._study.tell(trial, known.score)
        elif known.state == "failed":
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            # Told as stopped, with the scores of its rungs: Optuna ranks these below those that came to their end.
            for step, score in enumerate(known.rungs):
                trial.report(score, step)
            self._study.tell(trial, state=TrialState.PRUNED)

    def _sampler(self, rng: np.random.Generator, evenly: bool) -> BaseSampler:
        """Optuna's sampler for one proposal."""
        seed = int(rng.integers(2**31))
        if evenly:
            return RandomSampler(seed=seed)
        return TPESampler(seed=seed, n_startup_trials=START)

    def _suggested(self, trial: Trial) -> Values:
        """The values that a trial of the study is given, those of components first."""
        values: Values = {}
        for dimension in self.space.dimensions:
            if self.space.is_active(dimension, values):
                values[dimension.path] = _value_of(dimension, _suggest(trial, dimension))
        return values

    def _prefix(self, rng: np.random.Generator, passes: Passes) -> tuple[str, Values]:
        """What the proposal keeps of an earlier one, and its words; nothing for plain sampling, or where none pays."""
        if self.sampler != "prefix":
            return "", {}
        known = _worth_telling(self.known)
        weights = self.cuts.weights(known, passes)
        cuts = list(weights)
        chances = np.array([weights[cut] for cut in cuts])
        cut = cuts[int(rng.choice(len(cuts), p=chances / chances.sum()))]
        if cut is None:
            return "", {}
        ranked = self.cuts.ranked(known, cut, passes)
        best = ranked[: -(-len(ranked) // BEST_PREFIXES)]
        number, prefix = best[int(rng.integers(len(best)))]
        return f", prefix of trial {number}", prefix

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
        self._prefixes: dict[tuple[int, int], tuple[str, Values]] = {}

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
        """The prefixes of earlier trials, the best first: by the best end that one came to, then by its own rung."""
        best: dict[str, tuple[tuple[float, float], int, Values]] = {}
        for each in known:
            if len(each.rungs) <= cut or each.state == "failed" or not passes(cut, each.rungs[cut]):
                continue
            worth = (float("-inf") if each.score is None else each.score, each.rungs[cut])
            name, prefix = self._prefix(each, cut)
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
    """All trials, or of very many the best ones and the latest ones."""
    if len(known) <= KEPT:
        return list(known)
    scored = [each for each in known[: -(KEPT - BEST_KEPT)] if each.score is not None]
    best = sorted(scored, key=lambda each: each.score or 0.0, reverse=True)[:BEST_KEPT]
    kept = {each.number for each in (*best, *known[-(KEPT - BEST_KEPT) :])}
    return [each for each in known if each.number in kept]


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


def _suggest(trial: Trial, dimension: Dimension) -> Any:
    distribution, path = _distribution(dimension), dimension.path
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
    """How many combinations there are; None where they are endless, or depend on what is chosen."""
    if not space.is_flat:
        return None
    size = 1
    for dimension in space.dimensions:
        written = dimension.range
        if written.choice is not None:
            size *= len(written.choice)
        elif written.is_whole or written.step is not None:
            assert written.bounds is not None
            low, high = written.bounds
            size *= int((high - low) / (written.step or 1) + 1e-9) + 1
        else:
            return None
    return size


def _seed(*parts: object) -> int:
    return int(fingerprint(list(map(str, parts)))[:12], 16)
