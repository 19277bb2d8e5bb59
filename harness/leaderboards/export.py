"""`seedbed data export-maps`: what a recipe makes of photos, for another program to go on from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from harness.conversion.forms import MAP_FORMS, write_map_form
from harness.execution.running import Display, run_plan
from harness.execution.workers import Workers
from harness.leaderboards.choice import LineRequest, line_of, made_by
from harness.stages.blueprint import Blueprint
from harness.stages.labels import plan_pseudo_labels
from harness.stages.line import Line
from harness.stages.planning import Plan
from harness.stages.plugins import read_plugins
from harness.stages.refiner import plan_final_maps, plan_refined
from harness.stages.scoring import plan_main_choice
from harness.store.backends.urls import Location
from harness.store.layout import MapFiles, MaskFiles, Ref
from harness.suites.suite import Suite
from methods.base import LocalizationMaps
from methods.label_steps import Scores
from methods.upsampling import upsample
from settings.errors import UserError, counted, kind_of
from settings.files import write_bytes
from settings.masks import encode_mask
from settings.photo_ids import file_of
from settings.plugins import plugged_in
from settings.records import Image, Mask, Photo

__all__ = ["ExportForm", "ExportRequest", "export_maps"]

ExportForm: TypeAlias = Literal["irn", "psa", "mcis", "ir_label", "sem_seg"]
"""The first three are maps (`conversion.forms`), the others masks: `<id>.png` with 0, class id + 1, 255 unknown."""


@runtime_checkable
class LearnsFromLabels(Protocol):
    """A refiner that is trained on labels of sure pixels, as AffinityNet and IRN are."""

    def sure_labels(self, maps_CHW: Scores, class_ids: tuple[int, ...], image_HWC_uint8: Image) -> Mask:
        """The label of each pixel of a photo, from its maps at the photo's size; 255 where it is not sure."""
        ...


@dataclass(frozen=True, kw_only=True)
class ExportRequest(LineRequest):
    """Which line, and in which form its maps or masks are written."""

    form: ExportForm


class _Wanted(NamedTuple):
    """The stages whose artefacts are written, one a shard, and what writes those of a shard."""

    refs: tuple[Ref, ...]
    write: Callable[[Path, Path], Iterable[str]]
    """(folder of a stage, folder of the output) → the photos as they are written."""
    what: str


def export_maps(
    suite: Suite, location: Location, request: ExportRequest, output: Path, workers: Workers, display: Display
) -> str:
    """Write what a line has of the photos that segmentation is trained on, and say what was written.

    Stages that the store does not hold are run, with the keys of a run of the suite. Raises UserError for unknown
    names, for a recipe without such maps or masks, where a stage fails, and where the output cannot be written.
    """
    if output.exists() and not output.is_dir():
        raise UserError("--output", f"'{output}', {kind_of(output)}", "a folder, or a name that is free")
    with plugged_in(read_plugins(suite.plugins)):
        blueprint = Blueprint(suite)
        line = line_of(suite, blueprint, request)
        wanted = _wanted(line, request)
        plan = Plan(suite, blueprint.graph, tuple(dict.fromkeys(wanted.refs)))
        written = 0
        with run_plan(plan, location, workers, display) as run:
            for folder in made_by(run, wanted.refs, wanted.what):
                try:
                    written += sum(1 for _ in wanted.write(folder, output))
                except OSError as error:
                    found = f"'{output}', which cannot be written ({error.strerror})"
                    raise UserError("--output", found, "a folder") from None
    told = f"{line.recipe}, setting {line.source.name}, rng seed {line.rng_seed}"
    return f"{wanted.what} of {counted(written, 'photo')} by {told}, as {request.form}: {output}"


def _wanted(line: Line, request: ExportRequest) -> _Wanted:
    shards, form = line.source.taught, request.form
    if form in MAP_FORMS:
        _check_localizer(line, request)
        refs = tuple(plan_final_maps(line, shard) for shard in shards)
        return _Wanted(refs, lambda folder, output: _write_maps(form, folder, output), "maps")
    if form == "ir_label":
        step, refiner = _learner(line, request)
        refs = tuple(plan_refined(line, shard, step) for shard in shards)
        photos = {photo.id: photo for shard in shards for photo in line.source.shards[shard]}
        return _Wanted(refs, lambda folder, output: _write_sure(refiner, photos, folder, output), "labels")
    if line.components.labeler is None:
        found = f"recipe '{request.recipe}', which makes no pseudo labels"
        raise UserError("--form sem_seg", found, "a recipe with a labeler")
    choice = plan_main_choice(line)
    return _Wanted(tuple(plan_pseudo_labels(line, shard, choice) for shard in shards), _write_masks, "masks")


def _check_localizer(line: Line, request: ExportRequest) -> None:
    if line.components.localizer is None:
        found = f"recipe '{request.recipe}', which makes no maps"
        mend = "--form sem_seg writes its pseudo labels" if line.components.labeler else ""
        raise UserError(f"--form {request.form}", found, "a recipe with a localizer", mend)


def _learner(line: Line, request: ExportRequest) -> tuple[int, LearnsFromLabels]:
    """The first refiner that learns from labels of sure pixels, and how many refiners come before it."""
    for step, refiner in enumerate(line.components.refiners):
        if isinstance(refiner, LearnsFromLabels):
            return step, refiner
    found = f"recipe '{request.recipe}', no refiner of which learns from labels of sure pixels"
    expected = "a recipe with refiner irn or affinity"
    raise UserError("--form ir_label", found, expected, "--form sem_seg writes a recipe's pseudo labels")


def _write_maps(form: str, folder: Path, output: Path) -> Iterable[str]:
    for record in _read(folder):
        write_map_form(form, output, record)
        yield record.photo_id


def _write_sure(refiner: LearnsFromLabels, photos: dict[str, Photo], folder: Path, output: Path) -> Iterable[str]:
    for record in _read(folder):
        mask_HW = refiner.sure_labels(upsample(record), record.class_ids, photos[record.photo_id].image())
        write_bytes(file_of(output, record.photo_id, MaskFiles.SUFFIX), encode_mask(mask_HW))
        yield record.photo_id


def _write_masks(folder: Path, output: Path) -> Iterable[str]:
    for photo_id, path in MaskFiles(folder).by_photo().items():
        write_bytes(file_of(output, photo_id, MaskFiles.SUFFIX), path.read_bytes())
        yield photo_id


def _read(folder: Path) -> list[LocalizationMaps]:
    from methods.localization import read_maps

    return read_maps(MapFiles(folder).maps)
