"""Segmentation as stages: a network trained on pseudo labels, and its predictions of photos without labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from harness.stages.contract import checked_mask, named, one_each
from harness.stages.features import plan_drawn_features, plan_features
from harness.stages.fit import FitIdentity, FitKind, FitRuntime, plan_fit
from harness.stages.graph import Stage
from harness.stages.guesses import apply_seconds, keeps_aspect, pixels_seen, whole_seconds
from harness.stages.kind import Identity, PhotosRuntime, StageKind
from harness.stages.labels import plan_pseudo_labels, plan_revealed
from harness.stages.line import Line
from harness.stages.pairs import plan_pairs
from harness.stages.planned import short
from harness.stages.pretraining import plan_backbone
from harness.stages.refiner import plan_final_maps
from harness.stages.source import Source, contents, once, photo_ids
from harness.stages.stored import StoredMasks, StoredPairs
from harness.stages.weak_set import plan_weak_set
from harness.stages.work import Work
from harness.store.layout import MaskFiles, PairFiles, Ref
from harness.suites.recipes import ComponentIdentity, file_contents, files_identity
from methods.base import Fit, PseudoLabelled, Segmenter, Surroundings
from methods.segmenting import SINGLE_SCALE, Inference, variant_of
from settings.masks import write_mask
from settings.records import LabelSpace, Mask, Photo, WeakSet

__all__ = ["Segment", "SegmenterFit", "plan_predictions", "plan_segmentation", "step_name"]

CRF_SECONDS_A_PHOTO = 1.0
"""Of a segmentation that ends in a CRF; measured on one core: 1.3 s at 500 × 375 with 21 classes, 0.6 s with 7."""


class SegmenterFit(FitKind):
    """Pseudo labels (and, with a frozen backbone, stored features) → a segmentation network's weights."""

    name = "segmenter_fit"
    seconds_a_photo = 0.12
    curve = "segmenter"
    tunes_backbone = True

    def fit(self, work: Work[FitIdentity, FitRuntime], weak: WeakSet, surroundings: Surroundings) -> Fit:
        """Train on the photos that have a pseudo label; extra photos count where the setting trusts them."""
        segmenter: Segmenter = work.component(work.identity.component)
        masks = StoredMasks(work.read("pseudo_labels", MaskFiles))
        pool = [photo for photo in weak.photos if photo.source == "target" or work.identity.extra_in_stage_2]
        labelled = [photo for photo in pool if photo.id in masks]
        # Segmentation has the same budget for every method: with fewer masks than photos, each comes more often.
        photos = tuple(islice(cycle(labelled), max(len(labelled), len(pool))))
        drawn = StoredPairs(work.read("pairs", PairFiles))

        def pseudo_label(photo_id: str) -> Mask:
            return drawn.mask(photo_id) if photo_id in drawn else masks.mask(photo_id)

        data = PseudoLabelled((*photos, *drawn.photos), weak.label_space, pseudo_label)
        return segmenter.fit(data, surroundings)


@dataclass(frozen=True, kw_only=True)
class SegmentIdentity(Identity):
    """The segmenter in the way that it is run, and the photos; its weights are among the inputs."""

    component: ComponentIdentity
    photos: str
    """sha256 over ids and photo contents."""
    files: str | None = None
    """sha256 over the files of other programs that it reads for these photos."""


@dataclass(frozen=True, kw_only=True)
class SegmentRuntime(PhotosRuntime):
    """The photos to segment, without labels, and the names of the foreground classes that the network knows."""

    classes: tuple[str, ...]


class Segment(StageKind[SegmentIdentity, SegmentRuntime]):
    """A segmentation network over photos without labels → predictions, one PNG a photo."""

    name = "segment"
    identity = SegmentIdentity
    runtime = SegmentRuntime
    writes = MaskFiles
    seconds_a_photo = 0.03
    bytes_a_photo = 20_000
    halves_when_out_of_memory = True

    def run(self, work: Work[SegmentIdentity, SegmentRuntime]) -> None:
        """Segment photo by photo; labels are taken off, so that a network cannot use them by mistake."""
        segmenter: Segmenter = work.component(work.identity.component)
        photos = [photo.without_labels() for photo in work.photos()]
        space = LabelSpace(work.runtime.classes)
        predictions = segmenter.apply(photos, work.surroundings(space, bank=work.bank(), weights=work.weights()))
        files, who = work.files(MaskFiles), named(work.identity.component)
        for photo, mask in work.counted(one_each(who, photos, predictions, "one mask")):
            write_mask(files.of(photo.id), checked_mask(who, photo, mask, space.foreground))
        work.check_files(segmenter)

    def seconds(self, stage: Stage) -> float:
        """A guess in seconds by the passes over each photo, scales times mirrorings, and whether a CRF follows."""
        assert isinstance(stage.identity, SegmentIdentity) and isinstance(stage.runtime, SegmentRuntime)
        # One pass goes without saying; a control such as all background has no network, and no such options.
        inference = Inference.model_validate(stage.identity.component.options.get("inference", {}))
        crf_seconds = CRF_SECONDS_A_PHOTO * bool(inference.crf) * stage.photos
        if keeps_aspect(stage.identity.component):
            return whole_seconds(pixels_seen(stage.identity.component), stage.photos) + crf_seconds
        a_pass = apply_seconds(stage.identity.component, stage.photos, stage.runtime.place.backbone.size)
        if a_pass is None:
            a_pass = super().seconds(stage)
        return a_pass * len(inference.passes) + crf_seconds


