"""`seedbed leaderboard …`: rows of several machines, and of masks that anybody made, as one leaderboard."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.commands.options import DEFAULT_STORE, StoreOption
from harness.commands.run import print_tables
from harness.commands.score import open_named
from settings.errors import UserError, counted

if TYPE_CHECKING:
    from results.rows import Row
    from settings.dataset import Dataset

__all__ = ["leaderboard_app"]

leaderboard_app = typer.Typer(name="leaderboard", invoke_without_command=True, rich_markup_mode=None)
CorrectOption = Annotated[
    str, typer.Option(metavar="REASON", help="take the place of another result of the same row; the log keeps both")
]
DatasetOption = Annotated[
    str | None, typer.Option(help="the suite, known data set or folder that the rows are about; default: as they say")
]
DatasetSetOption = Annotated[
    list[str] | None, typer.Option("--set", help="beside --dataset: key.path=value of the suite, or option=value")
]

SupervisionOption = Annotated[
    str, typer.Option(help="what trained it, joined by +: I image-level labels, S saliency, L language, M masks")
]
StageOption = Annotated[
    Literal["segmentation", "pseudo_labels"], typer.Option(help="predictions of val, or pseudo labels of train")
]
VariantOption = Annotated[str, typer.Option(help="how photos were segmented: ss, ms, ms+flip, ms+flip+crf …")]
SettingOption = Annotated[str, typer.Option(help="which photos and labels it was trained on")]
ModeOption = Annotated[Literal["fine_tuned", "frozen"], typer.Option(help="whether its backbone was trained too")]
ChosenOption = Annotated[int, typer.Option(min=0, help="true masks that options were chosen on")]
TrainedOption = Annotated[int, typer.Option(min=0, help="true masks that it was trained on; supervision M")]


@leaderboard_app.callback()
def leaderboard(context: typer.Context) -> None:
    """Leaderboards that rows are added to: of several machines, and of masks that anybody made."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@leaderboard_app.command()
def merge(
    what: Annotated[list[str], typer.Argument(metavar="STORE|FOLDER…", help="stores, or leaderboards' folders")],
    output: Annotated[Path, typer.Option(help="the folder of the leaderboard; rows that are in it stay")],
    store: StoreOption = DEFAULT_STORE,
    correct: CorrectOption = "",
) -> None:
    """Put rows of several machines into one leaderboard, each once: twice, or in another order, it is the same.

    Refused are rows of another data set, protocol version or evaluation fingerprint, and two results of one row.
    """
    from harness.leaderboards.merging import merge
    from results.rows import TIERS

    shared, tables = merge(what, store, output, correct, _now())
    print_tables(tables)
    tiers = [entry.row.tier for entry in shared.entries]
    told = [f"{tiers.count(tier)} {words}" for tier, words in TIERS.items() if tier in tiers]
    typer.echo(f"{counted(len(tiers), 'row')} ({', '.join(told)}): {output}")


@leaderboard_app.command()
def submit(
    masks: Annotated[Path, typer.Argument(help="a folder of masks, <id>.png, one for each photo of the split")],
    recipe: Annotated[str, typer.Option(help="what the rows call it")],
    supervision: SupervisionOption,
    leaderboard: Annotated[Path, typer.Option(help="the leaderboard's folder; made where it is not there yet")],
    dataset: DatasetOption = None,
    set_: DatasetSetOption = None,
    stage: StageOption = "segmentation",
    variant: VariantOption = "ss",
    setting: SettingOption = "clean",
    training_mode: ModeOption = "fine_tuned",
    policy: Annotated[str, typer.Option(help="how options were chosen: fixed, held_out, held_out(n)")] = "fixed",
    rng_seed: Annotated[int, typer.Option(min=0, help="a line is ranked with three of them")] = 0,
    masks_chosen: ChosenOption = 0,
    masks_trained: TrainedOption = 0,
    map_predictions: Annotated[
        str | None, typer.Option(help="what values of the masks stand for: 255:1; others stay")
    ] = None,
    source: Annotated[str, typer.Option(help="who made them: a paper, a repository, a commit")] = "",
    correct: CorrectOption = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="check and score, write nothing")] = False,
) -> None:
    """Check masks made by anybody, score them here, and add them to a leaderboard as a row.

    What cannot be seen in masks is declared: supervision, and how many true masks were used.
    """
    from harness.leaderboards.log import row_id
    from harness.leaderboards.submission import Declared, submit
    from settings.value_maps import parse_value_map

    opened, opened_by = _dataset_of(leaderboard, dataset, set_ or [])
    declared = Declared(
        recipe=recipe,
        supervision=supervision,
        stage=stage,
        variant=variant,
        setting=setting,
        training_mode=training_mode,
        policy=policy,
        rng_seed=rng_seed,
        masks_chosen=masks_chosen,
        masks_trained=masks_trained,
        source=source,
        values=parse_value_map(map_predictions, "--map-predictions"),
    )
    found = submit(
        masks, declared, opened, leaderboard, opened_by=opened_by, reason=correct, at=_now(), dry_run=dry_run
    )
    print_tables(found.tables)
    ending = f"added to {leaderboard}"
    if dry_run:
        ending = "valid; nothing was written"
    elif not found.is_new:
        ending = f"in {leaderboard} already"
    for note in found.score.notes():
        typer.echo(f"note: {note}")
    row = found.row
    typer.echo(f"{recipe}, rng seed {rng_seed}: mIoU {row.miou or 0:.4f} on {row.photos} photos, {ending}")
    typer.echo(f"row {row_id(row)} · masks {row.masks_sha256[:12]} · evaluation {row.evaluation_fingerprint[:12]}")


