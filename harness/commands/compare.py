"""The verb `seedbed compare`: who is better, by how much, and on which classes and photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.commands.options import DEFAULT_STORE, JsonOption, SetOption, StoreOption, refuse_options
from settings.errors import UserError

if TYPE_CHECKING:
    from harness.pictures.compare import Drawing
    from harness.reports.sides import Place

__all__ = ["compare"]


def compare(
    a: Annotated[
        str, typer.Argument(help="a recipe, RECIPE@SETTING, or a row's key; beside --truth a folder of masks, <id>.png")
    ],
    b: Annotated[str, typer.Argument(help="what it is held against")],
    suite: Annotated[
        str | None, typer.Option(help="a ready suite's name, or a YAML file; default: all rows of the store")
    ] = None,
    set_: SetOption = None,
    store: StoreOption = DEFAULT_STORE,
    leaderboard: Annotated[
        Path | None, typer.Option(help="a leaderboard's folder, in place of suite and store")
    ] = None,
    other: Annotated[str | None, typer.Option(help="another store, or leaderboard's folder, in which B lies")] = None,
    setting: Annotated[str | None, typer.Option(help="of both; default: the only one")] = None,
    stage: Annotated[
        Literal["maps", "refined", "pseudo_labels", "segmentation"] | None,
        typer.Option(help="default: the last one that both have"),
    ] = None,
    variant: Annotated[
        str | None, typer.Option(help="of the segmentation, as ss or ms+flip; default: the first")
    ] = None,
    policy: Annotated[str | None, typer.Option(help="default: the one that may be ranked")] = None,
    truth: Annotated[Path | None, typer.Option(help="a folder of true masks, <id>.png: A and B are folders")] = None,
    classes: Annotated[int | None, typer.Option(help="beside --truth: K + 1, background included (VOC: 21)")] = None,
    names: Annotated[Path | None, typer.Option(help="beside --truth: a file of the K class names, one a line")] = None,
    ids: Annotated[
        Path | None, typer.Option(help="beside --truth: a list of the photos to compare; default: all true masks")
    ] = None,
    void: Annotated[
        Literal["error", "background"], typer.Option(help="beside --truth: what 255 in a prediction is")
    ] = "error",
    photos: Annotated[
        Path | None, typer.Option(help="beside --truth: a folder of the photos, for the sheet in --output")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="a folder for comparison.md, .json and .tex, and a sheet of the photos that changed most"),
    ] = None,
    as_json: JsonOption = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="print tables for the package booktabs")] = False,
) -> None:
    """Tell whether A is better than B, paired over rng seeds and photos, and on which classes, sizes and photos.

    Nothing is run. Two recipes of a suite, rows of two stores, or two folders of masks beside --truth.
    """
    from harness.pictures.compare import compare
    from harness.reports.sides import (
        LeaderboardPlace,
        MaskOptions,
        StorePlace,
        Wanted,
        place_at,
        sides_of_masks,
        sides_of_rows,
    )

    if as_json and as_latex:
        raise UserError("--latex", "--json beside it", "one of them")
    of_rows = {
        "--suite": suite,
        "--leaderboard": leaderboard,
        "--other": other,
        "--setting": setting,
        "--stage": stage,
        "--variant": variant,
        "--policy": policy,
        "--set": set_,
    }
    drawing: Drawing | None = None
    if photos is not None and output is None:
        raise UserError("--photos", "no --output", "--output FOLDER beside it, for the sheet")
    if truth is not None:
        refuse_options(of_rows, "--truth beside it", "names of rows, or folders of masks with --truth")
        masks = MaskOptions(Path(a), Path(b), truth, classes, names, ids, void)
        sides = sides_of_masks(masks)
        if output is not None:
            from harness.pictures.changed import MaskDrawing

            drawing = MaskDrawing(masks, photos)
    else:
        of_masks = {"--classes": classes, "--names": names, "--ids": ids, "--photos": photos}
        refuse_options(of_masks, "no --truth", "--truth MASKS beside it: A and B are folders then")
        overrides = set_ or []
        if leaderboard is not None:
            refuse_options({"--suite": suite, "--set": set_}, "--leaderboard beside it", "one of them")
            place: Place = LeaderboardPlace(leaderboard)
        else:
            if suite is None:
                refuse_options({"--set": set_}, "no --suite", "--suite beside it")
            place = StorePlace(store, suite, overrides)
        other_place = place if other is None else place_at(other, suite, overrides)
        sides = sides_of_rows(a, b, place, other_place, Wanted(setting, stage, variant, policy))
        if output is not None and suite is not None and other is None:
            from harness.pictures.changed import SuiteDrawing

            drawing = SuiteDrawing(suite, overrides, store)
    found = compare(sides, output, drawing)
    if as_json:
        typer.echo(found.to_json())
    elif as_latex:
        typer.echo(found.to_latex())
    else:
        typer.echo(found.to_markdown())
    if found.sheet:
        typer.echo(found.sheet, err=True)
