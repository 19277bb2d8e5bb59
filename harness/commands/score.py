"""The verb `score`: a folder of masks made by anybody is scored, as the rows of a run are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.commands.options import JsonOption, refuse_options, split_names
from settings.errors import UserError

if TYPE_CHECKING:
    from settings.dataset import Dataset

__all__ = ["open_named", "score"]


def score(
    predictions: Annotated[Path, typer.Argument(help="a folder of masks, <id>.png")],
    dataset: Annotated[
        str | None,
        typer.Option(help="a suite, a known data set or a data set's folder: photos, classes and true masks are its"),
    ] = None,
    split: Annotated[str | None, typer.Option(help="train, dev or val of the data set; default val")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="beside --dataset: key.path=value of the suite, or option=value")
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="instead of --dataset: a folder of true masks, <id>.png")] = None,
    classes: Annotated[
        int | None, typer.Option(help="K + 1, background included (VOC: 21); may be left out beside --names")
    ] = None,
    names: Annotated[
        Path | None, typer.Option(help="a file of the K class names, one a line, for the fingerprint of rows")
    ] = None,
    ids: Annotated[
        Path | None, typer.Option(help="a list of the photos to score, such as val.txt; default: all true masks")
    ] = None,
    map_: Annotated[
        str | None, typer.Option("--map", help="what values of true masks stand for: 0:255,1:0; others stay")
    ] = None,
    map_predictions: Annotated[str | None, typer.Option(help="what values of predictions stand for")] = None,
    protocol: Annotated[
        str, typer.Option(help="voc/1, or what public programs do: irn, seam, mmseg, per_image, torchmetrics")
    ] = "voc/1",
    all_protocols: Annotated[
        bool, typer.Option("--all-protocols", help="what each protocol makes of these masks, and by which rule")
    ] = False,
    metrics: Annotated[
        str, typer.Option(help="beside the mIoU, by name, separated by commas: see `seedbed components`")
    ] = "",
    void: Annotated[
        Literal["error", "background", "covered-only"], typer.Option(help="what 255 in a prediction is")
    ] = "error",
    allow_missing: Annotated[bool, typer.Option(help="score a missing prediction as all background")] = False,
    as_json: JsonOption = False,
) -> None:
    """Score a folder of masks made by anybody, against a split of a data set or a folder of true masks.

    What cannot be meant is refused: true masks without any class, such as 0/255 ones.
    """
    from results.scoring import Beside, score_folder, score_split
    from settings.value_maps import parse_value_map

    of_folder = {"--classes": classes, "--names": names, "--ids": ids, "--map": map_}
    of_dataset = {"--split": split, "--set": set_}
    predicted_values = parse_value_map(map_predictions, "--map-predictions")
    beside = Beside(split_names(metrics), all_protocols)
    if dataset is not None:
        refuse_options({"--truth": truth, **of_folder}, "--dataset beside it", "one of the two", "it says that itself")
        opened = open_named(dataset, set_ or [])
        result = score_split(
            predictions, opened, split or "val", protocol, void, allow_missing, predicted_values, beside
        )
    elif truth is not None:
        refuse_options(of_dataset, "--truth beside it", "one of the two", "--dataset instead has splits")
        true_values = parse_value_map(map_, "--map")
        result = score_folder(
            predictions,
            truth,
            classes,
            protocol,
            void,
            allow_missing,
            names,
            ids,
            true_values,
            predicted_values,
            beside,
        )
    else:
        raise UserError("seedbed score", "no true masks", "--dataset SUITE (or a data set), or --truth FOLDER")
    if as_json:
        typer.echo(json.dumps(result.to_json()))
    else:
        typer.echo(result.to_text())


def open_named(name: str, assignments: Sequence[str] = ()) -> Dataset:
    """The data set of a suite, or the one that is called so, or lies there; raises UserError for none of these."""
    from harness.stages.plugins import with_plugins
    from harness.suites.data import dataset_of, open_dataset
    from harness.suites.suite import Suite, load_suite, ready_suites

    if name not in ready_suites() and not name.endswith((".yaml", ".yml")):
        return open_dataset(name, assignments)

    @with_plugins
    def of_suite(suite: Suite) -> Dataset:
        return dataset_of(suite.dataset)

    return of_suite(load_suite(name, assignments))
