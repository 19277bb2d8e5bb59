"""`seedbed show`: a sheet of what a store holds of some photos, recipes side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def show(
    suite: Annotated[str, typer.Argument(help="a ready suite's name, or a YAML file")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.path=value, over what the suite says")] = None,
    store: Annotated[str, typer.Option(help="where artefacts are kept: a folder, or a URL")] = "runs",
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
        str, typer.Option(help="of maps, refined, views, pseudo_labels, prediction, truth; default: all but views")
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
    from harness.pictures.show import show
    from harness.pictures.wanted import Wanted

    wanted = Wanted(_names(photos), count, split, _names(recipes), setting, rng_seed, _names(columns), map_class)
    typer.echo(f"wrote {show(suite, set_ or [], store, wanted, output, outlines)}")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip()))
