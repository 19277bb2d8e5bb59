"""Diagnostics as stages: what is measured beside the rows of a localizer's classifier and maps, and of a cue."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from harness.stages.cue import plan_saliency
from harness.stages.features import plan_features
from harness.stages.fit import held_out_photos
from harness.stages.graph import Stage
from harness.stages.kind import Identity, PhotosRuntime, StageKind
from harness.stages.line import Line
from harness.stages.localizer import plan_held_out_fit, plan_maps
from harness.stages.pretraining import plan_backbone
from harness.stages.source import Source, labels_content, photo_ids, spread
from harness.stages.stored import StoredMasks, maps_of_photos
from harness.stages.weak_set import seen_by
from harness.stages.work import Work
from harness.store.layout import MapFiles, MaskFiles, MeasureFiles, Ref
from harness.suites.recipes import ComponentIdentity
from methods.base import LocalizationMaps, Localizer
from results.metrics.classification import mean_average_precision
from results.metrics.flatness import Flatness, flatness, mean_flatness
from results.metrics.foreground import Overlap, foreground_iou, overlap
from results.metrics.miou import nullable
from settings.records import Mask, Photo, WeakSet
from settings.supervision import LedgerEntry, Purpose

__all__ = [
    "PLANNERS",
    "Diagnose",
    "DiagnosticRuntime",
    "Examine",
    "ExamineCue",
    "Shown",
    "read_measures",
    "write_measures",
]

SomeIdentity = TypeVar("SomeIdentity", bound=Identity)
MAX_PHOTOS = 128
"""So many photos tell the flatness of maps well enough, and views of them are quickly made."""
VERSION = 1
"""Raised when a measure changes: it is part of every key here."""


@dataclass(frozen=True)
class Shown:
    """What a table of diagnostics says of a measure's place."""

    recipe: str
    setting: str
    training_mode: str
    rng_seed: int
    diagnostic: str


@dataclass(frozen=True, kw_only=True)
class DiagnosticRuntime(PhotosRuntime):
    """The photos, and where the table shows what is measured on them."""

    shown: Shown


@dataclass(frozen=True, kw_only=True)
class DiagnosticIdentity(Identity):
    """The labels of the photos that something is measured on; each diagnostic adds the component and masks it reads."""

    labels: str
    """sha256 over ids and labels."""
    version: int


@dataclass(frozen=True, kw_only=True)
class ExamineIdentity(DiagnosticIdentity):
    """The localizer whose classifier is measured, by a fit that left the measured photos out."""

    component: ComponentIdentity
    rng_seed: int


class Examine(StageKind[ExamineIdentity, DiagnosticRuntime]):
    """The weights of the held-out fit and features of the photos it left out → scores, and their mAP.

    `scores.npz` has ids (N), scores_NK (logits) and labels_NK (multi-hot); no mask is read.
    """

    name = "examine"
    identity = ExamineIdentity
    runtime = DiagnosticRuntime
    writes = MeasureFiles
    seconds_a_photo = 0.01

    def run(self, work: Work[ExamineIdentity, DiagnosticRuntime]) -> None:
        """Score the photos; a localizer that gives no scores with these options has no measure."""
        photos, space = work.photos(), seen_by(work).label_space
        localizer: Localizer = work.component(work.identity.component)
        scores_NK = localizer.scores_NK(photos, work.surroundings(space, bank=work.bank(), weights=work.weights()))
        files = work.files(MeasureFiles)
        if scores_NK is None:
            # Known only now: it hangs on options, which planning hands on without reading them.
            write_measures(files, {})
            return
        labels_NK = WeakSet(photos, space).labels_NK()
        ids = photo_ids(photos)
        np.savez(files.scores, ids=np.array(ids), scores_NK=scores_NK, labels_NK=labels_NK)
        result = mean_average_precision(scores_NK, labels_NK)
        write_measures(
            files,
            {"classifier mAP": result.mean},
            per_class=dict(zip(space.names, map(nullable, result.per_class), strict=True)),
            undefined=[space.names[class_id] for class_id in result.undefined],
        )
        # Training options may be chosen by this figure: so these labels are on record as read to choose.
        work.write_ledger((LedgerEntry("image_labels", "dev", "choose", self.name, ids),))


@dataclass(frozen=True, kw_only=True)
class DiagnoseIdentity(DiagnosticIdentity):
    """The localizer whose maps are measured, and the true masks that they are held against."""

    component: ComponentIdentity
    dataset: Mapping[str, object]
    masks: str
    purpose: Purpose
    rng_seed: int | None = None
    """For localizers that were trained."""