def plan_segmentation(
    line: Line,
    source: Source,
    photos: Sequence[Photo],
    shards: Iterable[int],
    choice: Ref | None = None,
    variant: Segmenter | None = None,
    is_main: bool = True,
) -> Ref:
    """Segmenting photos that lie in some shards of a source, in the first of the suite's variants or another.

    `choice` is the stage that chooses the threshold of the pseudo labels; `is_main`: for the suite's main policy.
    """
    # A variant changes how the network is run, never how it was trained: all of them share one fit.
    blueprint, segmenter = line.blueprint, variant or line.components.segmenter
    assert segmenter is not None
    step = step_name("segmentation", variant_of(segmenter))
    inputs: dict[str, tuple[Ref, ...]] = {}
    fitted = None
    if segmenter.trained:
        fit = _plan_fit(line, choice, is_main)
        inputs, fitted = {"weights": (fit,)}, _plan_backbone(line, fit)
    if requests := segmenter.apply_features():
        inputs["features"] = plan_features(blueprint, source, requests, shards, fitted)
    read = file_contents(segmenter, photos)
    return blueprint.add(
        Segment(),
        SegmentIdentity(
            component=line.components.identity("segmenter", variant=segmenter),
            photos=contents(photos),
            files=files_identity(segmenter, photos),
        ),
        SegmentRuntime(
            place=source.place,
            places=segmenter.places() or None,
            ids=photo_ids(photos),
            photo_contents=source.short_contents(photos),
            file_contents=read and short(read),
            classes=blueprint.dataset.label_space.names,
        ),
        threads=blueprint.suite.compute.threads,
        inputs=inputs,
        label=line.label(f"{step} of {photos[0].id}…"),
        group=line.group(step),
        photos=len(photos),
    )


def plan_predictions(line: Line, source: Source, shards: Iterable[int], choice: Ref | None) -> tuple[Ref, ...]:
    """The segmentation of whole shards of a source, in the first of the suite's variants, one artefact a shard.

    `choice` is the stage by which the main policy chooses the threshold of the pseudo labels.
    """
    return tuple(plan_segmentation(line, source, source.shards[shard], [shard], choice) for shard in shards)


@once
def _plan_fit(line: Line, choice: Ref | None, is_main: bool) -> Ref:
    """The stage that trains the segmentation network on the pseudo labels of the whole setting, or on true masks."""
    segmenter, shards = line.components.segmenter, line.source.taught
    assert segmenter is not None
    inputs: dict[str, tuple[Ref, ...]] = {"weak_set": (plan_weak_set(line.blueprint, line.source),)}
    # A ceiling is trained just as the recipes below it: only its masks are true.
    if not line.components.learns_without_masks:
        revealed = plan_revealed(line)
        inputs["pseudo_labels"] = revealed or tuple(plan_pseudo_labels(line, shard, choice) for shard in shards)
        if pairs := plan_pairs(line, inputs["pseudo_labels"]):
            inputs["pairs"] = (pairs,)
    if line.mode == "frozen":
        backbone = _plan_backbone(line)
        inputs["features"] = plan_features(line.blueprint, line.source, segmenter.fit_features(), shards, backbone)
        for drawn in inputs.get("pairs", ()):
            inputs["features"] += plan_drawn_features(line.blueprint, drawn, segmenter.fit_features())
    return plan_fit(
        line,
        SegmenterFit(),
        segmenter,
        line.components.identity("segmenter", fit=True),
        inputs,
        "segmenter fit",
        extra_in_stage_2=line.source.trusts_extra,
        chosen=choice is not None and not is_main,
        target_alone=True,
    )


def _plan_backbone(line: Line, fit: Ref | None = None) -> Ref | None:
    """The fit whose backbone the segmenter's features are made with; see `plan_backbone`."""
    pretraining = line.components.pretraining
    maps: tuple[Ref, ...] = ()
    if pretraining is not None and pretraining.reads_maps:
        maps = tuple(plan_final_maps(line, shard) for shard in line.source.taught)
    return plan_backbone(line, maps, fit)


def step_name(step: str, variant: str) -> str:
    """How a display calls a step in one of the ways that segmentation is run; a single scale goes without saying."""
    if variant in ("", SINGLE_SCALE):
        return step
    return f"{step} {variant}"
