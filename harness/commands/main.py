"""The verbs, thin: what they do lies in the modules they call."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from harness.commands.data import data_app
from harness.commands.doctor import doctor
from harness.commands.patience import Patience
from harness.commands.show import show
from harness.commands.store import store_app
from settings.errors import UserError
from settings.progress import listener

app = typer.Typer(
    name="seedbed",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

SuiteArgument = Annotated[str, typer.Argument(help="a ready suite's name, or a YAML file")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="key.path=value, over what the suite says")]
StoreOption = Annotated[
    str, typer.Option(help="where artefacts are kept: a folder, or a URL such as s3://bucket/prefix")
]
DEFAULT_STORE = "runs"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
"""What the user may not have caused: exit code 1, as for a stage that failed."""
app.add_typer(data_app)
app.add_typer(store_app, name="store")
app.command()(doctor)
app.command()(show)
# typer brings its own click in some versions: the base of all bad usage is found through what it does export.
UsageError: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


@app.callback()
def seedbed(context: typer.Context) -> None:
    """Benchmark and evaluation harness for weakly supervised semantic segmentation."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def plan(
    suite: SuiteArgument,
    set_: SetOption = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: Annotated[bool, typer.Option("--json", help="print nothing but JSON")] = False,
) -> None:
    """Show the stages of a suite: what is done, what is to do, what it will cost. Nothing is run."""
    from harness.reports.estimate import estimate

    shown = estimate(suite, set_ or [], store)
    print(json.dumps(shown.to_json(), indent=1) if as_json else shown.to_text())


@app.command()
def run(
    suite: SuiteArgument,
    set_: SetOption = None,
    store: StoreOption = DEFAULT_STORE,
    executor: Annotated[
        Literal["serial", "ray"] | None, typer.Option(help="this process alone, or Ray workers; default: ray")
    ] = None,
    slots: Annotated[int | None, typer.Option(min=1, help="compute threads at once; default: all cores")] = None,
    address: Annotated[
        str | None, typer.Option(help="of a Ray cluster that exists: auto, host:port or ray://host:port")
    ] = None,
    packages: Annotated[
        Literal["installed", "pinned"],
        typer.Option(help="on the cluster's nodes: those installed there, or this machine's versions, installed first"),
    ] = "installed",
    output: Annotated[
        Path | None, typer.Option(help="the leaderboard's folder; default STORE/leaderboards/SUITE")
    ] = None,
) -> None:
    """Run what is missing of a suite, then print its tables. Killed at any moment, it continues where it was."""
    from harness.execution.workers import Workers
    from harness.reports.leaderboard import run_and_gather
    from harness.suites.suite import load_suite

    workers = Workers(executor, slots, address, packages)
    outcome = run_and_gather(load_suite(suite, set_ or []), store, workers, output, shown=True)
    if not outcome.run.result.interrupted:
        _print_tables(outcome.board.tables)
        for note in outcome.board.notes:
            print(note)
    print(f"\n{outcome.summary()}", file=sys.stderr)
    for line in outcome.user_errors():
        print(f"seedbed: {line}", file=sys.stderr)
    raise typer.Exit(outcome.exit_code)


@app.command()
def status(
    store: StoreOption = DEFAULT_STORE,
    watch: Annotated[bool, typer.Option(help="again every two seconds, until the run ends")] = False,
) -> None:
    """Show how the latest run on a store is going, or how it ended."""
    from harness.reports import status as told

    if not watch:
        print(told.status_of(store))
        return
    from rich.live import Live

    with Live(refresh_per_second=4) as live:
        told.watch(store, lambda text: live.update(text, refresh=True))


@app.command()
def logs(
    stage: Annotated[str, typer.Argument(help="the beginning of a stage's key or label")],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Show why a stage failed: its stored traceback; for a stage that trained, its losses."""
    from harness.reports.status import log_of

    print(log_of(store, stage))


@app.command(name="stage")
def run_stage(
    key: Annotated[str, typer.Argument(help="the beginning of a stage's key")],
    store: StoreOption = DEFAULT_STORE,
    debug: Annotated[bool, typer.Option(help="let errors through, for a debugger")] = False,
) -> None:
    """Run one stage in this process; its inputs must be there."""
    from harness.reports.status import run_one

    print(run_one(store, key, debug))


@app.command()
def score(
    predictions: Annotated[Path, typer.Argument(help="a folder of masks, <id>.png")],
    truth: Annotated[Path, typer.Option(help="a folder of true masks, <id>.png")],
    classes: Annotated[
        int | None, typer.Option(help="K + 1, background included (VOC: 21); may be left out beside --names")
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(help="a file of the K class names, one a line, for the fingerprint of rows"),
    ] = None,
    protocol: Annotated[str, typer.Option(help="how masks become a score")] = "voc/1",
    void: Annotated[
        Literal["error", "background", "covered-only"], typer.Option(help="what 255 in a prediction is")
    ] = "error",
    allow_missing: Annotated[bool, typer.Option(help="score a missing prediction as all background")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print nothing but JSON")] = False,
) -> None:
    """Score a folder of masks made by anybody."""
    from results.scoring import score_folder

    result = score_folder(predictions, truth, classes, protocol, void, allow_missing, names)
    print(json.dumps(result.to_json()) if as_json else result.to_text())


def main() -> None:
    """The command `seedbed`: a user's error is one line, exit code 2; a failed stage is exit code 1."""
    listener.set(Patience("planning"))
    try:
        code = app(standalone_mode=False)
    except UserError as error:
        _end(str(error), 2)
    except UsageError as error:
        _end(" ".join(error.format_message().split()).rstrip(".") + "; see seedbed --help", 2)
    except (typer.Abort, KeyboardInterrupt):
        _end("stopped at once; run the same command again to continue", 130)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        # A name that no file system holds, a folder without rights, a full disk.
        found = os.strerror(error.errno) if error.errno else str(error)
        place = error.filename or "seedbed"
        line = UserError(place, found, "files that can be read, and a disk that can be written")
        _end(str(line), 1 if error.errno in FULL else 2)
    sys.exit(code or 0)


def _end(line: str, code: int) -> Any:
    print(f"seedbed: {line}", file=sys.stderr)
    sys.exit(code)


def _print_tables(tables: Any) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 160)
    for table in tables:
        console.print(table.to_rich())


if __name__ == "__main__":
    main()