class Diagnose(StageKind[DiagnoseIdentity, DiagnosticRuntime]):
    """Stored maps and views of dev photos against true masks → flatness by kind of map, and the localizer's own."""

    name = "diagnose"
    identity = DiagnoseIdentity
    runtime = DiagnosticRuntime
    writes = MeasureFiles
    seconds_a_photo = 0.1

    def run(self, work: Work[DiagnoseIdentity, DiagnosticRuntime]) -> None:
        """Measure the flatness of each photo's maps and views, then what the localizer itself can tell."""
        localizer: Localizer = work.component(work.identity.component)
        photos, weak, gate = work.photos(), seen_by(work), work.gate("score")
        weights, bank = work.weights(), work.bank()
        trained_on = work.surroundings(weak.label_space, weak=weak, bank=bank, weights=weights)
        final = maps_of_photos(work.read("maps", MapFiles), photo_ids(photos))
        found: dict[str, list[Flatness]] = defaultdict(list)
        for photo in work.counted(photos):
            truth_HW = gate.mask("dev", photo.id)
            shown = {"maps": final[photo.id], **localizer.views(photo, trained_on)}
            for name, maps in shown.items():
                found[name] += _by_label(maps, truth_HW)
        measures: dict[str, float] = {}
        for name, values in found.items():
            for where, value in mean_flatness(values)._asdict().items():
                measures[f"flatness {where}, {name}"] = value
        # The measured photos alone: of the others there may be no features among the inputs.
        measured = WeakSet(photos, weak.label_space)
        only_these = work.surroundings(weak.label_space, weak=measured, bank=bank, weights=weights)
        write_measures(work.files(MeasureFiles), {**measures, **localizer.measures(photos, only_these)})
        work.write_ledger(gate.entries())


@dataclass(frozen=True, kw_only=True)
class ExamineCueIdentity(DiagnosticIdentity):
    """The true masks that saliency maps are held against; the maps are among the inputs."""

    dataset: Mapping[str, object]
    masks: str
    purpose: Purpose


class ExamineCue(StageKind[ExamineCueIdentity, DiagnosticRuntime]):
    """Saliency maps against true masks → foreground IoU of dev and of train."""

    name = "examine_cue"
    identity = ExamineCueIdentity
    runtime = DiagnosticRuntime
    writes = MeasureFiles
    seconds_a_photo = 0.006
    sources = "results.metrics.foreground"

    def run(self, work: Work[ExamineCueIdentity, DiagnosticRuntime]) -> None:
        """Count each photo's overlap with its true foreground, and sum up split by split."""
        saliency, gate = StoredMasks(work.read("cue", MaskFiles)), work.gate("score")
        split_of: dict[str, str] = {}
        for split in ("dev", "train"):
            split_of |= dict.fromkeys(work.dataset.splits[split], split)
        overlaps: dict[str, list[Overlap]] = defaultdict(list)
        for photo in work.counted(work.photos()):
            split, map_HW = split_of[photo.id], saliency.saliency(photo.id)
            assert map_HW is not None
            overlaps[split].append(overlap(map_HW, gate.mask(split, photo.id)))
        measures = {}
        for split, found in sorted(overlaps.items()):
            measures[f"foreground IoU of the cue, {split}"] = foreground_iou(found)
        write_measures(work.files(MeasureFiles), measures)
        work.write_ledger(gate.entries())


def read_measures(files: MeasureFiles) -> dict[str, float | None]:
    """What a diagnostic measured, by name; None where the measure is undefined."""
    measures: dict[str, float | None] = json.loads(files.measures.read_text(encoding="utf-8"))["measures"]
    return measures


def _by_label(maps: LocalizationMaps, truth_HW: Mask) -> list[Flatness]:
    """The flatness of each map of a photo against the true mask of its class, at the photo's own size."""
    from methods.upsampling import upsample

    pairs = zip(upsample(maps), maps.class_ids, strict=True)
    return [flatness(map_HW, truth_HW, class_id) for map_HW, class_id in pairs]


def write_measures(files: MeasureFiles, measures: Mapping[str, float], **more: object) -> None:
    """Write what a diagnostic measured, by name, and what else belongs beside it; nan becomes null."""
    # JSON has no NaN: what is undefined is null in the file.
    plain_measures = {name: nullable(float(value)) for name, value in measures.items()}
    content = {"measures": plain_measures, **more}
    files.measures.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _plan_examine(line: Line) -> Ref | None:
    """The classifier of the fit that left the held-out photos out, on these photos."""
    localizer, photos = line.components.localizer, held_out_photos(line)
    if localizer is None or not localizer.trained or not photos:
        return None
    # It was shown the labels of these photos, too.
    if line.components.pretraining is not None and line.components.pretraining.reads_labels:
        return None
    # The base class gives no scores: a fit of its own would be trained to measure nothing.
    if type(localizer).scores_NK is Localizer.scores_NK:
        return None
    fit = plan_held_out_fit(line)
    identity = ExamineIdentity(
        # What only `apply` reads changes no score.
        component=line.components.identity("localizer", fit=True),
        rng_seed=line.rng_seed,
        labels=labels_content(photos),
        version=VERSION,
    )
    inputs = {"weights": (fit,), "features": _features(line, localizer, fit, photos)}
    return _add(line, Examine(), identity, inputs, photos, "classifier", line.components.places("localizer"))


