"""Scoring as stages: per-image counts of maps at every threshold and of masks, and a policy's choice among them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

from harness.stages.kind import Identity, PhotosRuntime, Runtime, StageKind
from harness.stages.labels import plan_pseudo_labels
from harness.stages.line import Line
from harness.stages.refiner import plan_refined
from harness.stages.segmenter import plan_segmentation, step_name
from harness.stages.source import once
from harness.stages.work import Work
from harness.store.layout import ChoiceFiles, CountFiles, MapFiles, MaskFiles, Ref
from methods.base import Segmenter
from methods.segmenting import variant_of
from results.evaluation import mask_digest
from results.metrics.counts import Counts, LabelCounts, count, count_labels
from results.metrics.sweep import Sweep, threshold_sweep
from results.metrics.winner import winner_and_score
from results.per_image import (
    confusion_table,
    image_ids,
    joined,
    label_table,
    read_table,
    sweep_table,
    total_sweep,
    write_table,
)
from results.selection import FIXED, chooser
from settings.masks import read_mask
from settings.records import Mask
from settings.supervision import LedgerEntry, Purpose

__all__ = [
    "PROTOCOL",
    "SWEEP_STEPS",
    "Score",
    "ScoredMasks",
    "Select",
    "SweepKind",
    "declared_threshold",
    "plan_choice",
    "plan_dev_scores",
    "plan_dev_segmentation_scores",
    "plan_dev_sweeps",
    "plan_main_choice",
    "plan_scores",
    "plan_segmentation_scores",
    "plan_sweeps",
    "reported_shards",
    "scored_labels",
    "scored_segmentation",
    "segmented_shards",
]

SWEEP_STEPS = 100
"""Thresholds of a sweep: 0, 0.01, … 1."""
PROTOCOL = "voc/1"
Measured = TypeVar("Measured")
Void = Literal["apart", "error", "background", "covered-only"]
"""What 255 in a mask is: counted by itself in a pseudo label, an error in a prediction. The other two stand in stages
that older versions described."""


@dataclass(frozen=True, kw_only=True)
class CountedIdentity(Identity):
    """The true masks that something is counted against, and why they are read."""

    dataset: Mapping[str, object]
    masks: str
    """sha256 over ids and mask contents."""
    purpose: Purpose


@dataclass(frozen=True, kw_only=True)
class SweepIdentity(CountedIdentity):
    """The true masks that maps are counted against, and at how many thresholds beside 0."""

    steps: int


@dataclass(frozen=True, kw_only=True)
class ScoreIdentity(CountedIdentity):
    """How masks become a score, and what 255 in them counts as."""

    protocol: str
    void: Void


@dataclass(frozen=True, kw_only=True)
class CountedRuntime(PhotosRuntime):
    """The photos whose maps or masks are counted, all of one split, since the gate asks for it."""

    split: str


class SweepKind(StageKind[SweepIdentity, CountedRuntime]):
    """Localization maps of a shard against true masks, at every threshold, per image."""

    name = "sweep"
    identity = SweepIdentity
    runtime = CountedRuntime
    writes = CountFiles
    seconds_a_photo = 0.0015
    sources = "results.metrics.sweep"

    def run(self, work: Work[SweepIdentity, CountedRuntime]) -> None:
        """Count each photo's pixels by the threshold up to which they are foreground."""
        from methods.localization import read_maps
        from methods.upsampling import upsample

        (shard,) = work.read("maps", MapFiles)
        maps = {record.photo_id: record for record in read_maps(shard.maps)}
        classes = work.dataset.label_space.foreground + 1

        # One pass for all thresholds: a photo's maps are upsampled and compared with its mask once.
        def swept(photo_id: str, truth_HW: Mask) -> Sweep:
            winner = winner_and_score(upsample(maps[photo_id]), maps[photo_id].class_ids)
            return threshold_sweep(winner.score, winner.winner, truth_HW, classes, work.identity.steps)

        write_table(work.files(CountFiles).counts, sweep_table(_over_truth(work, swept)))


