"""Metrics as stages: what is measured of reported maps and masks beside mIoU, each named among `diagnostics`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.stages.diagnostics import PLANNERS, DiagnosticRuntime, Shown, write_measures
from harness.stages.kind import Identity, StageKind
from harness.stages.line import Line
from harness.stages.scoring import (
    SWEEP_STEPS,
    ScoredMasks,
    declared_threshold,
    plan_scores,
    plan_segmentation_scores,
    plan_sweeps,
    reported_shards,
    scored_labels,
    scored_segmentation,
    segmented_shards,
)
from harness.stages.stored import StoredMasks
from harness.stages.work import Work
from harness.store.layout import CountFiles, MaskFiles, MeasureFiles, Ref
from harness.suites.recipes import ComponentIdentity, identity_of
from results.counted import image_sums
from results.metric import Metric
from results.metrics.counts import fill_void
from results.per_image import joined, read_table, total_sweep
from settings.components import ComponentSpec, build_component
from settings.discovery import METRICS
from settings.errors import unknown_name
from settings.supervision import Purpose

__all__ = ["Measure", "MeasureIdentity", "plan_diagnostics"]


@dataclass(frozen=True, kw_only=True)
class MeasureIdentity(Identity):
    """The metric, and of which stage's maps or masks it is; those, or their counts, are among the inputs."""

    component: ComponentIdentity
    of: str
    """As measures are named: `pseudo labels, train`."""
    classes: int
    """K + 1."""
    steps: int
    """Thresholds of a sweep, beside 0."""
    masks: str | None = None
    """sha256 over ids and contents of the true masks, where the metric reads them."""
    purpose: Purpose


@dataclass(frozen=True, kw_only=True)
class MeasureRuntime(DiagnosticRuntime):
    """The photos whose maps or masks are measured, all of one split, since the gate asks for it."""

    split: str


class Measure(StageKind[MeasureIdentity, MeasureRuntime]):
    """Counts, sweeps or masks of all shards → the numbers of one metric."""

    name = "measure"
    identity = MeasureIdentity
    runtime = MeasureRuntime
    writes = MeasureFiles
    seconds_a_photo = 0.01

    def run(self, work: Work[MeasureIdentity, MeasureRuntime]) -> None:
        """Bring together what the metric reads, and write its numbers."""
        identity = work.identity
        metric: Metric[Any] = work.component(identity.component)
        counted: Any
        if metric.reads == "masks":
            counted = _tallied(work, metric)
        else:
            table = joined([read_table(files.counts) for files in work.read("counts", CountFiles)])
            if metric.reads == "sweep":
                counted = total_sweep(table, identity.classes, identity.steps)
            else:
                counted = image_sums(table, identity.classes)
        measures = {f"{name}; {identity.of}": value for name, value in metric.measures(counted).items()}
        write_measures(work.files(MeasureFiles), measures)


def _tallied(work: Work[MeasureIdentity, MeasureRuntime], metric: Metric[Any]) -> Any:
    """The sum over photos of what the metric takes from a mask and its truth; undecided pixels are background."""
    assert metric.tally is not None
    gate, masks = work.gate(work.identity.purpose), StoredMasks(work.read("masks", MaskFiles))
    tallies = []
    for photo_id in work.counted(work.runtime.ids):
        pair = fill_void(masks.mask(photo_id), gate.mask(work.runtime.split, photo_id), "background")
        tallies.append(metric.tally(pair.prediction, pair.truth, work.identity.classes))
    work.write_ledger(gate.entries())
    return sum(tallies[1:], tallies[0])


def plan_diagnostics(line: Line) -> list[Ref]:
    """The stages of the suite's `diagnostics`, metrics among them, that this recipe and this data set allow.

    Raises UserError for a name that is neither a diagnostic's nor a metric's.
    """
    suite = line.blueprint.suite
    found: list[Ref] = []
    for name in suite.diagnostics:
        if name in PLANNERS:
            ref = PLANNERS[name](line)
            if ref is not None:
                found.append(ref)
            continue
        known = (*PLANNERS, *METRICS.names())
        if name not in known:
            raise unknown_name(suite.place_of("diagnostics"), "diagnostic", name, known)
        found += _plan_metric(line, name)
    return found


def _plan_metric(line: Line, name: str) -> list[Ref]:
    """A stage for each kind of maps or masks of the line that the metric reads and the suite scores.

    Those of the suite's main policy, and of the first of its ways of running a segmenter.
    """
    blueprint = line.blueprint
    metric: Metric[Any] = build_component(METRICS, ComponentSpec(name=name), "diagnostics")
    policy, reported, components = blueprint.main_policy, blueprint.reported, line.components
    scored_ids = tuple(photo_id for _, ids in reported_shards(line) for photo_id in ids)
    if metric.reads == "sweep":
        if declared_threshold(line) is None or not scored_ids:
            return []
        return [_add(line, name, metric, {"counts": plan_sweeps(line)}, scored_ids, "maps", reported.maps)]
    found = []
    # The revealed masks of a ceiling are not measured against themselves.
    if components.labeler and line.last_step in ("pseudo_labels", "segmentation") and scored_ids:
        if metric.reads == "masks":
            inputs = _masks(scored_labels(line, policy))
        else:
            inputs = {"counts": plan_scores(line, policy)}
        found.append(_add(line, name, metric, inputs, scored_ids, "pseudo labels", reported.maps))
    if components.variants and line.last_step == "segmentation" and segmented_shards(line):
        if metric.reads == "masks":
            inputs = _masks(scored_segmentation(line, policy, components.variants[0]))
        else:
            inputs = {"counts": plan_segmentation_scores(line, policy, components.variants[0])}
        ids = tuple(photo_id for _, ids in segmented_shards(line) for photo_id in ids)
        found.append(_add(line, name, metric, inputs, ids, "segmentation", reported.segmentation))
    return found


def _masks(scored: Sequence[ScoredMasks]) -> dict[str, tuple[Ref, ...]]:
    return {"masks": tuple(each.masks for each in scored)}


def _add(
    line: Line,
    name: str,
    metric: Metric[Any],
    inputs: Mapping[str, tuple[Ref, ...]],
    ids: tuple[str, ...],
    what: str,
    split: str,
) -> Ref:
    blueprint = line.blueprint
    true_masks, short_masks = None, None
    if metric.reads == "masks":
        true_masks, short_masks = blueprint.mask_contents(ids), blueprint.short_masks(ids)
    identity = MeasureIdentity(
        component=identity_of("metric", name, metric),
        of=f"{what}, {split}",
        classes=blueprint.dataset.label_space.foreground + 1,
        steps=SWEEP_STEPS,
        masks=true_masks,
        purpose=blueprint.reported.purpose,
    )
    runtime = MeasureRuntime(
        place=blueprint.place,
        ids=ids,
        mask_contents=short_masks,
        shown=Shown(line.recipe, line.source.name, line.mode, line.rng_seed, name),
        split=split,
    )
    return blueprint.add(
        Measure(),
        identity,
        runtime,
        inputs=inputs,
        label=line.label(f"{name} of {what}"),
        group=line.group("diagnostics"),
        photos=len(ids),
    )
