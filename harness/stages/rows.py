"""Rows of a leaderboard as stages: counts of all shards become one row, with all that it has cost and read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness.stages.kind import DataRuntime, Identity, StageKind
from harness.stages.labels import plan_pseudo_labels, read_threshold
from harness.stages.line import Line
from harness.stages.lineage import Lineage
from harness.stages.numerics import precision_of
from harness.stages.scoring import (
    PROTOCOL,
    SWEEP_STEPS,
    SweepKind,
    declared_threshold,
    plan_choice,
    plan_main_choice,
    plan_scores,
    plan_segmentation_scores,
    plan_sweeps,
    reported_shards,
    segmented_shards,
)
from harness.stages.segmenter import plan_predictions, step_name
from harness.stages.source import once
from harness.stages.weak_set import plan_weak_set, setting_fields
from harness.stages.work import Work
from harness.store.layout import ChoiceFiles, CountFiles, Ref, RowFiles, WeakSetFiles
from methods.base import Component, FeatureReader, TrainingOptions
from methods.segmenting import variant_of
from results.evaluation import evaluation_fingerprint
from results.measured import label_fields, measured_fields
from results.metrics.counts import Counts
from results.per_image import (
    image_ids,
    joined,
    read_table,
    total_counts,
    total_label_counts,
    total_sweep,
    write_table,
)
from results.plausibility import no_foreground
from results.protocols import protocol
from results.rows import Row, ScoredStage, Tier, write_rows
from results.selection import ORACLE
from settings.errors import UserError
from settings.records import UNKNOWN, fingerprint

__all__ = ["RowIdentity", "RowKind", "RowPlace", "RowRuntime", "plan_rows", "plan_unscored"]


@dataclass(frozen=True)
class RowPlace:
    """Where a row stands: the entries of `results.rows.Row` that are known before anything is run."""

    dataset: str
    split: str
    recipe: str
    setting: str
    training_mode: str
    rng_seed: int
    stage: ScoredStage
    variant: str
    policy: str
    classes: tuple[str, ...]
    supervision: str
    extra_in_stage_2: bool
    protocol: str
    # Older stores described rows without these.
    backbone: str | None = None
    """The network whose features the recipe reads; None, and no size, where it reads none."""
    backbone_size: int | None = None
    options: str | None = None
    """What stands for all options of the recipe: see `results.rows.Row`."""
    pretraining_epochs: int | None = None
    localizer_epochs: int | None = None
    """Of each network behind the row; None where it has none that is trained by epochs."""
    refiner_epochs: int | None = None
    cue_epochs: int | None = None
    segmenter_epochs: int | None = None
    photos_of_split: int | None = None
    tier: Tier | None = None
    """None: all that is behind the row was made here."""

    def fields(self) -> dict[str, Any]:
        """The place as entries of `results.rows.Row`, with the version of the protocol."""
        # A list of classes, as a row that was read from parquet has it: the two must be equal.
        version = protocol(self.protocol).version
        told = {name: value for name, value in asdict(self).items() if value is not None}
        return {**told, "classes": list(self.classes), "protocol_version": version}


@dataclass(frozen=True, kw_only=True)
class RowIdentity(Identity):
    """Where the row stands and how it is read off the counts among its inputs."""

    row: RowPlace
    threshold: float | None
    """At which a sweep is read, where no policy chose it and no masks were counted."""
    steps: int
    version: int
    declared_on: Mapping[str, int] | None = None
    """How many masks of each split the recipe's options were chosen on before the run; None where on none."""


@dataclass(frozen=True, kw_only=True)
class RowRuntime(DataRuntime):
    """Of the networks behind a row, whose own keys tell it already: their arithmetic, and what they see of photos."""

    arithmetic: str = ""
    inputs: str = ""