class Score(StageKind[ScoreIdentity, CountedRuntime]):
    """Masks of a shard against true masks, per image; undecided pixels of pseudo labels are counted by themselves."""

    name = "score"
    identity = ScoreIdentity
    runtime = CountedRuntime
    writes = CountFiles
    seconds_a_photo = 0.0015
    sources = "results.metrics.counts"

    def run(self, work: Work[ScoreIdentity, CountedRuntime]) -> None:
        """Count each photo's confusion."""
        (shard,) = work.read("masks", MaskFiles)
        classes = work.dataset.label_space.foreground + 1

        def counted(photo_id: str, truth_HW: Mask) -> Counts:
            return count(read_mask(shard.of(photo_id)), truth_HW, classes)

        def counted_label(photo_id: str, truth_HW: Mask) -> LabelCounts:
            return count_labels(read_mask(shard.of(photo_id)), truth_HW, classes)

        # Predictions are wrong where they say 255; pseudo labels may leave pixels undecided.
        if work.identity.void == "error":
            table = confusion_table(_over_truth(work, counted))
        else:
            table = label_table(_over_truth(work, counted_label))
        write_table(work.files(CountFiles).counts, table)


def _over_truth(
    work: Work[CountedIdentity, CountedRuntime], measure: Callable[[str, Mask], Measured]
) -> Iterator[tuple[str, Measured]]:
    """Measure each photo against its true mask, in id order; when all are, write the truth's digests and the ledger."""
    # The digests of all shards together are the evaluation fingerprint: rows of other masks share no table.
    gate, digests = work.gate(work.identity.purpose), {}
    for photo_id in work.counted(work.runtime.ids):
        truth_HW = gate.mask(work.runtime.split, photo_id)
        digests[photo_id] = mask_digest(truth_HW)
        yield photo_id, measure(photo_id, truth_HW)
    work.files(CountFiles).truth.write_text(json.dumps(digests), encoding="utf-8")
    work.write_ledger(gate.entries())


@dataclass(frozen=True, kw_only=True)
class SelectIdentity(Identity):
    """The policy and what it chooses from; the sweeps are among the inputs."""

    policy: str
    declared: float | None
    """The recipe's own threshold."""
    steps: int
    classes: int
    """K + 1."""
    version: int


@dataclass(frozen=True, kw_only=True)
class SelectRuntime(Runtime):
    """The split whose masks the choice has used, for the ledger."""

    split: str


class Select(StageKind[SelectIdentity, SelectRuntime]):
    """Sweep counts of all shards → the threshold that a policy chooses, and the whole curve."""

    name = "select"
    identity = SelectIdentity
    runtime = SelectRuntime
    writes = ChoiceFiles
    sources = "results.selection"

    def run(self, work: Work[SelectIdentity, SelectRuntime]) -> None:
        """Add up the counts and let the policy choose; every image counted is on record as chosen by."""
        identity = work.identity
        table = joined([read_table(files.counts) for files in work.read("sweeps", CountFiles)])
        total = total_sweep(table, identity.classes, identity.steps)
        # A rule that declares no threshold is never swept; the policies still want a number to fall back to.
        declared = identity.declared or 0.0
        chosen = chooser(identity.policy).threshold(total, declared)
        entry = LedgerEntry("mask", work.runtime.split, "choose", self.name, image_ids(table))
        work.write_ledger((entry,))
        content = {"threshold": chosen, "policy": identity.policy, "curve": total.curve().tolist()}
        work.files(ChoiceFiles).choice.write_text(json.dumps(content), encoding="utf-8")


def declared_threshold(line: Line) -> float | None:
    """The background threshold that turns a recipe's maps into masks; None where it has no maps, or another rule."""
    labeler = line.components.labeler
    if labeler is None or line.components.localizer is None:
        return None
    return labeler.declared_threshold


Shards = list[tuple[int, tuple[str, ...]]]
"""Numbers of shards, each with the ids of its photos that are scored."""


def reported_shards(line: Line) -> Shards:
    """The shards of the setting that hold photos whose maps are reported."""
    return _masked_shards(line, line.blueprint.reported.maps)