@leaderboard_app.command()
def cite(
    recipe: Annotated[str, typer.Option(help="what the rows call it")],
    supervision: SupervisionOption,
    miou: Annotated[float, typer.Option(help="0..1")],
    source: Annotated[str, typer.Option(help="where the number stands: paper, table, address")],
    leaderboard: Annotated[Path, typer.Option(help="the leaderboard's folder, which has rows already")],
    stage: StageOption = "segmentation",
    variant: VariantOption = "ss",
    setting: SettingOption = "clean",
    training_mode: ModeOption = "fine_tuned",
    masks_chosen: ChosenOption = 0,
    masks_trained: TrainedOption = 0,
    correct: CorrectOption = "",
) -> None:
    """Add a number that was published elsewhere: it stands beside the others, marked, and is never ranked."""
    from harness.leaderboards.citation import cite
    from harness.leaderboards.log import row_id
    from harness.leaderboards.submission import Declared

    declared = Declared(
        recipe=recipe,
        supervision=supervision,
        stage=stage,
        variant=variant,
        setting=setting,
        training_mode=training_mode,
        masks_chosen=masks_chosen,
        masks_trained=masks_trained,
        source=source,
    )
    row, tables = cite(declared, miou, leaderboard, correct, _now())
    print_tables(tables)
    typer.echo(f"{recipe}: mIoU {miou:.4f}, published, in {leaderboard}: row {row_id(row)}")


@leaderboard_app.command()
def verify(
    row: Annotated[str, typer.Argument(metavar="ROW", help="the beginning of a row's id, or a recipe: all its rows")],
    leaderboard: Annotated[Path, typer.Option(help="the leaderboard's folder")] = Path(),
    dataset: DatasetOption = None,
    set_: DatasetSetOption = None,
) -> None:
    """Score the stored masks of a row again and compare. Exit code 1 where anything comes out otherwise."""
    from harness.leaderboards.log import row_id
    from harness.leaderboards.verification import verify

    def dataset_of(row: Row) -> Dataset:
        return _opened([row], dataset, set_ or [])[0]

    verified = verify(row, leaderboard, dataset_of)
    for each in verified:
        name = f"{each.row.recipe}, rng seed {each.row.rng_seed}, {each.row.stage} ({row_id(each.row)})"
        if not each.differences:
            typer.echo(f"{name}: mIoU {each.row.miou or 0:.4f}, the same again")
        for difference in each.differences:
            typer.echo(f"{name}: {difference}")
    raise typer.Exit(int(any(each.differences for each in verified)))


def _dataset_of(folder: Path, name: str | None, assignments: Sequence[str]) -> tuple[Dataset, dict[str, object]]:
    """The data set of a leaderboard, and how it was named; a leaderboard that is not there yet has none of its own."""
    from harness.reports.files import LeaderboardFiles
    from results.rows import read_rows

    rows: list[Row] = []
    path = LeaderboardFiles(folder).rows
    if path.exists():
        rows = read_rows(path)
    return _opened(rows, name, assignments)


def _opened(rows: Sequence[Row], name: str | None, assignments: Sequence[str]) -> tuple[Dataset, dict[str, object]]:
    """The data set that is named, else the one by which rows say that it was opened, else the one that they name."""
    from harness.suites.suite import ready_suites
    from settings.discovery import DATASETS

    known = {*ready_suites(), *DATASETS.names()}
    if name is None:
        told = [told for row in rows if "dataset" in (told := json.loads(row.provenance))]
        if told:
            name, assignments = str(told[-1]["dataset"]), [*told[-1].get("set", []), *assignments]
        elif rows and rows[0].dataset in known:
            name = rows[0].dataset
    if name is None:
        found = f"nothing, and '{rows[0].dataset}' is no name of one" if rows else "nothing, and no row that tells it"
        raise UserError("--dataset", found, "the suite, known data set or folder that the masks are of")
    # A path is nobody else's business, and means nothing on another machine.
    opened_by: dict[str, object] = {"dataset": name, "set": list(assignments)} if name in known else {}
    return open_named(name, assignments), opened_by


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
