"""The verb `seedbed doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer


def doctor(
    store: Annotated[str, typer.Option(help="the store to look at: a folder, or a URL")] = "runs",
    imports: Annotated[bool, typer.Option("--imports", help="import torch, Ray and others too (seconds)")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print nothing but JSON")] = False,
) -> None:
    """What keeps Seedbed from running here, each finding with its mend. Exit code 1 where something is missing."""
    from harness.doctor import diagnose, is_fit, to_text

    findings = diagnose(store, imports)
    typer.echo(json.dumps([asdict(finding) for finding in findings], indent=1) if as_json else to_text(findings))
    raise typer.Exit(0 if is_fit(findings) else 1)
