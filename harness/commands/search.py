"""The verb `seedbed search`: hyperparameter search that computes no stage twice."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.options import DEFAULT_STORE, AddressOption, JsonOption, SetOption, StoreOption, refuse_options
from harness.commands.run import print_tables
from harness.execution import ExecutorName
from settings.errors import UserError

if TYPE_CHECKING:
    from harness.searching.search import RecipeSearch

__all__ = ["search"]

PLAIN_INTERVAL_S = 10.0


def search(
    suite: Annotated[str, typer.Argument(help="a ready suite's name, or a YAML file; none beside --replay")] = "",
    recipe: Annotated[list[str] | None, typer.Option(help="the recipe to search; may be given again")] = None,
    all_: Annotated[bool, typer.Option("--all", help="every recipe, each with the whole budget")] = False,
    trials: Annotated[int | None, typer.Option(min=1, help="instead of the suite's budget")] = None,
    stage_seconds: Annotated[float | None, typer.Option(help="instead of the suite's budget")] = None,
    extend: Annotated[int | None, typer.Option(min=1, help="so many trials more than there are")] = None,
    replay: Annotated[
        Path | None, typer.Option(help="a table of trials (trials.csv): compare samplers and stopping on it")
    ] = None,
    searches: Annotated[int, typer.Option(min=1, help="how many searches --replay repeats in all")] = 1000,
    set_: SetOption = None,
    store: StoreOption = DEFAULT_STORE,
    executor: Annotated[
        ExecutorName | None, typer.Option(help="this process alone, or Ray workers; default: ray")
    ] = None,
    slots: Annotated[int | None, typer.Option(min=1, help="compute threads at once; default: all cores")] = None,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search the options that a suite's `search:` names, on dev. Killed at any moment, it continues where it was."""
    if replay is not None:
        given: dict[str, object] = {"SUITE": suite or None, "--all": all_ or None, "--set": set_ or None}
        given |= {"--recipe": recipe, "--trials": trials, "--stage-seconds": stage_seconds, "--extend": extend}
        refuse_options(given, "--replay beside it", "one of them")
        _replay(replay, searches, as_json)
        return
    if not suite:
        raise UserError("SUITE", "nothing", "a ready suite's name or a YAML file, or --replay TABLE")
    if stage_seconds is not None and not 0 < stage_seconds < float("inf"):
        raise UserError("--stage-seconds", f"{stage_seconds:g}", "a number above 0")
    if extend is not None:
        refuse_options({"--trials": trials, "--stage-seconds": stage_seconds}, "--extend beside it", "one of them")
    from harness.execution.workers import Workers
    from harness.searching.extra import check_optuna

    check_optuna()
    from harness.searching.conduct import Asked, conduct
    from harness.searching.outputs import summary, to_json

    asked = Asked(tuple(recipe or ()), all_, trials, stage_seconds, extend)
    progress = _Progress()
    outcome = conduct(suite, set_ or [], store, Workers(executor, slots, address), asked, progress)
    progress.end()
    if as_json:
        typer.echo(json.dumps(to_json(outcome.findings, outcome.gaps, outcome.folder), indent=1))
    else:
        print_tables(summary(outcome.findings, outcome.gaps))
    if outcome.result.interrupted:
        typer.echo("stopped; search again to continue", err=True)
    typer.echo(f"\n{outcome.folder}", err=True)
    raise typer.Exit(outcome.exit_code)


def _replay(table: Path, searches: int, as_json: bool) -> None:
    from harness.searching.replay import replayed

    found = replayed(table, searches)
    if as_json:
        typer.echo(json.dumps([dict(zip(found.columns, line, strict=True)) for line in found.lines], indent=1))
    else:
        print_tables([found])


class _Progress:
    """One line on standard error that tells how the search goes: replaced on a terminal, now and then elsewhere."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._last = 0.0

    def __call__(self, searches: Sequence[RecipeSearch], current: RecipeSearch) -> None:
        """A trial has ended."""
        now = time.monotonic()
        interval = 0.1 if self._is_terminal else PLAIN_INTERVAL_S
        if now - self._last < interval:
            return
        self._last = now
        line = progress_line(current)
        if self._is_terminal:
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()
        else:
            typer.echo(line, err=True)

    def end(self) -> None:
        """The search is over."""
        if self._is_terminal:
            sys.stderr.write("\r\x1b[K")


def progress_line(search: RecipeSearch) -> str:
    """How the search of a recipe goes: trials, the best one, what was stopped, what is left of the budget."""
    states = [trial.state for trial in search.trials.values()]
    words = [f"{search.space.name}: {len(states)} trials"]
    if search.best is not None:
        words.append(f"best {search.best.score:.4f} (trial {search.best.number})")
    words.append(f"{states.count('stopped')} stopped")
    if "failed" in states:
        words.append(f"{states.count('failed')} failed")
    budget = search.budget
    if budget.trials is not None:
        words.append(f"{max(budget.trials - len(states), 0)} trials left")
    if budget.stage_seconds is not None:
        words.append(f"{max(budget.stage_seconds - search.spent, 0):.0f} stage-seconds left")
    if budget.hours is not None:
        words.append(f"{max(budget.hours - search.hours, 0):.2f} hours left")
    return " · ".join(words)