@once
def _masked_shards(line: Line, split: str) -> Shards:
    """The shards of the setting that hold photos of a split with a true mask."""
    dataset = line.blueprint.dataset
    scored = frozenset(filter(dataset.has_mask, dataset.splits[split]))
    found = []
    for shard, photos in enumerate(line.source.shards):
        if ids := tuple(photo.id for photo in photos if photo.id in scored):
            found.append((shard, ids))
    return found


@once
def segmented_shards(line: Line) -> Shards:
    """The shards of val that hold photos whose segmentation is reported."""
    dataset = line.blueprint.dataset
    found = []
    for shard, photos in enumerate(line.blueprint.val.shards):
        if ids := tuple(photo.id for photo in photos if dataset.has_mask(photo.id)):
            found.append((shard, ids))
    return found


def plan_sweeps(line: Line) -> tuple[Ref, ...]:
    """The counts of the final maps at every threshold, one artefact a reported shard."""
    return _plan_sweeps(line, line.blueprint.reported.maps, line.blueprint.reported.purpose)


def plan_dev_sweeps(line: Line, masks: int | None, steps: int) -> tuple[Ref, ...]:
    """The counts of the maps after the first `steps` refiners on dev, to choose by; `masks`: on so many of dev's."""
    return _plan_sweeps(line, "dev", "choose", masks, steps)


def plan_dev_scores(line: Line, masks: int | None) -> tuple[Ref, ...]:
    """The counts of the pseudo labels, as the recipe declares them, on dev, to choose by."""
    found = []
    for shard, ids in _chosen_shards(line, "dev", masks):
        labels = plan_pseudo_labels(line, shard)
        found.append(_plan_score(line, labels, "dev", ids, "apart", "score", "choose"))
    return tuple(found)


def plan_dev_segmentation_scores(line: Line, masks: int | None, choice: Ref | None) -> tuple[Ref, ...]:
    """The counts of the predictions on dev, to choose by, where the suite reports dev.

    `choice` is the stage that chooses the threshold of the pseudo labels, if one does.
    """
    val, found = line.blueprint.val, []
    chosen = _chosen_ids(line, masks)
    for shard, every in segmented_shards(line):
        if ids := tuple(photo_id for photo_id in every if chosen is None or photo_id in chosen):
            predictions = plan_segmentation(line, val, val.shards[shard], [shard], choice)
            found.append(_plan_score(line, predictions, "dev", ids, "error", "score segmentation", "choose"))
    return tuple(found)


def _chosen_ids(line: Line, masks: int | None) -> frozenset[str] | None:
    """So many photos of dev, those of the ceiling that a choice on them is held against; None: all."""
    return None if masks is None else line.blueprint.revealed(masks, line.rng_seed)


def _chosen_shards(line: Line, split: str, masks: int | None) -> Shards:
    """The shards that hold photos of a split with a true mask; `masks`: so many photos of dev alone."""
    shards, chosen = _masked_shards(line, split), _chosen_ids(line, masks)
    if chosen is None:
        return shards
    fewer = [(shard, tuple(photo_id for photo_id in ids if photo_id in chosen)) for shard, ids in shards]
    return [(shard, ids) for shard, ids in fewer if ids]


@once
def _plan_sweeps(
    line: Line, split: str, purpose: Purpose, masks: int | None = None, steps: int | None = None
) -> tuple[Ref, ...]:
    """The counts of the maps of a split, after so many refiners (None: all); `masks`: of so many of dev's alone."""
    if steps is None:
        steps = len(line.components.refiners)
    found = []
    for shard, ids in _chosen_shards(line, split, masks):
        ref = line.blueprint.add(
            SweepKind(),
            SweepIdentity(**line.blueprint.true_masks(ids, purpose), steps=SWEEP_STEPS),
            _counted_runtime(line, split, ids),
            inputs={"maps": (plan_refined(line, shard, steps),)},
            label=line.label(f"sweep of {ids[0]}…"),
            group=line.group("scores"),
            photos=len(ids),
        )
        found.append(ref)
    return tuple(found)


