"""Predictions of photos without true masks, as whoever holds these wants to get them: a folder and an archive of it."""

from __future__ import annotations

import gzip
import tarfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from harness.execution.running import Display, run_plan
from harness.execution.workers import Workers
from harness.leaderboards.choice import LineRequest, line_of, made_by
from harness.stages.blueprint import Blueprint
from harness.stages.line import Line
from harness.stages.planning import Plan
from harness.stages.plugins import read_plugins
from harness.stages.scoring import plan_main_choice
from harness.stages.segmenter import plan_segmentation
from harness.stages.source import Source
from harness.store.backends.urls import Location
from harness.store.layout import MaskFiles
from harness.store.store import Store
from harness.suites.suite import Suite
from methods.base import Segmenter
from methods.segmenting import variant_of
from settings.dataset import TEST, Dataset, ServerLayout
from settings.errors import UserError, unknown_name
from settings.files import write_bytes
from settings.masks import encode_mask, read_mask
from settings.photo_ids import file_of
from settings.plugins import plugged_in

__all__ = ["Predicted", "Request", "predict"]

ARCHIVE = "results.tgz"


@dataclass(frozen=True, kw_only=True)
class Request(LineRequest):
    """Which photos are segmented, and by what; None stands for the suite's first."""

    split: str = TEST
    variant: str | None = None


class Predicted(NamedTuple):
    """What was written."""

    folder: Path
    """It holds `<id>.png`."""
    archive: Path
    photos: int
    line: str
    """Recipe, setting, rng seed and variant, in words."""


def predict(
    suite: Suite, location: Location, request: Request, output: Path | None, workers: Workers, display: Display
) -> Predicted:
    """Segment photos with a recipe's network, which is trained where the store does not hold it, and write the masks.

    By default into the suite's folder of leaderboards. Raises UserError for unknown names, where there are no such
    photos, for a recipe without segmentation, and where a stage fails.
    """
    with plugged_in(read_plugins(suite.plugins)):
        blueprint = Blueprint(suite)
        photos = _source(blueprint, request.split)
        line = line_of(suite, blueprint, request)
        segmenter = _segmenter(line, request)
        choice, refs = plan_main_choice(line), []
        for shard in photos.every_shard:
            refs.append(plan_segmentation(line, photos, photos.shards[shard], [shard], choice, segmenter))
        # Keys are those of a run of the suite: what it has trained is not trained again.
        plan = Plan(suite, blueprint.graph, tuple(refs))
        with run_plan(plan, location, workers, display) as run:
            masks: dict[str, Path] = {}
            for folder in made_by(run, refs, "predictions"):
                masks |= MaskFiles(folder).by_photo()
            name = f"{request.split}-{line.recipe}-{line.source.name}-{line.rng_seed}-{variant_of(segmenter)}"
            target = output or Store.at(run.location).leaderboard_folder(suite.folder_name) / name
            layout = blueprint.dataset.server_layout(request.split)
            archive = _write(masks, layout, target)
    told = f"{line.recipe}, setting {line.source.name}, rng seed {line.rng_seed}, {variant_of(segmenter)}"
    return Predicted(target / layout.folder, archive, len(masks), told)


def _source(blueprint: Blueprint, split: str) -> Source:
    """The photos, without labels; those of val are what a run of the suite segments too."""
    dataset: Dataset = blueprint.dataset
    if split == blueprint.val.name:
        return blueprint.val
    if split not in (*dataset.splits, TEST):
        raise unknown_name("--split", "split", split, (*dataset.splits, TEST))
    photos = dataset.eval_set(split).photos
    if not photos:
        where = f"{dataset.name}/{split}"
        raise UserError(
            where, "no photo", f"a list {TEST}.txt, as the data set's layout has it", "see docs/leaderboards.md"
        )
    return Source(split, photos, blueprint.place)


def _segmenter(line: Line, request: Request) -> Segmenter:
    """The network in the way in which it is to be run."""
    if line.components.segmenter is None:
        raise UserError("--recipe", f"'{line.recipe}', which ends before segmentation", "a recipe with a segmenter")
    variants = {variant_of(variant): variant for variant in line.components.variants}
    name = request.variant or next(iter(variants))
    if name not in variants:
        raise unknown_name("--variant", "variant", name, variants)
    return variants[name]


def _write(masks: dict[str, Path], layout: ServerLayout, folder: Path) -> Path:
    """Write masks with the server's values into its folder below `folder`, and the archive of them beside it.

    The same masks give the same bytes. Raises UserError where nothing can be written.
    """
    content = BytesIO()
    try:
        with (
            gzip.GzipFile(fileobj=content, mode="wb", mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w") as tar,
        ):
            for photo_id in sorted(masks):
                png = encode_mask(layout.values[read_mask(masks[photo_id])])
                path = file_of(folder / layout.folder, photo_id, MaskFiles.SUFFIX)
                write_bytes(path, png)
                member = tarfile.TarInfo(path.relative_to(folder).as_posix())
                member.size = len(png)
                tar.addfile(member, BytesIO(png))
        write_bytes(folder / ARCHIVE, content.getvalue())
    except OSError as error:
        raise UserError("--output", f"'{folder}', which cannot be written ({error.strerror})", "a folder") from None
    return folder / ARCHIVE
