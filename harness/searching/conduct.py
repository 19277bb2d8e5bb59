"""`seedbed search` as a whole: which recipes with which budget, the run, the findings, and what is left of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.execution.driver import Result
from harness.execution.growing import run_growing
from harness.execution.running import run_suite
from harness.execution.workers import Workers
from harness.reports.gathering import read_row
from harness.searching.outputs import Gap, Gaps, SearchFiles, draw_outputs, write_outputs, write_summary
from harness.searching.search import RecipeSearch, Searches
from harness.searching.space import check_paths, space_of
from harness.searching.trials import Bench
from harness.searching.winner import Finding, finding_of
from harness.stages.numerics import usable_cores
from harness.stages.plugins import read_plugins
from harness.stages.rows import RowIdentity
from harness.store.backends.urls import Location, absolute
from harness.store.layout import search_folder
from harness.store.store import Lost, Store
from harness.suites.search import MOST_TRIALS, Budget
from harness.suites.suite import Suite, load_suite
from results.comparisons import SEARCHED
from settings.errors import UserError, unknown_name
from settings.plugins import plugged_in

__all__ = ["Asked", "Outcome", "Told", "conduct"]

LEAST_PARALLEL = 4
"""Trials under way: more keep slots busy, and know less of each other (`python -m benchmarks.search_simulated`)."""


@dataclass(frozen=True)
class Asked:
    """What the command was asked for, beside the suite."""

    recipes: tuple[str, ...] = ()
    all_recipes: bool = False
    trials: int | None = None
    stage_seconds: float | None = None
    extend: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What a search came to."""

    findings: tuple[Finding, ...]
    gaps: Gaps
    result: Result
    folder: Path

    @property
    def exit_code(self) -> int:
        """0, 1 where a trial failed, 130 when it was stopped."""
        if self.result.interrupted:
            return 130
        trials = [trial for finding in self.findings for trial in finding.search.trials.values()]
        return int(any(trial.state == "failed" for trial in trials))


Told = Callable[[Sequence[RecipeSearch], RecipeSearch], None]
"""Is told after each trial: all searches, and the one whose trial it was."""


def conduct(
    given: str, overrides: Sequence[str], location: Location, workers: Workers, asked: Asked, told: Told
) -> Outcome:
    """Search, or continue a search from what the store has, and write its folder.

    Raises UserError, before any stage is run, for what the user can mend.
    """
    suite = load_suite(given, overrides)
    if suite.search is None:
        raise UserError(given, "no `search:`", "a suite that says which options are searched", "see docs/search.md")
    store = Store.at(absolute(location)).create()
    store.check_writable()
    with plugged_in(read_plugins(suite.plugins)):
        searches = _searches(suite, store, workers, asked)
        feed = Searches(searches, lambda search, _: told(searches, search))
        result = run_growing(feed, suite.name, store, workers, feed.rounds)
        for search in searches:
            search.settle()
        findings = tuple(finding_of(search, store) for search in searches)
    files = SearchFiles(store.root / search_folder(suite.folder_name))
    write_outputs(findings, suite, given, files)
    write_summary(findings, suite, {}, files)
    gaps: Gaps = {}
    if not result.interrupted and not suite.search.objective.is_image_level:
        gaps, result = _gaps(findings, suite, files, location, workers, result)
        write_summary(findings, suite, gaps, files)
    draw_outputs(searches, suite, files)
    store.share(files.folder)
    return Outcome(findings, gaps, result, files.folder)


def _searches(suite: Suite, store: Store, workers: Workers, asked: Asked) -> list[RecipeSearch]:
    assert suite.search is not None
    names = _names(suite, asked)
    check_paths(names, suite)
    bench = Bench(suite)
    parallel = max(LEAST_PARALLEL, 2 * (workers.known_slots or usable_cores()) + 1)
    found = []
    for name in names:
        space = space_of(name, suite)
        search = RecipeSearch(space, bench, store, suite.search, suite.search.budget, parallel)
        search.budget = _budget(suite.search.budget, asked, len(search.trials))
        found.append(search)
    return found


def _names(suite: Suite, asked: Asked) -> list[str]:
    """The recipes that are searched; UserError for unknown ones, and where nobody says which of several."""
    assert suite.search is not None
    if asked.all_recipes and asked.recipes:
        raise UserError("--all", "--recipe beside it", "one of them")
    for name in asked.recipes:
        if name not in suite.recipes:
            raise unknown_name("--recipe", "recipe", name, suite.recipes)
    if asked.all_recipes:
        return list(suite.recipes)
    named = asked.recipes or suite.search.recipes or tuple(suite.recipes)
    if len(named) > 1 and not (asked.recipes or suite.search.recipes):
        expected = f"--recipe with one of {', '.join(suite.recipes)}, or --all"
        raise UserError("seedbed search", f"{len(named)} recipes and none named", expected)
    return list(dict.fromkeys(named))


def _budget(written: Budget, asked: Asked, there: int) -> Budget:
    """The budget of one recipe: what the command says stands for all that the suite says.

    A search that was extended has had more trials than either says: all of them are its budget.
    """
    option, trials = ("--extend", there + asked.extend) if asked.extend is not None else ("--trials", asked.trials)
    if trials is not None and trials > MOST_TRIALS:
        raise UserError(option, f"{trials} trials in all", f"at most {MOST_TRIALS}")
    if asked.extend is not None:
        return Budget(trials=there + asked.extend)
    budget = written
    if asked.trials is not None or asked.stage_seconds is not None:
        budget = Budget(trials=asked.trials, stage_seconds=asked.stage_seconds)
    if budget.trials is None:
        return budget
    return budget.model_copy(update={"trials": max(there, budget.trials)})


def _gaps(
    findings: Sequence[Finding], suite: Suite, files: SearchFiles, location: Location, workers: Workers, result: Result
) -> tuple[Gaps, Result]:
    """Winners and default configurations on what is reported: how much of their scores on dev is left there."""
    assert suite.search is not None
    scored = suite.search.objective.scored
    label = suite.search.setting or next(iter(suite.settings))
    settings = {label: suite.settings[label]}
    written = load_suite(files.winners)
    seeds = {
        name: recipe.model_copy(update={"rng_seeds": _first_seed(written, name, label)})
        for name, recipe in written.recipes.items()
    }
    update = {
        "settings": settings,
        "recipes": seeds,
        "recipes_of": {},
        "rng_seeds_of": {},
        "policies": {"fixed": scored},
        "diagnostics": (),
        "gallery": 0,
        "report": "official",
        "segment": written.segment[:1],
    }
    gaps: dict[tuple[str, bool], Gap] = {}
    with run_suite(written.model_copy(update=update), location, workers) as run:
        store = Store.at(run.location)
        reported: dict[str, tuple[float | None, str]] = {}
        for ref in run.plan.rows:
            stage = run.plan.graph[ref]
            assert isinstance(stage.identity, RowIdentity)
            place = stage.identity.row
            if place.stage == scored and place.policy == "fixed":
                try:
                    reported[place.recipe] = read_row(store, ref).miou, place.split
                except Lost:
                    continue
        for finding in findings:
            name = finding.search.space.name
            for is_winner, recipe, trial in (
                (False, name, finding.default),
                (True, f"{name}{SEARCHED}", finding.winner),
            ):
                if recipe in reported and trial is not None:
                    miou, split = reported[recipe]
                    gaps[name, is_winner] = Gap(trial.score, miou, split)
        result.interrupted |= run.result.interrupted
    return gaps, result


def _first_seed(suite: Suite, recipe: str, setting: str) -> tuple[int, ...]:
    return suite.seeds_of(recipe, setting)[:1]