def plan_scores(line: Line, policy: str) -> tuple[Ref, ...]:
    """The counts of the pseudo labels under a policy, one artefact a reported shard."""
    split = line.blueprint.reported.maps
    return tuple(_plan_score(line, masks, split, ids, "apart", "score") for masks, ids in scored_labels(line, policy))


def plan_segmentation_scores(line: Line, policy: str, variant: Segmenter) -> tuple[Ref, ...]:
    """The counts of the predictions of one variant under a policy, one artefact a shard of val."""
    split, step = line.blueprint.reported.segmentation, step_name("score", variant_of(variant))
    found = []
    for masks, ids in scored_segmentation(line, policy, variant):
        found.append(_plan_score(line, masks, split, ids, "error", step))
    return tuple(found)


class ScoredMasks(NamedTuple):
    """The masks of a shard, and the ids of those of its photos that are scored."""

    masks: Ref
    ids: tuple[str, ...]


def scored_labels(line: Line, policy: str) -> list[ScoredMasks]:
    """The pseudo labels under a policy, shard by shard."""
    # Chosen once for all shards: a threshold of each shard's own would be tuned on the pixels that it is scored on.
    choice = plan_choice(line, policy)
    return [ScoredMasks(plan_pseudo_labels(line, shard, choice), ids) for shard, ids in reported_shards(line)]


def scored_segmentation(line: Line, policy: str, variant: Segmenter) -> list[ScoredMasks]:
    """The predictions of one variant under a policy, shard by shard of val."""
    choice, val = plan_choice(line, policy), line.blueprint.val
    is_main = policy == line.blueprint.main_policy
    found = []
    for shard, ids in segmented_shards(line):
        masks = plan_segmentation(line, val, val.shards[shard], [shard], choice, variant, is_main)
        found.append(ScoredMasks(masks, ids))
    return found


def _plan_score(
    line: Line,
    masks: Ref,
    split: str,
    ids: tuple[str, ...],
    void: Void,
    step: str,
    purpose: Purpose | None = None,
) -> Ref:
    # Counts on dev are read to choose options, and the ledger of their rows must say so.
    truth = line.blueprint.true_masks(ids, purpose or line.blueprint.reported.purpose)
    return line.blueprint.add(
        Score(),
        ScoreIdentity(**truth, protocol=PROTOCOL, void=void),
        _counted_runtime(line, split, ids),
        inputs={"masks": (masks,)},
        label=line.label(f"{step} of {ids[0]}…"),
        group=line.group("scores"),
        photos=len(ids),
    )


def plan_choice(line: Line, policy: str) -> Ref | None:
    """The stage that chooses the threshold; None where the declared one is taken, and for a rule without any."""
    if policy == FIXED or declared_threshold(line) is None:
        return None
    return _plan_select(line, policy)


def plan_main_choice(line: Line) -> Ref | None:
    """The stage that chooses the threshold of what is shown in pictures, and of masks that nothing scores."""
    return plan_choice(line, line.blueprint.main_policy)


@once
def _plan_select(line: Line, policy: str) -> Ref:
    split, sweeps = line.blueprint.reported.maps, plan_sweeps(line)
    choosing = chooser(policy)
    if choosing.split:
        split = choosing.split
        sweeps = _plan_sweeps(line, split, "choose", choosing.masks)
    identity = SelectIdentity(
        policy=policy,
        declared=declared_threshold(line),
        steps=SWEEP_STEPS,
        classes=line.blueprint.dataset.label_space.foreground + 1,
        version=2,
    )
    return line.blueprint.add(
        Select(),
        identity,
        SelectRuntime(split=split),
        inputs={"sweeps": sweeps},
        label=line.label(f"choice by {policy}"),
        group=line.group("scores"),
    )


def _counted_runtime(line: Line, split: str, ids: tuple[str, ...]) -> CountedRuntime:
    # Counting knows no setting: the same masks are counted once, whichever setting they come from.
    return CountedRuntime(
        place=line.blueprint.place, ids=ids, mask_contents=line.blueprint.short_masks(ids), split=split
    )
