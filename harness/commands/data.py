"""The verbs of `seedbed data`, thin: known data sets and folders, looked at before a run."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer

from settings.errors import UserError, counted

data_app = typer.Typer(name="data", invoke_without_command=True, rich_markup_mode=None)
NameArgument = Annotated[str, typer.Argument(help="a known data set (see seedbed data list), or a folder's path")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="option=value, as under dataset: in a suite")]
PLAIN_INTERVAL_S = 10.0
T = TypeVar("T")


@data_app.callback()
def data(context: typer.Context) -> None:
    """List, check, show, audit and fetch data sets, and import what other programs made of them."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@data_app.command(name="list")
def list_datasets() -> None:
    """List the known data sets."""
    from settings.discovery import DATASETS

    names = DATASETS.names()
    for name in names:
        documentation = sys.modules[DATASETS.load(name).__module__].__doc__ or ""
        typer.echo(f"{name:{max(map(len, names))}}  {documentation.strip().partition(chr(10))[0]}")


@data_app.command()
def check(
    name: NameArgument,
    set_: SetOption = None,
    limit: Annotated[int, typer.Option(min=1, help="how many findings of one kind are shown")] = 10,
) -> None:
    """Read all photos and masks; exit code 2 where a run would fail.

    Prints counts, class balance and, one a line, all that is odd.
    """
    from harness.inspection.findings import describe, find, to_lines
    from harness.inspection.inspecting import gather_facts, open_dataset

    dataset = open_dataset(name, set_ or [])
    facts = gather_facts(dataset, watched)
    findings = find(dataset, facts)
    errors = sum(finding.fails for finding in findings)
    verdict = f"a run would fail: {counted(errors, 'error')}" if errors else "nothing found that a run would fail on"
    for line in (*describe(dataset, facts), *to_lines(findings, limit), verdict):
        typer.echo(line)
    raise typer.Exit(2 if errors else 0)


@data_app.command()
def show(
    name: NameArgument,
    set_: SetOption = None,
    output: Annotated[Path, typer.Option(help="the PNG to write")] = Path("contact-sheet.png"),
    photos: Annotated[int, typer.Option(min=1, max=300, help="how many photos, spread over the splits")] = 30,
) -> None:
    """Write a contact sheet: photos with their masks over them."""
    from harness.inspection.inspecting import open_dataset
    from harness.pictures.contact_sheet import cells, chosen, write_sheet

    dataset = open_dataset(name, set_ or [])
    write_sheet(output, dataset, cells(dataset, watched(chosen(dataset, photos))))
    typer.echo(f"wrote {output}")


@data_app.command()
def audit(
    suite: Annotated[str, typer.Argument(help="a ready suite's name, or a YAML file, with extra photos")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.path=value, over what the suite says")] = None,
    setting: Annotated[list[str] | None, typer.Option(help="only this setting; may be given again")] = None,
    truth: Annotated[
        str | None,
        typer.Option(help="measure the filter against a CSV file,query_class,true_class,kind; 'known': by the source"),
    ] = None,
    store: Annotated[str, typer.Option(help="where artefacts are kept: a folder, or a URL")] = "runs",
    output: Annotated[Path, typer.Option(help="the PNG of hits beside their twins")] = Path("audit.png"),
    limit: Annotated[int, typer.Option(min=1, help="how many drops of one reason are shown")] = 10,
) -> None:
    """Tell what the settings of a suite make of extra photos.

    Near-duplicates of evaluated photos, unreadable and tiny files, exact duplicates, class balance; what the filter
    keeps, and how well. Writes each hit beside its twin.
    """

    from harness.inspection.auditing import audit_suite
    from harness.pictures.audit_sheet import write_audit_sheet
    from harness.reports.display import Display
    from harness.suites.suite import load_suite

    given = None if truth in (None, "known") else Path(str(truth))
    found = audit_suite(load_suite(suite, set_ or []), store, setting or (), given, truth is not None, Display)
    for audited in found:
        for line in audited.lines(limit):
            typer.echo(line)
    typer.echo(write_audit_sheet(output, found))


@data_app.command()
def fetch(name: NameArgument, set_: SetOption = None) -> None:
    """Download a data set.

    Its folder is `--set root=PATH`, else what the configuration names.
    """
    from harness.inspection.fetching import DOWNLOADS
    from harness.inspection.inspecting import open_options
    from settings.discovery import DATASETS

    fetched = {known: download for known in DATASETS.names() if (download := DATASETS.load(known).download)}
    if name not in fetched:
        found = f"'{name}'"
        raise UserError("seedbed data fetch", found, ", ".join(fetched), "no other data set is downloaded")
    typer.echo(DOWNLOADS[fetched[name]](open_options(name, set_ or []).root, watched))


@data_app.command(name="import-maps")
def import_maps_(
    source: Annotated[Path, typer.Argument(help="a folder of .npy dictionaries named by photo id")],
    output: Annotated[Path, typer.Argument(help="the folder to write .npz files to, as localizer 'folder' reads them")],
    array: Annotated[str | None, typer.Option(help="which maps; default attn_highres, high_res, highres, cam")] = None,
    keys: Annotated[
        Literal["classes", "mask-values"] | None, typer.Option(help="0-based class ids, or 0 for the background")
    ] = None,
    normalise: Annotated[bool, typer.Option("--normalise", help="divide each map by its own maximum")] = False,
) -> None:
    """Convert the maps of IRN, PSA, SEAM, CLIP-ES and their like.

    The files are pickles: what asks for more than arrays is refused, and nothing of it runs.
    """
    from harness.conversion.maps import import_maps

    typer.echo(import_maps(source, output, array, keys, normalise, watched))


def watched(items: Sequence[T]) -> Iterator[T]:
    """The items; how many are done is shown on stderr: a bar on a terminal, a line now and then elsewhere."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    if console.is_terminal:
        yield from track(items, "", console=console, transient=True)
    else:
        yield from _told(items)


def _told(items: Sequence[T]) -> Iterable[T]:
    last = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - last >= PLAIN_INTERVAL_S:
            last = time.monotonic()
            typer.echo(f"{done}/{len(items)}", err=True)
        yield item
