"""What a search leaves in its folder: table of trials, summary, plots, journal, and the winners as a suite."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.searching.journal import write_journal
from harness.searching.records import Trial
from harness.searching.search import RecipeSearch
from harness.searching.space import Dimension, label_within
from harness.searching.winner import Finding, masks_text, recipe_suite
from harness.suites.suite import Suite
from results.rungs import RungCheck
from results.search_plots import draw_best, draw_importances, draw_parallel, draw_rungs, save
from results.searches import FIXED_COLUMNS, importances, options_of, score_column, seconds_column
from results.shown import Table
from settings.files import write_bytes

__all__ = [
    *("Gap", "Gaps", "SearchFiles", "draw_outputs", "summary", "to_json", "trial_table", "write_outputs"),
    "write_summary",
]

MEASURES = {
    "pseudo_labels": "mIoU of pseudo labels",
    "segmentation": "mIoU of segmentation",
    "image_level": "classifier mAP",
}
MOST_LINES = 15
"""Trials that the summary shows of each recipe; the CSV has all of them."""


@dataclass(frozen=True)
class Gap:
    """The score of a configuration on dev, where it was chosen, and on what is reported."""

    dev: float | None
    reported: float | None
    split: str = ""

    def to_text(self) -> str:
        """`0.4312 − 0.4105 = +0.0207`; a dash where one of them is not there."""
        if self.dev is None or self.reported is None:
            return "–"
        return f"{self.dev:.4f} − {self.reported:.4f} = {self.dev - self.reported:+.4f}"


Gaps = Mapping[tuple[str, bool], Gap]
"""By recipe; True: of the winner, False: of the default configuration."""


class SearchFiles:
    """The files of a search's folder, by what they hold."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trials = folder / "trials.csv"
        self.summary = folder / "summary.md"
        self.winners = folder / "winners.yaml"
        self.journal = folder / "optuna.log"
        self.best = folder / "best-so-far"
        self.importances = folder / "importances"
        self.rungs = folder / "rungs"

    def parallel(self, recipe: str) -> Path:
        """The parallel coordinates of a recipe's trials, without ending."""
        return self.folder / f"parallel-coordinates-{recipe}"


def write_outputs(findings: Sequence[Finding], suite: Suite, given: str, files: SearchFiles) -> None:
    """Write the table of trials, the journal and the winners anew; `given` is what the command was called with."""
    searches = [finding.search for finding in findings]
    files.folder.mkdir(parents=True, exist_ok=True)
    write_bytes(files.trials, _as_csv(trial_table(searches)).encode())
    write_bytes(files.winners, recipe_suite(list(findings), suite, given).encode())
    write_journal(searches, files.journal)


def write_summary(findings: Sequence[Finding], suite: Suite, gaps: Gaps, files: SearchFiles) -> None:
    """Write anew what the search came to."""
    text = "\n\n".join(part.to_markdown() for part in summary(findings, gaps))
    write_bytes(files.summary, f"# Search of {suite.folder_name}\n\n{text}\n".encode())


def draw_outputs(searches: Sequence[RecipeSearch], suite: Suite, files: SearchFiles) -> None:
    """Draw the plots of a search anew; nothing where no trial has ended."""
    table = trial_table(searches)
    if table.empty:
        return
    assert suite.search is not None
    measure = MEASURES[suite.search.objective.scored]
    shown = table.copy()
    dimensions = {(search.space.name, each.path): each for search in searches for each in search.space.dimensions}
    for option in options_of(table):
        pairs = zip(table["recipe"], table[option], strict=True)
        shown[option] = pd.Series(
            [_shown(dimensions.get((recipe, option)), value) for recipe, value in pairs], table.index
        )
    save(draw_best(shown, measure), files.best)
    save(draw_importances(shown), files.importances)
    save(draw_rungs(shown, {search.space.name: search.checks() for search in searches}, measure), files.rungs)
    for search in searches:
        logarithmic = {each.path: each.range.is_log for each in search.space.dimensions}
        own = shown[shown["recipe"] == search.space.name]
        save(draw_parallel(own, logarithmic, measure), files.parallel(search.space.name))