class RowKind(StageKind[RowIdentity, RowRuntime]):
    """Counts of all shards → one row, with its ledger and its cost from everything it comes from."""

    name = "row"
    identity = RowIdentity
    runtime = RowRuntime
    writes = RowFiles
    sources = "results.metrics.miou"

    def run(self, work: Work[RowIdentity, RowRuntime]) -> None:
        """Add up the counts, gather what every ancestor put on record, and write the row and its per-image counts."""
        place, counted = work.identity.row, work.read("counts", CountFiles)
        table = joined([read_table(files.counts) for files in counted])
        threshold = _threshold(work)
        labels = None
        if work.inputs["counts"][0].kind == SweepKind.name:
            swept = total_sweep(table, len(place.classes), work.identity.steps)
            total = swept.counts(round((threshold or 0.0) * work.identity.steps))
        elif place.stage == "segmentation":
            total = total_counts(table, len(place.classes))
        else:
            # Maps that are read beside a background are scored as the labels so read, which may leave pixels undecided.
            labels = total_label_counts(table, len(place.classes))
            total = labels.as_background
        _refuse_background_alone(place, total)
        measured = measured_fields(total, place.classes)
        if labels is not None and place.stage == "pseudo_labels":
            measured = label_fields(labels, place.classes)
        lineage = Lineage.of(work)
        costs = lineage.row_fields(work.identity.declared_on or {})
        (weak_set,) = work.read("weak_set", WeakSetFiles)
        masks_used = costs["masks_trained"] + costs["masks_chosen"]
        row = Row(
            **place.fields(),
            **measured,
            photos=len(image_ids(table)),
            evaluation_fingerprint=_evaluation_fingerprint(counted, place.classes),
            threshold=threshold,
            arithmetic=work.runtime.arithmetic,
            inputs=work.runtime.inputs,
            **costs,
            **setting_fields(weak_set, work.offer, place.supervision, masks_used),
        )
        files = work.files(RowFiles)
        # Beside the row: a table tells of changed sources without opening any ancestor of a finished suite.
        files.sources.write_text(json.dumps(lineage.sources()), encoding="utf-8")
        write_rows(files.rows, [row])
        # Per image: intervals, subsets and the sheets by score come from these counts, not from pixels again.
        write_table(files.counts, table)


def _refuse_background_alone(place: RowPlace, total: Counts) -> None:
    """Raise UserError where no true mask holds a class: a mIoU of 1 for whoever predicts nothing is no score."""
    # Planning looks at masks too; what it cannot read, a stage may.
    pixels = np.zeros(UNKNOWN + 1, np.int64)
    pixels[: total.classes] = total.confusion.sum(axis=1)
    if found := no_foreground(pixels):
        expected = f"pixels of classes 1..{total.classes - 1}"
        raise UserError(f"{place.dataset}/{place.split}", found, expected, "see `seedbed data check`")


def _threshold(work: Work[RowIdentity, RowRuntime]) -> float | None:
    for choice in work.read("select", ChoiceFiles):
        return read_threshold(choice)
    return work.identity.threshold


def _evaluation_fingerprint(counted: Sequence[CountFiles], classes: Sequence[str]) -> str:
    """What the row was scored on, from the digests that lie beside the counts of each shard."""
    digests: dict[str, str] = {}
    for files in counted:
        digests |= json.loads(files.truth.read_text(encoding="utf-8"))
    return evaluation_fingerprint(classes, digests)


def plan_rows(line: Line) -> list[Ref]:
    """A row of the line for each stage that is scored, under each policy."""
    rows, threshold = [], declared_threshold(line)
    # Masks may be absent for maps and for segmentation alone: each kind of row looks for its own.
    has_reported = bool(reported_shards(line))
    for policy, last in line.blueprint.policies.items():
        # Beside a rule without a threshold the best threshold would be another recipe's figure.
        if policy == ORACLE and threshold is None:
            continue
        if threshold is not None and has_reported:
            rows.append(_plan_maps_row(line, policy, threshold))
        elif _is_argmax(line) and has_reported:
            rows.append(_plan_row(line, _maps_stage(line), policy, plan_scores(line, policy)))
        # The revealed masks of a ceiling are not scored against themselves.
        if line.components.labeler and last in ("pseudo_labels", "segmentation") and has_reported:
            rows.append(_plan_row(line, "pseudo_labels", policy, plan_scores(line, policy)))
        if last == "segmentation" and segmented_shards(line):
            for variant in line.components.variants:
                counts = plan_segmentation_scores(line, policy, variant)
                rows.append(_plan_row(line, "segmentation", policy, counts, variant_of(variant)))
    return rows


def plan_unscored(line: Line) -> dict[str, tuple[Ref, ...]]:
    """What a data set without true masks is run for instead of rows: its pseudo labels, its predictions."""
    wanted: dict[str, tuple[Ref, ...]] = {}
    if line.components.labeler and not reported_shards(line):
        choice = plan_main_choice(line)
        wanted["pseudo_labels"] = tuple(plan_pseudo_labels(line, shard, choice) for shard in line.source.every_shard)
    if line.components.segmenter and not segmented_shards(line):
        val = line.blueprint.val
        wanted["predictions"] = plan_predictions(line, val, val.every_shard, plan_main_choice(line))
    return wanted


def _plan_maps_row(line: Line, policy: str, declared: float) -> Ref:
    stage, choice = _maps_stage(line), plan_choice(line, policy)
    if choice is None:
        return _plan_row(line, stage, policy, plan_sweeps(line), threshold=declared)
    return _plan_row(line, stage, policy, plan_sweeps(line), choice=choice)


def _maps_stage(line: Line) -> ScoredStage:
    """The maps that are scored are those that the labeler reads; a recipe without refiners scores the others."""
    if line.components.refiners:
        return "refined"
    return "maps"


