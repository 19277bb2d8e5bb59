"""The verb `seedbed doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from settings.errors import UserError


def doctor(
    store: Annotated[str, typer.Option(help="the store to look at: a folder, or a URL")] = "runs",
    imports: Annotated[bool, typer.Option("--imports", help="import torch, Ray and others too (seconds)")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print nothing but JSON")] = False,
    cluster: Annotated[bool, typer.Option("--cluster", help="look at every node of a Ray cluster instead")] = False,
    address: Annotated[
        str | None, typer.Option(help="of that cluster: auto (the default), host:port or ray://host:port")
    ] = None,
) -> None:
    """What keeps Seedbed from running here, each finding with its mend. Exit code 1 where something is missing."""
    from harness.checkups.doctor import diagnose, diagnose_cluster, is_fit, to_text

    if address and not cluster:
        raise UserError("--address", f"'{address}' without --cluster", "both, or neither")
    if imports and cluster:
        raise UserError("--imports", "--cluster beside it", "one of them", "call it with --imports on the node")
    findings = diagnose_cluster(address or "auto", store) if cluster else diagnose(store, imports)
    typer.echo(json.dumps([asdict(finding) for finding in findings], indent=1) if as_json else to_text(findings))
    raise typer.Exit(0 if is_fit(findings) else 1)