def trial_table(searches: Sequence[RecipeSearch]) -> pd.DataFrame:
    """The trials of all recipes, a line each, with the columns of `results.searches`."""
    rungs: dict[str, None] = {}
    options: dict[str, None] = {}
    for search in searches:
        options |= dict.fromkeys(each.path for each in search.space.dimensions)
        for trial in search.trials.values():
            rungs |= dict.fromkeys(rung.name for rung in trial.rungs)
    lines = [_line(search, trial, rungs, options) for search in searches for trial in search.trials.values()]
    columns = [*FIXED_COLUMNS, *map(score_column, rungs), *map(seconds_column, rungs), *options]
    return pd.DataFrame(lines, columns=columns)


def _line(search: RecipeSearch, trial: Trial, rungs: Mapping[str, None], options: Mapping[str, None]) -> dict[str, Any]:
    line: dict[str, Any] = {
        "recipe": search.space.name,
        "trial": trial.number,
        "state": trial.state,
        "origin": trial.origin,
        "score": trial.score,
        "threshold": trial.threshold,
        "spent": trial.spent,
        "seconds": sum(rung.seconds or 0.0 for rung in trial.rungs),
        "reason": trial.reason,
    }
    reached = {rung.name: rung for rung in trial.rungs}
    for name in rungs:
        line[score_column(name)] = reached[name].score if name in reached else None
        line[seconds_column(name)] = reached[name].seconds if name in reached else None
    return line | {path: trial.values.get(path) for path in options}


def _as_csv(table: pd.DataFrame) -> str:
    written = table.copy()
    for option in options_of(table):
        written[option] = written[option].map(
            lambda value: json.dumps(value) if isinstance(value, dict | list) else value
        )
    return written.to_csv(index=False, lineterminator="\n")


