"""`seedbed store …`: thin verbs over the care of a store, wherever it lies."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.options import DEFAULT_STORE, JsonOption, SetOption, StoreOption
from harness.commands.progress import meter
from settings.errors import UserError

__all__ = ["store_app"]

# In the verbs, as everywhere here: `--help` and mistakes are answered without pyarrow and the rest.
if TYPE_CHECKING:
    from harness.store.care.waste import Waste
    from harness.store.layout import Ref
    from harness.store.store import Store

store_app = typer.Typer(invoke_without_command=True, rich_markup_mode=None, help="What a store holds, and its care.")
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="tell what would go, remove nothing")]


@store_app.callback()
def store_(context: typer.Context) -> None:
    """What a store holds, and its care."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@store_app.command()
def du(store: StoreOption = DEFAULT_STORE, as_json: JsonOption = False) -> None:
    """Bytes and artefacts by kind, and what lies beside them."""
    from harness.store.care.usage import usage

    with _told(store):
        used = usage(_opened(store))
    if as_json:
        typer.echo(json.dumps(used.to_json(), indent=1))
    else:
        typer.echo(used.to_text())


@store_app.command()
def verify(store: StoreOption = DEFAULT_STORE) -> None:
    """Hash every artefact anew; damaged ones are set aside, to be made again. Exit code 1 where one was damaged.

    Behind a URL every artefact is fetched for it.
    """
    from harness.store.care.usage import verify
    from harness.store.layout import DAMAGED

    with _told(store), meter("verified", "MB") as progress:
        opened = _opened(store)
        looked_at, damaged = verify(opened, lambda done, total: progress(done / 1e6, total / 1e6))
        still_there = opened.present(damaged)
    for ref in damaged:
        where = f"set aside under {opened.name}/{DAMAGED}"
        # A store that may only be read cannot set anything aside.
        if ref in still_there:
            where = "is still there"
        typer.echo(f"damaged: {ref.kind}/{ref.key} ({where})")
    mend = ""
    if damaged:
        mend = "; run its suite again to make them anew"
    typer.echo(f"{looked_at} artefacts, {len(damaged)} damaged{mend}")
    raise typer.Exit(int(bool(damaged)))


@store_app.command()
def gc(
    suites: Annotated[list[str], typer.Argument(help="the suites whose artefacts stay: names, or YAML files")],
    set_: SetOption = None,
    store: StoreOption = DEFAULT_STORE,
    dry_run: DryRunOption = False,
) -> None:
    """Remove what these suites do not need, and what killed runs left. Running stages and their inputs stay."""
    from harness.store.care.waste import needed_by, waste_of

    with _told(store):
        opened = _opened(store)
        needed = needed_by(opened, _planned(suites, set_ or []))
        _remove(opened, waste_of(opened, needed), dry_run)


@store_app.command()
def rm(
    names: Annotated[list[str], typer.Argument(metavar="KEY|KIND…", help="the beginning of a key, or a kind")],
    store: StoreOption = DEFAULT_STORE,
    dry_run: DryRunOption = False,
) -> None:
    """Remove artefacts; the next run that needs them makes them again."""
    from harness.store.care.waste import chosen

    with _told(store):
        opened = _opened(store)
        _remove(opened, chosen(opened, names), dry_run)


@store_app.command()
def export(
    archive: Annotated[Path, typer.Argument(help="a new .tar, .tar.gz or .tar.zst")],
    suites: Annotated[list[str] | None, typer.Argument(help="their artefacts; default: the whole store")] = None,
    set_: SetOption = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write artefacts into an archive: those of some suites and all they come from, or every one."""
    from harness.store.care.archive import export
    from harness.store.care.usage import published, readable
    from harness.store.care.waste import needed_by

    with _told(archive), meter("exported", "artefacts") as progress:
        opened = _opened(store)
        refs = published(opened)
        if suites:
            needed = needed_by(opened, _planned(suites, set_ or []))
            refs = [ref for ref in refs if ref in needed]
        count = export(opened, refs, archive, progress)
    typer.echo(f"{count} artefacts, {readable(archive.stat().st_size)}: {archive}")


@store_app.command(name="import")
def import_(
    archive: Annotated[Path, typer.Argument(help="what `seedbed store export` wrote")],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Take over an archive's artefacts that are not there yet, each verified. Exit code 1 where one was refused."""
    from harness.store.backends.urls import absolute
    from harness.store.care.importing import Importer
    from harness.store.store import Store

    with _told(store), meter("imported", "artefacts") as progress:
        outcome = Importer(Store.at(absolute(store)), progress).read(archive)
    for name, reason in outcome.refused.items():
        typer.echo(f"refused: {name}: {reason}")
    for ref in outcome.busy:
        typer.echo(f"left to the process that is making it: {ref}")
    typer.echo(f"{len(outcome.new)} imported, {len(outcome.there)} there already, {len(outcome.refused)} refused")
    raise typer.Exit(int(bool(outcome.refused)))


def _planned(suites: Sequence[str], overrides: Sequence[str]) -> dict[str, set[Ref]]:
    """All stages of the plan of each suite, by the suite's name; the overrides are for all of them."""
    from harness.stages.planning import make_plan
    from harness.suites.suite import load_suite

    planned: dict[str, set[Ref]] = {}
    for name in suites:
        plan = make_plan(load_suite(name, overrides))
        planned[name] = set(plan.graph)
    return planned


def _remove(store: Store, wastes: list[Waste], dry_run: bool) -> None:
    """Remove and tell, one line for each kind of thing."""
    from harness.store.care.usage import readable
    from harness.store.care.waste import remove

    freed: dict[str, list[int]] = {}
    refused: list[OSError] = []
    passed_over = 0
    for waste in wastes:
        # Measured before it goes.
        size = waste.bytes
        try:
            is_gone = dry_run or remove(store, waste)
        except OSError as error:
            refused.append(error)
            continue
        if is_gone:
            freed.setdefault(waste.what, []).append(size)
        else:
            passed_over += 1
    for what, sizes in sorted(freed.items()):
        typer.echo(f"{len(sizes):7} {what:24} {readable(sum(sizes)):>10}")
    total = readable(sum(map(sum, freed.values())))
    verb = "freed"
    if dry_run:
        verb = "would be freed; nothing was removed"
    held = ""
    if passed_over:
        held = f"; {passed_over} were taken by a running stage and stay"
    typer.echo(f"{total} {verb}{held}")
    if refused:
        reason = refused[0].strerror or str(refused[0])
        typer.echo(f"{len(refused)} could not be removed, such as {refused[0].filename}: {reason}", err=True)
        raise typer.Exit(1)


def _opened(location: str) -> Store:
    """A store that is there; raises UserError for another place."""
    from harness.store.backends.urls import absolute
    from harness.store.store import Store

    store = Store.at(absolute(location))
    try:
        is_there = store.exists()
    except OSError as error:
        raise store.unusable(error) from None
    if not is_there:
        raise UserError(store.name, "no store", "a folder or URL that a suite was run on", "see --store")
    # Behind a URL the folder in front of it may lack, on a machine that has not used the store yet.
    return store.create()


@contextmanager
def _told(location: str | Path) -> Iterator[None]:
    """What a file system or a server refuses becomes one line."""
    from harness.store.backends.urls import shown

    try:
        yield
    except OSError as error:
        found = str(error)
        if error.errno:
            # Without the number and the path that Python puts around it.
            found = os.strerror(error.errno)
        where = error.filename or shown(str(location))
        raise UserError(where, found, "a file system or server that can be read and written") from None
