"""The command `seedbed`: all verbs, and how errors end it."""

from __future__ import annotations

import errno
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn, cast

import typer

from harness.commands import run
from harness.commands.compare import compare
from harness.commands.components import components
from harness.commands.data import data_app
from harness.commands.leaderboard import leaderboard_app
from harness.commands.options import (
    DEFAULT_STORE,
    AddressOption,
    JsonOption,
    SetOption,
    StoreOption,
    SuiteArgument,
    split_names,
)
from harness.commands.output import prepare_output
from harness.commands.predict import predict
from harness.commands.progress import Patience
from harness.commands.score import score
from harness.commands.search import search
from harness.commands.store import store_app
from harness.commands.track import track
from harness.store.lease import declared_timeout_s
from settings.errors import UserError
from settings.progress import listener

__all__ = ["app", "doctor", "main", "show"]

# Nothing that the user wrote: exit code 1, as for a stage that failed.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
# typer brings its own click in some versions: the base of all bad usage is found through what it does export.
UsageError = cast(
    "type[typer.BadParameter]", next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
)

app = typer.Typer(
    name="seedbed",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for _verb in (
    run.plan,
    run.run,
    run.report,
    run.status,
    run.logs,
    run.stage,
    components,
    score,
    compare,
    search,
    predict,
    track,
):
    app.command()(_verb)


@app.callback()
def seedbed(context: typer.Context) -> None:
    """Benchmark and evaluation harness for weakly supervised semantic segmentation."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def show(
    suite: SuiteArgument,
    set_: SetOption = None,
    store: StoreOption = DEFAULT_STORE,
    photos: Annotated[str, typer.Option(help="ids, separated by commas; default: spread over the split")] = "",
    count: Annotated[
        int | None, typer.Option(min=1, max=100, help="how many photos, where none are named; default: the suite's")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="train, dev or val; default: that of the photos, else train")
    ] = None,
    recipes: Annotated[str, typer.Option(help="names, separated by commas; default: the suite's")] = "",
    setting: Annotated[str | None, typer.Option(help="default: the suite's first")] = None,
    rng_seed: Annotated[int | None, typer.Option(min=0, help="default: each recipe's first")] = None,
    columns: Annotated[
        str,
        typer.Option(
            help="of maps, refined, views, cue, pseudo_labels, prediction, truth; default: all but views and cue"
        ),
    ] = "",
    map_class: Annotated[str | None, typer.Option(help="show this class's map, not the strongest")] = None,
    outlines: Annotated[
        bool, typer.Option("--outlines", help="draw outlines of photos that are not ours: a sheet to give away")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="the PNG to write; default: in the leaderboard's folder")] = None,
) -> None:
    """Write one sheet of photos with maps, pseudo labels, predictions and truth, recipes side by side.

    It shows what a finished run left in the store, and runs nothing.
    """
    # Imported here, as in every verb: `--help` and mistakes are answered without matplotlib, pyarrow and the rest.
    from harness.pictures.request import Request
    from harness.pictures.show import show

    request = Request(
        split_names(photos), count, split, split_names(recipes), setting, rng_seed, split_names(columns), map_class
    )
    typer.echo(f"wrote {show(suite, set_ or [], store, request, output, outlines)}")


@app.command()
def doctor(
    store: StoreOption = DEFAULT_STORE,
    imports: Annotated[bool, typer.Option("--imports", help="import torch, Ray and others too (seconds)")] = False,
    as_json: JsonOption = False,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="look at every node of a Ray cluster instead; without --address: auto")
    ] = False,
    address: AddressOption = None,
) -> None:
    """What keeps Seedbed from running here, each finding with its mend. Exit code 1 where something is missing."""
    from harness.checkups.doctor import diagnose, diagnose_cluster, is_fit, to_text

    if address and not cluster:
        raise UserError("--address", f"'{address}' without --cluster", "both, or neither")
    if imports and cluster:
        raise UserError("--imports", "--cluster beside it", "one of them", "call it with --imports on the node")
    if cluster:
        findings = diagnose_cluster(address or "auto", store)
    else:
        findings = diagnose(store, imports)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        typer.echo(to_text(findings))
    raise typer.Exit(int(not is_fit(findings)))


app.add_typer(data_app)
app.add_typer(leaderboard_app)
app.add_typer(store_app, name="store")


def main() -> NoReturn:
    """Run the command; a user's error is one line, exit code 2; a failed stage is exit code 1."""
    prepare_output()
    listener.set(Patience("planning"))
    try:
        declared_timeout_s()
        # In its own mode, click would print usage errors in three lines, and end by itself with its own exit codes.
        code = app(standalone_mode=False)
    except UserError as error:
        _end(str(error), 2)
    except UsageError as error:
        _end(" ".join(error.format_message().split()).rstrip(".") + "; see seedbed --help", 2)
    except (typer.Abort, KeyboardInterrupt):
        _end("stopped at once; run the same command again to continue", 130)
    except BrokenPipeError:
        # Whoever read the output has enough of it (`| head`): there is nobody to tell.
        sys.exit(1)
    except OSError as error:
        # A name that no file system holds, a folder without rights, a full disk.
        found = str(error)
        if error.errno:
            found = os.strerror(error.errno)
        place = error.filename or "seedbed"
        line = UserError(place, found, "files that can be read, and a disk that can be written")
        code = 2
        if error.errno in FULL:
            code = 1
        _end(str(line), code)
    sys.exit(code or 0)


def _end(line: str, code: int) -> NoReturn:
    typer.echo(f"seedbed: {line}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
