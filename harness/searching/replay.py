"""`seedbed search --replay`: samplers and stopping compared on recorded trials, without computing anything.

A replayed search draws from the trials of a table that came to their end, each at most once, and pays what their rungs
cost. TPE is its rule (Bergstra et al. 2011: the ratio of the densities of good and other trials) over the recorded
trials: Optuna's own takes 10 ms and more a proposal, and would propose what nobody has recorded.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from results.metrics.miou import Floats
from results.rungs import LEAST_CORRELATION, check_rung, stops
from results.searches import encoded, options_of, rungs_of, score_column, searched_alone, seconds_column
from results.shown import Table
from settings.errors import UserError

__all__ = ["Recorded", "read_recorded", "replayed", "searched"]

START, FULL = 10, 8
"""As in a search: trials before TPE has a say, and those that nobody may stop."""
REDUCTION = 3.0
GOOD = 0.15
"""The share of trials that TPE takes for good."""
WIDTH = 0.12
"""Of the kernel, in units of an option's range."""
SHARE = 0.5
"""Of all that the recorded trials cost: what one replayed search may spend."""
NEAR = 0.99
Sampler = Literal["random", "tpe"]
LEAST_TRIALS = 12


@dataclass(frozen=True)
class Recorded:
    """The trials of one recipe that came to their end; N trials, R rungs, D options."""

    recipe: str
    scores_NR: Floats
    """At each rung; the last one is the end's."""
    seconds_NR: Floats
    places_ND: Floats
    """The options' values by rank, in [0, 1]."""


@dataclass(frozen=True)
class Replayed:
    """What one replayed search came to."""

    best: float
    trials: int
    seconds_to_near: float
    """Until a trial had 99 % of the best recorded score; infinite where none had."""