def _is_argmax(line: Line) -> bool:
    """Whether maps are read beside a background map of their own: then they are scored by the labels so read."""
    labeler = line.components.labeler
    return labeler is not None and labeler.needs_background


def _arithmetic(line: Line) -> str:
    """What sets rows apart that are otherwise alike; empty where no component of the recipe has a choice."""
    compute = line.blueprint.suite.compute
    if compute.precision == "auto" and not line.components.bfloat16_pays:
        return ""
    return precision_of(compute, line.components.bfloat16_pays)


@once
def _options(line: Line) -> str:
    """What stands for all options of the recipe, however the suite came by them: the same for all rows of a line."""
    blueprint, source, components = line.blueprint, line.source, line.components
    files: list[str] = []
    for component in components.parts:
        read = blueprint.val if component is components.segmenter else source
        # Extra photos have files of their own, and make no other recipe.
        shards = [shard for shard, photos in enumerate(read.shards) if photos[0].source == "target"]
        files += filter(None, (read.files(component, shard) for shard in shards))
    backbone = None
    if components.reads_backbone:
        backbone = blueprint.backbone
    return fingerprint([components.options(), files, backbone])[:8]


def _inputs(line: Line, stage: ScoredStage) -> str:
    """What the networks behind a row see of photos, each way once in the order of work."""
    components = line.components
    readers: list[FeatureReader | None] = [components.localizer, *components.refiners]
    if stage == "segmentation":
        readers.append(components.segmenter)
    return " and ".join(dict.fromkeys(reader.seen for reader in readers if reader is not None and reader.seen))


def _epochs(line: Line, stage: ScoredStage) -> dict[str, int]:
    """For how many epochs the networks behind a row are trained, by the names of `RowPlace`; without those of none."""
    components = line.components
    pretraining = components.pretraining
    if stage != "segmentation" and pretraining is not None and pretraining.for_segmenter_alone:
        pretraining = None
    groups: dict[str, Sequence[Component | None]] = {
        "pretraining_epochs": [pretraining],
        "localizer_epochs": [components.localizer],
        "refiner_epochs": components.refiners,
        "cue_epochs": [*components.cue.all_parts(), components.cue] if components.cue else [],
    }
    if stage == "segmentation":
        groups["segmenter_epochs"] = [components.segmenter]
    sums = {name: sum(map(_epochs_of, group)) for name, group in groups.items()}
    return {name: epochs for name, epochs in sums.items() if epochs}


def _epochs_of(component: Component | None) -> int:
    """The epochs that its training options name; 0 where it has no such options, or its fit does not read them."""
    if component is None or "training" in component.apply_options:
        return 0
    training = getattr(component.options, "training", None)
    return training.epochs if isinstance(training, TrainingOptions) else 0


def _plan_row(
    line: Line,
    stage: ScoredStage,
    policy: str,
    counts: tuple[Ref, ...],
    variant: str = "",
    threshold: float | None = None,
    choice: Ref | None = None,
) -> Ref:
    blueprint, source = line.blueprint, line.source
    split, training_mode = blueprint.reported.maps, ""
    if stage == "segmentation":
        split = blueprint.reported.segmentation
    # Empty for a control that trains nothing: it stands on the boards of every training mode.
    if line.components.is_trained:
        training_mode = line.mode
    backbone, backbone_size = None, None
    if line.components.reads_backbone:
        backbone, backbone_size = blueprint.suite.backbone.name, blueprint.suite.backbone.size
    place = RowPlace(
        dataset=blueprint.dataset.name,
        split=split,
        recipe=line.recipe,
        setting=source.name,
        training_mode=training_mode,
        rng_seed=line.rng_seed,
        stage=stage,
        variant=variant,
        policy=policy,
        classes=blueprint.dataset.label_space.mask_names,
        supervision=line.components.supervision,
        extra_in_stage_2=source.trusts_extra,
        protocol=PROTOCOL,
        backbone=backbone,
        backbone_size=backbone_size,
        options=_options(line),
        photos_of_split=len(blueprint.dataset.splits[split]),
        tier="scored" if line.components.is_brought else None,
        **_epochs(line, stage),
    )
    inputs = {"counts": counts, "weak_set": (plan_weak_set(blueprint, source),)}
    if choice is not None:
        inputs["select"] = (choice,)
    return blueprint.add(
        RowKind(),
        RowIdentity(
            row=place,
            threshold=threshold,
            steps=SWEEP_STEPS,
            version=3,
            declared_on=blueprint.suite.declared_on_for(line.recipe) or None,
        ),
        RowRuntime(place=source.place, arithmetic=_arithmetic(line), inputs=_inputs(line, stage)),
        inputs=inputs,
        label=line.label(f"row {step_name(stage, variant)} {policy}"),
        group="rows",
    )