def _shown(dimension: Dimension | None, value: Any) -> Any:
    """A value for plots: numbers as they are, anything else as text; None where the recipe has no such option."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if dimension is None or value is None or is_number:
        return value
    return label_within(dimension, value)


def summary(findings: Sequence[Finding], gaps: Gaps) -> list[Table]:
    """What the search came to, how well its rungs predict the end, which options mattered, and the best trials."""
    searches = [finding.search for finding in findings]
    table = trial_table(searches)
    found = [_outcome(findings, gaps), _rungs(searches)]
    shares = _importances(table)
    if shares is not None:
        found.append(shares)
    for search in searches:
        found.append(_best_trials(search))
    return found


def _outcome(findings: Sequence[Finding], gaps: Gaps) -> Table:
    columns = (
        *("recipe", "budget", "trials", "stopped", "failed", "stage-seconds", "default", "best", "difference on dev"),
        *("verdict", "winner", "default: dev − reported", "winner: dev − reported"),
    )
    lines = []
    for finding in findings:
        search = finding.search
        states = [trial.state for trial in search.trials.values()]
        difference = verdict = "–"
        if finding.difference is not None:
            one = finding.difference
            difference, verdict = f"{one.mean:+.4f} [{one.low:+.4f}, {one.high:+.4f}]", one.verdict
        winner = "–" if finding.winner is None else f"trial {finding.winner.number}"
        name = search.space.name
        line = (
            *(name, _budget(search), str(len(states)), str(states.count("stopped")), str(states.count("failed"))),
            *(f"{search.spent:.1f}", _score(finding.default), _score(finding.best), difference, verdict),
            *("default" if finding.is_default else winner, _gap(gaps, name, False), _gap(gaps, name, True)),
        )
        lines.append(line)
    notes = [finding.to_text() for finding in findings]
    chosen = masks_text(findings[0])
    notes.append(
        f"Scores on dev are of {chosen}, on which the best trial was chosen: dev − reported tells how much too high."
    )
    return Table("outcome", columns, tuple(lines), tuple(notes))


def _rungs(searches: Sequence[RecipeSearch]) -> Table:
    lines = []
    for search in searches:
        for check in search.checks():
            lines.append((search.space.name, check.name, str(check.trials), *_told(check)))
    note = "From trials that nobody may stop (the first 8, then every 8th); a rung below 0.6 stops nobody."
    columns = ("recipe", "rung", "trials", "rank correlation with the end", "false kills", "stops trials")
    return Table("rungs", columns, tuple(lines) or (("–",) * 6,), (note,))


def _told(check: RungCheck) -> tuple[str, str, str]:
    if check.correlation != check.correlation:
        return "–", "–", "no"
    return f"{check.correlation:.2f}", f"{check.false_kills:.0%}", "yes" if check.is_on else "no"


def _importances(table: pd.DataFrame) -> Table | None:
    options = options_of(table)
    lines = []
    for recipe, trials in table.groupby("recipe", sort=False):
        for option, share in importances(trials, options).items():
            lines.append((str(recipe), option, f"{share:.0%}"))
    if not lines:
        return None
    note = (
        "By permutation in a forest of regression trees, from all trials that came to their end: "
        "these do not fill the ranges evenly."
    )
    return Table("importances", ("recipe", "option", "share of the scores' variance"), tuple(lines), (note,))


def _best_trials(search: RecipeSearch) -> Table:
    dimensions = search.space.dimensions
    options = [each.path for each in dimensions]
    columns = ("trial", "state", "score", "threshold", "stage-seconds", "origin", *options)
    ended = sorted(search.trials.values(), key=lambda trial: (-(trial.score or -1.0), trial.number))
    lines = []
    for trial in ended[:MOST_LINES]:
        values = [
            label_within(each, trial.values[each.path]) if each.path in trial.values else "–" for each in dimensions
        ]
        threshold = "–" if trial.threshold is None else f"{trial.threshold:.2f}"
        lines.append(
            (str(trial.number), trial.state, _score(trial), threshold, f"{trial.spent:.1f}", trial.origin, *values)
        )
    reasons = {trial.reason: None for trial in ended if trial.state == "failed"}
    notes = [f"failed: {reason}" for reason in list(reasons)[:5]]
    if len(ended) > MOST_LINES:
        notes.append(f"the best {MOST_LINES} of {len(ended)} trials; all are in trials.csv")
    return Table(f"trials of {search.space.name}", columns, tuple(lines), tuple(notes))


def _score(trial: Trial | None) -> str:
    return "–" if trial is None or trial.score is None else f"{trial.score:.4f}"


def _gap(gaps: Gaps, recipe: str, is_winner: bool) -> str:
    return gaps[recipe, is_winner].to_text() if (recipe, is_winner) in gaps else "–"


def _budget(search: RecipeSearch) -> str:
    budget = search.budget
    words = []
    if budget.trials is not None:
        words.append(f"{budget.trials} trials")
    if budget.stage_seconds is not None:
        words.append(f"{budget.stage_seconds:g} stage-seconds")
    if budget.hours is not None:
        words.append(f"{budget.hours:g} hours")
    return ", ".join(words)


def to_json(findings: Sequence[Finding], gaps: Gaps, folder: Path) -> dict[str, Any]:
    """What a search came to, in plain types."""
    found = []
    for finding in findings:
        search, difference = finding.search, finding.difference
        states = [trial.state for trial in search.trials.values()]
        winner = finding.winner
        found.append(
            {
                "recipe": search.space.name,
                "budget": _budget(search),
                "trials": len(states),
                "stopped": states.count("stopped"),
                "failed": states.count("failed"),
                "stage_seconds": round(search.spent, 3),
                "default": finding.default.score if finding.default else None,
                "best": finding.best.score if finding.best else None,
                "best_trial": finding.best.number if finding.best else None,
                "difference": [difference.mean, difference.low, difference.high] if difference else None,
                "verdict": difference.verdict if difference else None,
                "winner": winner.number if winner else None,
                "values": winner.values if winner else None,
                "threshold": winner.threshold if winner else None,
                "reported": {
                    "default": _reported(gaps, search.space.name, False),
                    "winner": _reported(gaps, search.space.name, True),
                },
                "rungs": [_check(check) for check in search.checks()],
            }
        )
    return {"folder": str(folder), "recipes": found}


def _check(check: RungCheck) -> dict[str, Any]:
    """A rung's check in JSON's types, which has no nan."""
    known = {name: None if value != value else value for name, value in vars(check).items()}
    return {**known, "is_on": check.is_on}


def _reported(gaps: Gaps, recipe: str, is_winner: bool) -> float | None:
    gap = gaps.get((recipe, is_winner))
    return gap.reported if gap else None
