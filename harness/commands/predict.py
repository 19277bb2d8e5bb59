"""`seedbed predict`: masks of photos whose true masks somebody else holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.options import DEFAULT_STORE, AddressOption, SetOption, StoreOption, SuiteArgument
from harness.execution import ExecutorName

__all__ = ["predict"]


def predict(
    suite: SuiteArgument,
    recipe: Annotated[str, typer.Option(help="one of the suite's recipes")],
    split: Annotated[str, typer.Option(help="test, or train, dev or val")] = "test",
    set_: SetOption = None,
    store: StoreOption = DEFAULT_STORE,
    setting: Annotated[str | None, typer.Option(help="default: the suite's first")] = None,
    rng_seed: Annotated[int | None, typer.Option(min=0, help="default: the recipe's first")] = None,
    variant: Annotated[str | None, typer.Option(help="ss, ms+flip …, of the suite's; default: its first")] = None,
    output: Annotated[
        Path | None, typer.Option(help="the folder to write; default: in the suite's folder of leaderboards")
    ] = None,
    executor: Annotated[
        ExecutorName | None, typer.Option(help="this process alone, or Ray workers; default: ray")
    ] = None,
    slots: Annotated[int | None, typer.Option(min=1, help="compute threads at once; default: all cores")] = None,
    address: AddressOption = None,
) -> None:
    """Segment photos without true masks, and write the masks and an archive of them as a server wants it.

    Of VOC 2012 that is results/VOC2012/Segmentation/comp6_test_cls/<id>.png. What a run of the suite has trained is
    not trained again.
    """
    from harness.execution.workers import Workers
    from harness.leaderboards.prediction import Request, predict
    from harness.reports.display import Display
    from harness.suites.suite import load_suite

    request = Request(recipe=recipe, split=split, setting=setting, rng_seed=rng_seed, variant=variant)
    workers = Workers(executor, slots, address)
    found = predict(load_suite(suite, set_ or []), store, request, output, workers, Display)
    typer.echo(f"{found.photos} masks of {split} by {found.line}: {found.folder}")
    typer.echo(found.archive)