def replayed(path: Path, searches: int) -> Table:
    """A table with a line a recipe, sampler and stopping, each from its share of so many replayed searches.

    Raises UserError for a file that is no table of trials, or has fewer than twelve that came to their end.
    """
    arms: list[tuple[Sampler, bool]] = [(sampler, asha) for sampler in ("random", "tpe") for asha in (False, True)]
    found = [(recorded, arm) for recorded in read_recorded(path) for arm in arms]
    repeats = max(1, searches // len(found))
    lines = []
    for recorded, (sampler, asha) in found:
        runs = [searched(recorded, sampler, asha, rng_seed) for rng_seed in range(repeats)]
        best = np.array([run.best for run in runs])
        near = np.array([run.seconds_to_near for run in runs])
        came = np.isfinite(near)
        median = f"{np.median(near):.1f}" if came.mean() > 0.5 else "–"
        regret = recorded.scores_NR[:, -1].max() - best
        line = (
            *(recorded.recipe, sampler, "asha" if asha else "none", str(repeats)),
            *(f"{np.mean([run.trials for run in runs]):.1f}", f"{best.mean():.4f}", f"{regret.mean():.4f}"),
            *(f"{came.mean():.0%}", median),
        )
        lines.append(line)
    columns = (
        *("recipe", "sampler", "stopping", "searches", "trials begun", "best", "regret", f"came to {NEAR:.0%}"),
        "stage-seconds to it (median)",
    )
    note = (
        f"Each search draws from the recorded trials and may spend {SHARE:.0%} of what all of them cost without "
        "sharing; regret: the best recorded score less the best that was found."
    )
    return Table(f"replay of {path.name}", columns, tuple(lines), (note,))


def read_recorded(path: Path) -> list[Recorded]:
    """The trials of a search's `trials.csv` that came to their end, recipe by recipe."""
    try:
        table = pd.read_csv(path)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(path, f"an unreadable table ({error})", "trials.csv of a search") from None
    missing = {"recipe", "trial", "state", "origin", "score"} - set(table.columns)
    missing |= {seconds_column(rung) for rung in rungs_of(table)} - set(table.columns)
    if missing or not rungs_of(table):
        raise UserError(path, f"no column {', '.join(sorted(missing)) or 'of a rung'}", "trials.csv of a search")
    found = []
    for recipe, trials in table.groupby("recipe", sort=False):
        ended = searched_alone(trials[(trials["state"] == "complete") & trials["score"].notna()])
        rungs = [rung for rung in rungs_of(table) if ended[score_column(rung)].notna().all()]
        if len(ended) < LEAST_TRIALS or not rungs:
            mend = "search with `stopping: none`, so that trials come to their end"
            found_text = f"{len(ended)} trials of {recipe} that came to their end"
            raise UserError(path, found_text, f"at least {LEAST_TRIALS}", mend)
        seconds = _numbers(path, ended, [seconds_column(rung) for rung in rungs])
        if not (seconds >= 0).all() or not seconds.any():
            found_text = "seconds below 0" if seconds.any() else "no seconds: every stage was in the store already"
            raise UserError(path, found_text, "trials with what their stages took")
        # What was shared cost nothing when it was recorded: it is replayed at what such a rung usually costs.
        for place in range(len(rungs)):
            paid = seconds[seconds[:, place] > 0, place]
            seconds[seconds[:, place] <= 0, place] = np.median(paid) if len(paid) else 0.0
        options = [option for option in options_of(table) if ended[option].nunique() > 1]
        places = [_by_rank(encoded(ended[option])) for option in options]
        scores = _numbers(path, ended, [score_column(rung) for rung in rungs])
        places_ND = np.stack(places, axis=1) if places else np.zeros((len(ended), 0))
        found.append(Recorded(str(recipe), scores, seconds, places_ND))
    if not found:
        raise UserError(path, "no trial of any recipe", "trials.csv of a search")
    return found


def _numbers(path: Path, table: pd.DataFrame, columns: list[str]) -> Floats:
    """The columns as an array of its own; UserError for what is no number, or not a finite one."""
    numbers: Floats = table[columns].apply(pd.to_numeric, errors="coerce").to_numpy(float, copy=True)
    wrong = np.argwhere(~np.isfinite(numbers))
    if len(wrong):
        line, column = wrong[0]
        found = f"'{table[columns].iloc[line, column]}' in column '{columns[column]}'"
        raise UserError(path, found, "a finite number", "trials.csv of a search")
    return numbers


def searched(recorded: Recorded, sampler: Sampler, asha: bool, rng_seed: int) -> Replayed:
    """One search over the recorded trials."""
    rng = np.random.default_rng(rng_seed)
    count, rungs = recorded.scores_NR.shape
    budget = SHARE * float(recorded.seconds_NR.sum())
    target = NEAR * float(recorded.scores_NR[:, -1].max())
    # The densities of all pairs once: a search asks for sums of them.
    kernel_NN = _kernel(recorded.places_ND) if sampler == "tpe" else np.zeros((0, 0))
    left = np.ones(count, bool)
    told: list[int] = []
    ends: list[float] = []
    at_rung: list[list[float]] = [[] for _ in range(rungs)]
    judges: list[int] = []
    is_on = [False] * rungs
    spent, best, near = 0.0, float("-inf"), float("inf")
    for number in itertools.count():
        if spent >= budget or not left.any():
            break
        trial = _next(rng, left, told, ends, kernel_NN, sampler)
        left[trial] = False
        may_stop = asha and number >= FULL and number % FULL != 0
        reached = rungs - 1
        for rung in range(rungs):
            spent += float(recorded.seconds_NR[trial, rung])
            score = float(recorded.scores_NR[trial, rung])
            peers = at_rung[rung]
            if rung < rungs - 1 and may_stop and is_on[rung] and stops(score, peers, REDUCTION):
                reached = rung
            peers.append(score)
            if reached == rung:
                break
        if reached < rungs - 1:
            continue
        if asha and not may_stop:
            judges.append(trial)
            is_on = [_is_on(recorded, judges, rung) for rung in range(rungs)]
        told.append(trial)
        ends.append(float(recorded.scores_NR[trial, -1]))
        best = max(best, ends[-1])
        if best >= target and near == float("inf"):
            near = spent
    return Replayed(best, count - int(left.sum()), near)


def _is_on(recorded: Recorded, judges: list[int], rung: int) -> bool:
    scores, ends = recorded.scores_NR[judges, rung], recorded.scores_NR[judges, -1]
    return check_rung("", scores.tolist(), ends.tolist(), REDUCTION).correlation >= LEAST_CORRELATION


def _next(
    rng: np.random.Generator,
    left: NDArray[np.bool_],
    told: list[int],
    ends: list[float],
    kernel_NN: Floats,
    sampler: Sampler,
) -> int:
    """The next recorded trial: any, or the one among a few where good trials are dense and others are not."""
    open_trials = np.flatnonzero(left)
    if sampler == "random" or len(told) < START:
        return int(rng.choice(open_trials))
    order = np.argsort(ends)[::-1]
    good = max(1, round(GOOD * len(told)))
    ranked = np.array(told)[order]
    few = rng.choice(open_trials, size=min(24, len(open_trials)), replace=False)
    ratio = kernel_NN[np.ix_(few, ranked[:good])].mean(axis=1) / (
        kernel_NN[np.ix_(few, ranked[good:])].mean(axis=1) + 1e-9
    )
    return int(few[int(np.argmax(ratio))])


def _kernel(places_ND: Floats) -> Floats:
    squares_NN = ((places_ND[:, None] - places_ND[None]) ** 2).sum(axis=2)
    kernel: Floats = np.exp(-squares_NN / (2 * WIDTH**2))
    return kernel


def _by_rank(values: Floats) -> Floats:
    """Equal values share a place, the lowest is 0 and the highest 1."""
    known, places = np.unique(values, return_inverse=True)
    ranks: Floats = places / max(len(known) - 1, 1)
    return ranks
