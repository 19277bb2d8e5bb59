"""The verbs of `seedbed data`: data sets and folders are looked at before a run, fetched, and imported."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.commands.options import DEFAULT_STORE, AddressOption, SetOption, StoreOption, SuiteArgument
from harness.commands.progress import watched
from harness.execution import ExecutorName
from settings.errors import UserError, counted

__all__ = ["data_app"]

data_app = typer.Typer(name="data", invoke_without_command=True, rich_markup_mode=None)
NameArgument = Annotated[str, typer.Argument(help="a known data set (see seedbed data list), or a folder's path")]
ClassesOption = Annotated[
    Path | None, typer.Option("--classes", help="names of classes, one a line; default classes.txt beside the output")
]
OptionOption = Annotated[list[str] | None, typer.Option("--set", help="option=value, as under dataset: in a suite")]


@data_app.callback()
def data(context: typer.Context) -> None:
    """List, check, show, audit and fetch data sets; import what other programs made of them, and export it to them."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@data_app.command(name="list")
def list_datasets() -> None:
    """List the known data sets."""
    from settings.discovery import DATASETS

    names = DATASETS.names()
    width = max(map(len, names))
    for name in names:
        # What a data set is stands once, in the first line of its module.
        documentation = sys.modules[DATASETS.load(name).__module__].__doc__ or ""
        first_line = documentation.strip().partition("\n")[0]
        typer.echo(f"{name:{width}}  {first_line}")


@data_app.command()
def check(
    name: NameArgument,
    set_: OptionOption = None,
    limit: Annotated[int, typer.Option(min=1, help="how many findings of one kind are shown")] = 10,
) -> None:
    """Read all photos and masks; exit code 2 where a run would fail.

    Prints counts, class balance and, one a line, all that is odd.
    """
    from harness.inspection.check import describe, find, gather_facts, to_lines
    from harness.suites.data import open_dataset

    dataset = open_dataset(name, set_ or [])
    facts = gather_facts(dataset, watched)
    findings = find(dataset, facts)
    errors = sum(finding.fails for finding in findings)
    verdict = "nothing found that a run would fail on"
    if errors:
        verdict = f"a run would fail: {counted(errors, 'error')}"
    for line in (*describe(dataset, facts), *to_lines(findings, limit), verdict):
        typer.echo(line)
    raise typer.Exit(2 * bool(errors))


@data_app.command()
def show(
    name: NameArgument,
    set_: OptionOption = None,
    output: Annotated[Path, typer.Option(help="the PNG to write")] = Path("contact-sheet.png"),
    photos: Annotated[int, typer.Option(min=1, max=300, help="how many photos, spread over the splits")] = 30,
) -> None:
    """Write a contact sheet: photos with their masks over them."""
    from harness.pictures.contact_sheet import choose, write_contact_sheet
    from harness.suites.data import open_dataset

    dataset = open_dataset(name, set_ or [])
    write_contact_sheet(output, dataset, watched(choose(dataset, photos)))
    typer.echo(f"wrote {output}")


@data_app.command()
def audit(
    suite: SuiteArgument,
    set_: SetOption = None,
    setting: Annotated[list[str] | None, typer.Option(help="only this setting; may be given again")] = None,
    truth: Annotated[
        str | None,
        typer.Option(help="measure the filter against a CSV file,query_class,true_class,kind; 'known': by the source"),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    output: Annotated[Path, typer.Option(help="the PNG of hits beside their twins")] = Path("audit.png"),
    limit: Annotated[int, typer.Option(min=1, help="how many drops of one reason are shown")] = 10,
) -> None:
    """Tell what the settings of a suite make of extra photos.

    Near-duplicates of evaluated photos, unreadable and tiny files, exact duplicates, class balance; what the filter
    keeps, and how well. Writes each hit beside its twin.
    """
    from harness.inspection.audit import audit_suite
    from harness.pictures.contact_sheet import write_audit_sheet
    from harness.reports.display import Display
    from harness.suites.suite import load_suite

    csv = None
    if truth not in (None, "known"):
        csv = Path(str(truth))
    audits = audit_suite(load_suite(suite, set_ or []), store, setting or (), csv, truth is not None, Display)
    for audit in audits:
        for line in audit.lines(limit):
            typer.echo(line)
    typer.echo(write_audit_sheet(output, [audit.offer for audit in audits], audits[0].evaluation))


@data_app.command()
def fetch(name: NameArgument, set_: OptionOption = None) -> None:
    """Download a data set.

    Its folder is `--set root=PATH`, else what the configuration names.
    """
    from harness.inspection.download import DOWNLOADS
    from harness.suites.data import open_options
    from settings.discovery import DATASETS

    # Each data set says how it is fetched, so that no name stands here.
    downloads = {known: DATASETS.load(known).download for known in DATASETS.names()}
    if not downloads.get(name):
        fetched = ", ".join(known for known, download in downloads.items() if download)
        raise UserError("seedbed data fetch", f"'{name}'", fetched, "no other data set is downloaded")
    typer.echo(DOWNLOADS[downloads[name]](open_options(name, set_ or []).root, watched))


@data_app.command(name="import-labels")
def import_labels(
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="cls_labels.npy, a one-hot .csv, COCO or Label Studio .json, a list .txt of lines `id class class`; "
            "a folder of VOC .xml, of LabelMe .json, or of masks"
        ),
    ],
    output: Annotated[Path, typer.Argument(help="the labels.csv to write")],
    classes: ClassesOption = None,
    first_class: Annotated[
        int | None, typer.Option(min=0, max=1, help="the number of the first class in a list, where that is doubtful")
    ] = None,
) -> None:
    """Write labels.csv from image-level labels as other programs keep them.

    Ids are matched with those of train.txt, dev.txt and val.txt, or of images/, beside the output. Where there is no
    classes.txt, it is written from the names of the source. Pickles are read without running what they ask for.
    """
    from harness.conversion.labels import import_labels

    typer.echo(import_labels(sources, output, classes, first_class, watched))


