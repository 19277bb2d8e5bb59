"""Refiners as stages: localization maps that follow the photo better, one refiner after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.stages.contract import checked_maps, named
from harness.stages.cue import plan_saliency
from harness.stages.features import plan_features
from harness.stages.fit import FitIdentity, FitKind, FitRuntime, plan_fit
from harness.stages.graph import Stage
from harness.stages.guesses import USUAL_PHOTO, apply_seconds, keeps_aspect
from harness.stages.kind import Identity, PhotosRuntime, StageKind
from harness.stages.line import Line
from harness.stages.localizer import plan_maps
from harness.stages.pretraining import plan_backbone
from harness.stages.source import once
from harness.stages.stored import StoredMaps, StoredMasks
from harness.stages.weak_set import plan_weak_set
from harness.stages.work import Work
from harness.store.layout import MapFiles, MaskFiles, Ref
from harness.suites.recipes import ComponentIdentity
from methods.base import Fit, Localized, Refiner, Surroundings
from methods.photo_inputs import PhotoInputs
from settings.records import WeakSet

__all__ = ["RefinerApply", "RefinerFit", "plan_final_maps", "plan_refined"]


class RefinerFit(FitKind):
    """Maps, stored features and (if asked for) saliency of what segmentation is trained on → a refiner's weights."""

    name = "refiner_fit"
    seconds_a_photo = 0.2
    tunes_backbone = True

    def trains_backbone(self, identity: FitIdentity) -> bool:
        """Only where the refiner's options ask for crops: others learn on features of the suite's frozen backbone."""
        return super().trains_backbone(identity) and bool(identity.component.options.get("inputs"))

    def fit(self, work: Work[FitIdentity, FitRuntime], weak: WeakSet, surroundings: Surroundings) -> Fit:
        """Train the refiner on the photos that have maps: extra photos may have none."""
        refiner: Refiner = work.component(work.identity.component)
        maps = StoredMaps(work.read("maps", MapFiles))
        mapped = replace(weak, photos=tuple(photo for photo in weak.photos if photo.id in maps))
        saliency = None
        if refiner.needs_cue:
            saliency = StoredMasks(work.read("cue", MaskFiles)).saliency_of
        return refiner.fit(Localized(mapped, maps.of, saliency), surroundings)


@dataclass(frozen=True, kw_only=True)
class RefinerApplyIdentity(Identity):
    """The refiner and the photos; the maps that it refines, and its weights, are among the inputs."""

    component: ComponentIdentity
    photos: str
    """sha256 over ids and photo contents."""


class RefinerApply(StageKind[RefinerApplyIdentity, PhotosRuntime]):
    """Localization maps of a shard → maps in the one format of all, so that refiners follow each other freely."""

    name = "refiner_apply"
    identity = RefinerApplyIdentity
    runtime = PhotosRuntime
    writes = MapFiles
    seconds_a_photo = 0.06

    def run(self, work: Work[RefinerApplyIdentity, PhotosRuntime]) -> None:
        """Refine photo by photo, and write the shard's maps as one file."""
        from methods.localization import write_maps

        refiner: Refiner = work.component(work.identity.component)
        maps = StoredMaps(work.read("maps", MapFiles))
        surroundings = work.surroundings(work.dataset.label_space, bank=work.bank(), weights=work.weights())
        photos, who = work.photos(), named(work.identity.component)
        records = checked_maps(who, photos, refiner.apply(photos, maps.of, surroundings), refiner.gives_background)
        write_maps(work.files(MapFiles).maps, work.counted(records))

    def seconds(self, stage: Stage) -> float:
        """Guessed by the component's cost of a photo, at the backbone's size; else as its kind usually costs."""
        assert isinstance(stage.identity, RefinerApplyIdentity) and isinstance(stage.runtime, PhotosRuntime)
        size = stage.runtime.place.backbone.size
        if keeps_aspect(stage.identity.component):
            size = round(USUAL_PHOTO**0.5)
        seconds = apply_seconds(stage.identity.component, stage.photos, size)
        if seconds is None:
            return super().seconds(stage)
        return seconds


def plan_final_maps(line: Line, shard: int) -> Ref:
    """The maps after all refiners; the localizer's own where there is none."""
    return plan_refined(line, shard, len(line.components.refiners))


@once
def plan_refined(line: Line, shard: int, steps: int) -> Ref:
    """The maps of a shard after the first `steps` refiners; those of the localizer after none."""
    # Step by step, so that two chains with a common beginning share its stages.
    if steps == 0:
        return plan_maps(line, shard)
    blueprint, photos = line.blueprint, line.source.shards[shard]
    refiner, name = line.components.refiners[steps - 1], line.components.refiner_names[steps - 1]
    inputs: dict[str, tuple[Ref, ...]] = {"maps": (plan_refined(line, shard, steps - 1),)}
    backbone = plan_backbone(line)
    if refiner.trained:
        fit = _plan_fit(line, steps)
        inputs["weights"] = (fit,)
        if _trains_backbone(refiner):
            backbone = fit
    if requests := refiner.apply_features():
        inputs["features"] = plan_features(blueprint, line.source, requests, [shard], backbone)
    return blueprint.add(
        RefinerApply(),
        RefinerApplyIdentity(
            component=line.components.refiner_identity(steps - 1),
            photos=line.source.content(shard),
        ),
        line.source.runtime(photos),
        threads=blueprint.suite.compute.threads,
        inputs=inputs,
        label=line.label(f"{name} {shard}"),
        group=line.group(name),
        photos=len(photos),
    )


def _trains_backbone(refiner: Refiner) -> bool:
    """Whether it trains a backbone along, on crops; planning refuses that where the recipe's mode is frozen."""
    return isinstance(refiner.options, PhotoInputs) and refiner.options.inputs is not None


@once
def _plan_fit(line: Line, steps: int) -> Ref:
    """Training the refiner that comes after `steps - 1` others, on the photos that segmentation is trained on."""
    refiner, name = line.components.refiners[steps - 1], line.components.refiner_names[steps - 1]
    shards = line.source.taught
    inputs = {
        "weak_set": (plan_weak_set(line.blueprint, line.source),),
        "maps": tuple(plan_refined(line, shard, steps - 1) for shard in shards),
    }
    if not _trains_backbone(refiner):
        requests = refiner.fit_features()
        inputs["features"] = plan_features(line.blueprint, line.source, requests, shards, plan_backbone(line))
    if refiner.needs_cue:
        inputs["cue"] = tuple(plan_saliency(line, shard) for shard in shards)
    identity = line.components.refiner_identity(steps - 1, fit=True)
    return plan_fit(line, RefinerFit(), refiner, identity, inputs, f"{name} fit", target_alone=True)
