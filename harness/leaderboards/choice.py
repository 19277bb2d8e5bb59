"""One line of a suite, chosen by name on the command line, and what its stages made: for who hands that out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.execution.running import Run
from harness.reports.gathering import reason_of
from harness.stages.blueprint import Blueprint
from harness.stages.cue import impossible
from harness.stages.line import Line
from harness.store.layout import Ref
from harness.store.store import Store
from harness.suites.recipes import components_of
from harness.suites.suite import Suite
from settings.errors import UserError, unknown_name

__all__ = ["LineRequest", "line_of", "made_by"]


@dataclass(frozen=True, kw_only=True)
class LineRequest:
    """A recipe, a setting and an rng seed; None stands for the suite's first."""

    recipe: str
    setting: str | None = None
    rng_seed: int | None = None


def line_of(suite: Suite, blueprint: Blueprint, request: LineRequest) -> Line:
    """The line that was asked for, as a run of the suite plans it.

    Raises UserError for unknown names, for an rng seed that the suite does not have, and for a recipe that cannot be
    run under the setting.
    """
    setting = request.setting or next(iter(suite.settings))
    if setting not in suite.settings:
        raise unknown_name("--setting", "setting", setting, suite.settings)
    recipes = suite.all_recipes()
    if request.recipe not in recipes:
        raise unknown_name("--recipe", "recipe", request.recipe, recipes)
    components = components_of(request.recipe, recipes[request.recipe], suite)
    seeds = suite.seeds_of(request.recipe, setting)
    rng_seed = seeds[0] if request.rng_seed is None else request.rng_seed
    if rng_seed not in seeds:
        raise UserError("--rng-seed", str(rng_seed), f"one of {', '.join(map(str, seeds))}")
    source = blueprint.source(setting, suite.settings[setting])
    line = Line(blueprint, source, request.recipe, components, rng_seed)
    if reason := impossible(line):
        raise UserError("--recipe", f"'{request.recipe}' ({reason})", "a recipe that can be run")
    return line


def made_by(run: Run, refs: Sequence[Ref], what: str) -> list[Path]:
    """The folders of stages that a run has finished, in their order; raises UserError for the first that failed."""
    store = Store.at(run.location)
    for ref in refs:
        if not store.has(ref):
            stage = run.plan.graph[ref]
            raise UserError(stage.label, f"no {what} ({reason_of(run, stage)})", "a stage that runs")
    return [store.open(ref).folder for ref in refs]