@data_app.command(name="import-masks")
def import_masks(
    source: Annotated[
        Path,
        typer.Argument(
            help="COCO or Label Studio .json, or a folder of LabelMe .json or of .png in colours, 1 to 16 bits, any "
            "palette"
        ),
    ],
    output: Annotated[Path, typer.Argument(help="the folder to write <photo id>.png to")],
    classes: ClassesOption = None,
    labelmap: Annotated[
        Path | None, typer.Option(help="colours of classes, lines name:r,g,b; default labelmap.txt of either folder")
    ] = None,
    read: Annotated[
        Literal["indices", "colours"] | None, typer.Option(help="what counts of a palette, where that is doubtful")
    ] = None,
    crowd: Annotated[
        Literal["object", "void"] | None,
        typer.Option(help="what COCO's iscrowd means; default void (255), unless all objects are marked so"),
    ] = None,
) -> None:
    """Write masks of class indices from what annotation tools export: CVAT, COCO, LabelMe, Label Studio and others.

    Names are matched with the ids of train.txt, dev.txt and val.txt, or of images/, beside the output; `_mask`, `_pred`
    and their like are taken off.
    """
    from harness.conversion.masks import MaskOptions, import_masks

    typer.echo(import_masks(source, output, MaskOptions(classes, labelmap, read, crowd), watched))


@data_app.command(name="import-maps")
def import_maps(
    source: Annotated[
        Path, typer.Argument(help="a folder of .npy dictionaries named by photo id, or of <id>_<class>.png")
    ],
    output: Annotated[Path, typer.Argument(help="the folder to write .npz files to, as localizer 'folder' reads them")],
    array: Annotated[str | None, typer.Option(help="default attn_highres, high_res, highres, hr_cam, cam")] = None,
    keys: Annotated[
        Literal["classes", "mask-values"] | None, typer.Option(help="0-based class ids, or 0 for the background")
    ] = None,
    normalise: Annotated[bool, typer.Option("--normalise", help="divide each map by its own maximum")] = False,
    divide: Annotated[float | None, typer.Option(min=1e-6, help="divide all maps by this, such as 255")] = None,
) -> None:
    """Convert the maps of IRN, PSA, SEAM, CLIP-ES, OAA and their like.

    The files are pickles: what asks for more than arrays is refused, and nothing of it runs.
    """
    from harness.conversion.maps import MapOptions, import_maps

    typer.echo(import_maps(source, output, MapOptions(array, keys, normalise, divide), watched))


@data_app.command(name="export-labels")
def export_labels(
    name: NameArgument,
    output: Annotated[Path, typer.Argument(help="cls_labels.npy, or a list .txt of lines `id class class`, to write")],
    set_: OptionOption = None,
    keys: Annotated[
        Literal["text", "numbers"], typer.Option(help="ids in .npy as they are, or as IRN's numbers: 2007000032")
    ] = "text",
) -> None:
    """Write the image-level labels of train and dev as IRN, PSA and MCIS read them; classes are 0-based, in order."""
    from harness.conversion.forms import write_labels_form
    from harness.suites.data import open_dataset

    dataset = open_dataset(name, set_ or [])
    labels = {photo_id: dataset.photo(photo_id).labels for photo_id in dataset.training_ids}
    write_labels_form(output, labels, dataset.label_space.foreground, keys)
    typer.echo(f"labels of {counted(len(labels), 'photo')}: {output}")


@data_app.command(name="export-maps")
def export_maps(
    suite: SuiteArgument,
    recipe: Annotated[str, typer.Option(help="one of the suite's recipes")],
    form: Annotated[
        Literal["irn", "psa", "mcis", "ir_label", "sem_seg"],
        typer.Option(help="maps as .npy dictionaries or grey PNGs; or masks: of sure pixels, or pseudo labels"),
    ],
    output: Annotated[Path, typer.Option(help="the folder to write")],
    set_: SetOption = None,
    store: StoreOption = DEFAULT_STORE,
    setting: Annotated[str | None, typer.Option(help="default: the suite's first")] = None,
    rng_seed: Annotated[int | None, typer.Option(min=0, help="default: the recipe's first")] = None,
    executor: Annotated[
        ExecutorName | None, typer.Option(help="this process alone, or Ray workers; default: ray")
    ] = None,
    slots: Annotated[int | None, typer.Option(min=1, help="compute threads at once; default: all cores")] = None,
    address: AddressOption = None,
) -> None:
    """Write what a recipe makes of the photos that segmentation is trained on, for another program to go on from.

    \b
    irn       <id>.npy {keys, cam, high_res}, as IRN's make_cam.py
    psa       <id>.npy {class id: map}, as PSA and SEAM
    mcis      <id>_<class id>.png in grey, as OAA and MCIS
    ir_label  <id>.png, what refiner irn or affinity learns from; 255 unknown
    sem_seg   <id>.png, the recipe's pseudo labels

    What a run of the suite has made is not made again.
    """
    from harness.execution.workers import Workers
    from harness.leaderboards.export import ExportRequest, export_maps
    from harness.reports.display import Display
    from harness.suites.suite import load_suite

    request = ExportRequest(recipe=recipe, setting=setting, rng_seed=rng_seed, form=form)
    workers = Workers(executor, slots, address)
    typer.echo(export_maps(load_suite(suite, set_ or []), store, request, output, workers, Display))
