"""The verb `seedbed components`: what a suite may name, and with which options."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from harness.commands.options import JsonOption

__all__ = ["components"]


def components(
    name: Annotated[
        str | None, typer.Argument(help="of a component: its options too; default: the list of all")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the components that suites may name; of one, its options with their types and defaults."""
    from harness.suites.catalogue import catalogue, described_component, to_lines

    if name is None:
        entries = catalogue()
        if as_json:
            typer.echo(json.dumps([entry._asdict() for entry in entries], indent=1))
            return
        for line in to_lines(entries):
            typer.echo(line)
        return
    found = described_component(name)
    if as_json:
        content = [{**entry._asdict(), "options": [each._asdict() for each in options]} for entry, options in found]
        typer.echo(json.dumps(content, indent=1))
        return
    for entry, options in found:
        typer.echo(f"{entry.kind.removesuffix('s')} {entry.name}: {entry.about}")
        for option in options:
            default = f"default {option.default}" if option.default else "must be given"
            notes = [option.description] if option.description else []
            if option.apply_only:
                notes.append("a change trains nothing anew")
            told = "; ".join([f"{option.type}, {default}", *notes])
            typer.echo(f"  {option.name}: {told}")
        if not options:
            typer.echo("  no options")
