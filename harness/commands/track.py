"""`seedbed track`: training curves and rows in TensorBoard, MLflow or Weights & Biases."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.commands.options import DEFAULT_STORE, SetOption, StoreOption, SuiteArgument

__all__ = ["track"]


def track(
    suite: SuiteArgument,
    to: Annotated[str, typer.Option(help="tensorboard, mlflow or wandb, each an extra of its own")],
    where: Annotated[
        str, typer.Option(help="a folder (tensorboard, wandb) or a tracking URI (mlflow); default: the tracker's own")
    ] = "",
    set_: SetOption = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Put a suite's training curves and rows into a tracker; while a run goes on in the store, live until it ends.

    Called again, it adds what is new, and nothing twice.
    """
    from harness.suites.suite import load_suite
    from harness.tracking.following import track
    from settings.discovery import TRACKERS
    from settings.errors import counted

    kind = TRACKERS.load(to, "--to")
    kind.check_installed()
    tracker = kind(where)
    found = track(load_suite(suite, set_ or []), store, tracker)
    if not found.subjects:
        typer.echo("nothing was trained or scored yet")
        return
    typer.echo(f"{counted(found.points, 'new value')} of {counted(found.subjects, 'line')}, {found.complete} complete")
    typer.echo(tracker.place())
