"""Cues as stages: saliency maps, which say where objects are at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.stages.contract import named, one_each
from harness.stages.features import plan_features
from harness.stages.fit import FitIdentity, FitKind, FitRuntime, plan_fit
from harness.stages.kind import Identity, PhotosRuntime, StageKind
from harness.stages.line import Line
from harness.stages.pretraining import plan_backbone
from harness.stages.source import once, photo_ids
from harness.stages.weak_set import plan_weak_set
from harness.stages.work import Work
from harness.store.layout import MaskFiles, Ref
from harness.suites.recipes import ComponentIdentity
from methods.base import Cue, Fit, Saliency, Surroundings
from settings.dataset import Dataset
from settings.errors import UserError
from settings.records import WeakSet
from settings.saliency import write_saliency

__all__ = ["CueFit", "CueKind", "impossible", "plan_saliency"]


class CueFit(FitKind):
    """Stored features of the setting's photos, without their labels → a cue's weights."""

    name = "cue_fit"
    seconds_a_photo = 0.05

    def fit(self, work: Work[FitIdentity, FitRuntime], weak: WeakSet, surroundings: Surroundings) -> Fit:
        """Train the cue; what it is shown has no labels, so that it cannot use them by mistake."""
        cue: Cue = work.component(work.identity.component)
        return cue.fit([photo.without_labels() for photo in weak.photos], surroundings)


@dataclass(frozen=True, kw_only=True)
class CueIdentity(Identity):
    """The cue, the photos, and the masks or files that it reads of them; its weights are among the inputs."""

    component: ComponentIdentity
    photos: str
    """sha256 over ids and photo contents."""
    masks: str | None = None
    """sha256 over the true masks that a simulated cue reads."""
    files: str | None = None
    """sha256 over the files of other programs that it reads for these photos."""


class CueKind(StageKind[CueIdentity, PhotosRuntime]):
    """Photos of a shard → saliency maps, one PNG a photo."""

    name = "cue"
    identity = CueIdentity
    runtime = PhotosRuntime
    writes = MaskFiles
    seconds_a_photo = 0.02

    def run(self, work: Work[CueIdentity, PhotosRuntime]) -> None:
        """Apply the cue; one that is simulated from true masks reads them through the gate."""
        cue: Cue = work.component(work.identity.component)
        photos, files = work.photos(), work.files(MaskFiles)
        gate = work.gate("simulate")
        saliency: Iterable[Saliency]
        # The mask is read here and handed over: no component, not even this one, has a way to masks of its own.
        if cue.reads_masks:
            saliency = (cue.simulate(photo.id, gate.mask_of(photo.id)) for photo in photos)
        else:
            surroundings = work.surroundings(work.dataset.label_space, bank=work.bank(), weights=work.weights())
            # Without labels, which the key does not name: a cue cannot use them by mistake.
            saliency = cue.apply([photo.without_labels() for photo in photos], surroundings)
        who = named(work.identity.component)
        for photo, map_HW in work.counted(one_each(who, photos, saliency, "one saliency map")):
            write_saliency(files.of(photo.id), map_HW)
        work.check_files(cue)
        if cue.reads_masks:
            work.write_ledger(gate.entries())


@once
def plan_saliency(line: Line, shard: int) -> Ref:
    """Saliency maps of a shard; raises UserError for a simulated cue on photos that a network can be run on."""
    cue, blueprint = line.components.cue, line.blueprint
    assert cue is not None
    name, photos = line.components.names["cue"], line.source.shards[shard]
    masks = short_masks = None
    if cue.reads_masks:
        _check_simulation(blueprint.dataset, name)
        masks = blueprint.mask_contents(photo_ids(photos))
        short_masks = blueprint.short_masks(photo_ids(photos))
    inputs: dict[str, tuple[Ref, ...]] = {}
    if cue.trained:
        inputs["weights"] = (_plan_fit(line),)
    if requests := cue.apply_features():
        inputs["features"] = plan_features(blueprint, line.source, requests, [shard], plan_backbone(line))
    # A cue that reads finished maps computes nothing: its key names no arithmetic.
    threads = None
    if inputs:
        threads = blueprint.suite.compute.threads
    return blueprint.add(
        CueKind(),
        CueIdentity(
            component=line.components.identity("cue"),
            photos=line.source.content(shard),
            masks=masks,
            files=line.source.files(cue, shard),
        ),
        line.source.runtime(photos, line.components.places("cue"), line.source.short_files(cue, shard), short_masks),
        threads=threads,
        inputs=inputs,
        label=f"{name} · {line.source.name} · saliency {shard}",
        group=f"{name} · saliency",
        photos=len(photos),
    )


@once
def _plan_fit(line: Line) -> Ref:
    """The stage that trains the cue on all photos of the setting, extra ones too, from their stored features."""
    cue, source = line.components.cue, line.source
    assert cue is not None
    inputs = {
        "weak_set": (plan_weak_set(line.blueprint, source),),
        "features": plan_features(line.blueprint, source, cue.fit_features(), source.every_shard, plan_backbone(line)),
    }
    identity = line.components.identity("cue", fit=True)
    return plan_fit(line, CueFit(), cue, identity, inputs, f"{line.components.names['cue']} fit")


def impossible(line: Line) -> str:
    """Why a recipe cannot be run under a setting that others can be run under; empty where it can."""
    cue = line.components.cue
    # Extra photos are given pseudo labels, and so saliency, where a network is trained on them.
    takes_extra = line.source.trusts_extra and line.components.segmenter
    if cue is not None and cue.reads_masks and takes_extra:
        return f"cue {line.components.names['cue']} simulates saliency from true masks, which extra photos do not have"
    return ""


def _check_simulation(dataset: Dataset, cue: str) -> None:
    """What reads true masks in a network's place would be a lie on photos that a network can be run on."""
    if not dataset.photos_are_ours:
        expected = "a cue for real photos: this one simulates saliency from true masks"
        raise UserError("cue", f"'{cue}' on {dataset.name}", expected)
