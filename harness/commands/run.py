"""The verbs of running: `seedbed plan`, `run`, `report`, `status`, `logs` and `stage`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.commands.options import (
    DEFAULT_STORE,
    AddressOption,
    JsonOption,
    SetOption,
    StoreOption,
    SuiteArgument,
    refuse_options,
)
from harness.execution import ExecutorName, Packages
from settings.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from harness.searching.bound import Bound
    from results.shown import Table

ReportFormat = Literal["html", "md", "latex"]

__all__ = ["logs", "plan", "print_tables", "report", "run", "stage", "status"]


def plan(
    suite: SuiteArgument,
    set_: SetOption = None,
    store: StoreOption = DEFAULT_STORE,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the stages of a suite: what is done, what is to do, what it will cost. Nothing is run."""
    from harness.reports.estimate import estimate
    from harness.suites.suite import load_suite

    planned = load_suite(suite, set_ or [])
    shown = estimate(planned, store, address)
    bounds: list[Bound] = []
    if planned.search is not None:
        from harness.searching.bound import bounds_of

        bounds = bounds_of(planned, store)
    if as_json:
        content = shown.to_json()
        if bounds:
            content["search"] = [{**vars(bound), "most": bound.most} for bound in bounds]
        typer.echo(json.dumps(content, indent=1))
        return
    typer.echo(shown.to_text())
    for bound in bounds:
        typer.echo(bound.to_text())


def run(
    suite: SuiteArgument,
    set_: SetOption = None,
    store: StoreOption = DEFAULT_STORE,
    executor: Annotated[
        ExecutorName | None, typer.Option(help="this process alone, or Ray workers; default: ray")
    ] = None,
    slots: Annotated[int | None, typer.Option(min=1, help="compute threads at once; default: all cores")] = None,
    address: AddressOption = None,
    packages: Annotated[
        Packages,
        typer.Option(help="on the cluster's nodes: those installed there, or this machine's versions, installed first"),
    ] = "installed",
    output: Annotated[
        Path | None, typer.Option(help="the leaderboard's folder; default STORE/leaderboards/SUITE")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="make again what other sources than today's made, and all that came of it")
    ] = False,
) -> None:
    """Run what is missing of a suite, then print its tables. Killed at any moment, it continues where it was.

    On the way, provisional tables: setting by setting with the first rng seed, then rng seed by rng seed.
    """
    from harness.execution.workers import Workers
    from harness.reports.leaderboard import run_and_gather
    from harness.suites.suite import load_suite

    workers = Workers(executor, slots, address, packages)
    outcome = run_and_gather(load_suite(suite, set_ or []), store, workers, output, shown=True, strict=strict)
    if not outcome.run.result.interrupted:
        print_tables([*outcome.board.tables, *outcome.board.grid_tables])
        for note in outcome.board.notes:
            typer.echo(note)
    # On standard error: a file that takes the output holds tables alone.
    typer.echo(f"\n{outcome.summary()}", err=True)
    for line in outcome.user_errors():
        typer.echo(f"seedbed: {line}", err=True)
    raise typer.Exit(outcome.exit_code)


def report(
    what: Annotated[
        list[str] | None,
        typer.Argument(help="suites that were run, stores, or leaderboards' folders; default: all of --store"),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    output: Annotated[
        Path | None, typer.Option(help="one file for all of them; default: report.html in each leaderboard's folder")
    ] = None,
    format_: Annotated[
        ReportFormat, typer.Option("--format", help="a page, or the tables as Markdown or LaTeX")
    ] = "html",
    outlines: Annotated[
        bool, typer.Option("--outlines", help="no photos of others, but their outlines: for pages that are given away")
    ] = False,
    trace: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE[@SETTING]", help="print the stored counts that a line's numbers come from, and nothing else"
        ),
    ] = None,
    intervals: Annotated[
        bool, typer.Option("--intervals/--no-intervals", help="whether LaTeX tables have a column of 95 % intervals")
    ] = True,
) -> None:
    """Make leaderboards' tables anew from the rows and counts in their folders, and a page to look at; nothing is run.

    Every stored count is held against its row: a folder that was changed by hand is refused.
    """
    from harness.reports.reprint import folders_of, report_pages, report_text, write_output

    if not intervals and format_ != "latex":
        raise UserError("--no-intervals", f"--format {format_} beside it", "--format latex")
    folders = folders_of(what or [store], store)
    if trace is not None:
        from harness.reports.trace import traced

        refuse_options({"--output": output, "--outlines": outlines or None}, "--trace beside it", "one of them")
        for folder in folders:
            for table in traced(folder, trace):
                _console().print(table.to_rich())
        return
    if format_ == "html":
        for path in report_pages(folders, output, outlines, print_tables):
            typer.echo(path)
        return
    text = report_text(folders, format_, intervals)
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_output(output, text)


def status(
    store: StoreOption = DEFAULT_STORE,
    watch: Annotated[bool, typer.Option(help="again every two seconds, until the run ends")] = False,
) -> None:
    """Show how the latest run on a store is going, with its provisional tables, or how it ended."""
    from harness.reports import status as reported

    width = _console().width
    if not watch:
        typer.echo(reported.status_of(store, width))
        return
    from rich.live import Live
    from rich.text import Text

    with Live(refresh_per_second=4) as live:
        reported.watch(store, lambda text: live.update(Text(text), refresh=True), width=width)


def logs(
    stage: Annotated[
        str, typer.Argument(help="the beginning of a stage's key or label, or a label or group as status prints it")
    ],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Show why a stage failed: its stored traceback; for a stage that trained, its losses."""
    from harness.reports.status import log_of

    typer.echo(log_of(store, stage))


def stage(
    key: Annotated[str, typer.Argument(help="the beginning of a stage's key")],
    store: StoreOption = DEFAULT_STORE,
    debug: Annotated[bool, typer.Option(help="let errors through, for a debugger")] = False,
) -> None:
    """Run one stage in this process; its inputs must be there. Exit code 1 where it fails."""
    from harness.reports.status import run_one

    ran = run_one(store, key, debug)
    if ran.exit_code == 0:
        typer.echo(ran.text)
        return
    typer.echo(f"seedbed: {ran.text}", err=True)
    raise typer.Exit(ran.exit_code)


def print_tables(tables: Iterable[Table]) -> None:
    """Print tables as wide as the terminal, and of a fixed width into a file."""
    console = _console()
    for table in tables:
        console.print(table.to_rich())


def _console() -> Console:
    """What tables are printed to: as wide as the terminal, and of a fixed width in a file."""
    from rich.console import Console

    from harness.reports.display import PLAIN_WIDTH

    if sys.stdout.isatty():
        return Console()
    return Console(width=PLAIN_WIDTH)