def _features(line: Line, localizer: Localizer, fit: Ref, photos: Sequence[Photo]) -> tuple[Ref, ...]:
    """The features that the held-out fit's classifier reads of the photos that it left out."""
    source, requests = line.source, localizer.fit_features()
    if line.mode == "frozen":
        shards = source.shards_of(photo_ids(photos))
        return plan_features(line.blueprint, source, requests, shards, plan_backbone(line))
    # Nobody else asks for features of this backbone: those of the held-out photos are enough.
    alone = Source(f"{source.name}, held out", tuple(photos), source.place)
    return plan_features(line.blueprint, alone, requests, alone.every_shard, fit)


def _plan_diagnose(line: Line) -> Ref | None:
    """The stored maps and the views of photos with masks, from what the maps were made of."""
    localizer, photos = line.components.localizer, _photos_with_masks(line)
    if localizer is None or not photos:
        return None
    maps = tuple(plan_maps(line, shard) for shard in line.source.shards_of(photo_ids(photos)))
    # What learns nothing has the same maps for every rng seed: it is measured once.
    rng_seed = None
    if localizer.trained:
        rng_seed = line.rng_seed
    identity = DiagnoseIdentity(
        component=line.components.identity("localizer"),
        **line.blueprint.true_masks(photo_ids(photos), "score"),
        rng_seed=rng_seed,
        labels=labels_content(photos),
        version=VERSION,
    )
    # Views are stored nowhere: they are made anew, from what the maps were made of.
    made_of = _inputs_of([line.blueprint.graph[ref] for ref in maps])
    inputs = {"maps": maps, **made_of}
    places, masks = line.components.places("localizer"), line.blueprint.short_masks(photo_ids(photos))
    return _add(line, Diagnose(), identity, inputs, photos, "maps", places, masks)


def _inputs_of(stages: Sequence[Stage]) -> dict[str, tuple[Ref, ...]]:
    """What the stages read, role by role, each artefact once."""
    inputs: dict[str, dict[Ref, None]] = defaultdict(dict)
    for stage in stages:
        for role, refs in stage.inputs.items():
            inputs[role] |= dict.fromkeys(refs)
    return {role: tuple(refs) for role, refs in inputs.items()}


def _plan_examine_cue(line: Line) -> Ref | None:
    """The cue of the photos of dev and train against their masks."""
    cue, dataset = line.components.cue, line.blueprint.dataset
    masked: set[str] = set()
    for split in ("dev", "train"):
        masked |= set(filter(dataset.has_mask, dataset.splits[split]))
    photos = tuple(photo for photo in line.source.photos if photo.id in masked)
    if cue is None or not photos:
        return None
    truth = line.blueprint.true_masks(photo_ids(photos), "score")
    identity = ExamineCueIdentity(**truth, labels=labels_content(photos), version=VERSION)
    shards = line.source.shards_of(photo_ids(photos))
    inputs = {"cue": tuple(plan_saliency(line, shard) for shard in shards)}
    masks = line.blueprint.short_masks(photo_ids(photos))
    return _add(line, ExamineCue(), identity, inputs, photos, "cue", masks=masks)


PLANNERS: Mapping[str, Callable[[Line], Ref | None]] = {
    "classifier": _plan_examine,
    "maps": _plan_diagnose,
    "cue": _plan_examine_cue,
}
"""What plans a stage for a diagnostic of this name where a line and its data set allow one.

Recipes with one localizer or cue have one stage: it bears the name of the first.
"""


def _photos_with_masks(line: Line) -> tuple[Photo, ...]:
    """Photos of dev with labels and a true mask, spread evenly where there are many."""
    dataset = line.blueprint.dataset
    dev = set(filter(dataset.has_mask, dataset.splits["dev"]))
    labelled = [photo.id for photo in line.source.photos if photo.id in dev and photo.labels]
    chosen = set(spread(labelled, MAX_PHOTOS))
    return tuple(photo for photo in line.source.photos if photo.id in chosen)


def _add(
    line: Line,
    kind: StageKind[SomeIdentity, DiagnosticRuntime],
    identity: SomeIdentity,
    inputs: Mapping[str, tuple[Ref, ...]],
    photos: Sequence[Photo],
    diagnostic: str,
    places: Mapping[str, object] | None = None,
    masks: tuple[str, ...] | None = None,
) -> Ref:
    runtime = DiagnosticRuntime(
        place=line.source.place,
        ids=photo_ids(photos),
        photo_contents=line.source.short_contents(photos),
        mask_contents=masks,
        places=places,
        shown=Shown(line.recipe, line.source.name, line.mode, line.rng_seed, diagnostic),
    )
    return line.blueprint.add(
        kind,
        identity,
        runtime,
        threads=line.blueprint.suite.compute.threads,
        inputs=inputs,
        label=line.label(f"diagnostics of the {diagnostic}"),
        group=line.group("diagnostics"),
        photos=len(photos),
    )
