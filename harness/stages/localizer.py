"""Localizers as stages: training on photos with image-level labels, and localization maps shard by shard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.stages.contract import checked_maps, named
from harness.stages.features import plan_features
from harness.stages.filters import plan_filter
from harness.stages.fit import FitIdentity, FitKind, FitRuntime, held_out_photos, plan_fit
from harness.stages.graph import Stage
from harness.stages.guesses import USUAL_PHOTO, apply_seconds, keeps_aspect, pixels_seen, whole_seconds
from harness.stages.kind import Identity, PhotosRuntime, StageKind
from harness.stages.line import Line
from harness.stages.pretraining import plan_backbone
from harness.stages.source import once
from harness.stages.weak_set import plan_weak_set, seen_by
from harness.stages.work import Work
from harness.store.layout import MapFiles, Ref
from harness.suites.recipes import ComponentIdentity
from methods.base import Fit, Localizer, Surroundings
from settings.records import Photo, WeakSet, fingerprint

__all__ = ["LocalizerApply", "LocalizerFit", "plan_held_out_fit", "plan_maps"]

BYTES_OF_WHOLE_MAPS = 4 * USUAL_PHOTO * 3 // 2
"""A photo, float32."""


class LocalizerFit(FitKind):
    """Weak set (and, with a frozen backbone, stored features) → a localizer's weights."""

    name = "localizer_fit"
    seconds_a_photo = 0.06
    curve = "localizer"
    tunes_backbone = True

    def fit(self, work: Work[FitIdentity, FitRuntime], weak: WeakSet, surroundings: Surroundings) -> Fit:
        """Train the localizer on all photos that methods see, less those that a held-out fit leaves out."""
        localizer: Localizer = work.component(work.identity.component)
        return localizer.fit(weak, surroundings)


@dataclass(frozen=True, kw_only=True)
class LocalizerApplyIdentity(Identity):
    """The localizer, the photos and their labels, and what else its maps depend on."""

    component: ComponentIdentity
    photos: str | None = None
    """sha256 over ids and photo contents; None in descriptions by older versions, whose keys lack it."""
    labels: str
    """sha256 over class names, ids and labels."""
    rng_seed: int | None = None
    """For localizers that draw reference photos."""
    files: str | None = None
    """sha256 over the files of other programs that it reads for these photos."""


class LocalizerApply(StageKind[LocalizerApplyIdentity, PhotosRuntime]):
    """Weights and features of a shard → localization maps, which `MapFiles` names."""

    name = "localizer_apply"
    identity = LocalizerApplyIdentity
    runtime = PhotosRuntime
    writes = MapFiles
    seconds_a_photo = 0.01
    bytes_a_photo = 20_000
    halves_when_out_of_memory = True

    def run(self, work: Work[LocalizerApplyIdentity, PhotosRuntime]) -> None:
        """Localize photo by photo, and write the shard's maps as one file."""
        from methods.localization import write_maps

        localizer: Localizer = work.component(work.identity.component)
        # All photos that methods see, where references may be drawn from them; else the shard's alone.
        weak = seen_by(work)
        surroundings = work.surroundings(weak.label_space, weak=weak, bank=work.bank(), weights=work.weights())
        photos, who = work.photos(), named(work.identity.component)
        records = checked_maps(who, photos, localizer.apply(photos, surroundings), localizer.gives_background)
        write_maps(work.files(MapFiles).maps, work.counted(records))
        work.check_files(localizer)

    def seconds(self, stage: Stage) -> float:
        """Guessed by the component's cost of a photo, at the backbone's size; else as its kind usually costs.

        Photos of their own size pass the backbone here too.
        """
        assert isinstance(stage.identity, LocalizerApplyIdentity) and isinstance(stage.runtime, PhotosRuntime)
        if keeps_aspect(stage.identity.component):
            return whole_seconds(pixels_seen(stage.identity.component), stage.photos)
        size = stage.runtime.place.backbone.size
        seconds = apply_seconds(stage.identity.component, stage.photos, size)
        if seconds is None:
            return super().seconds(stage)
        return seconds

    def bytes(self, stage: Stage) -> int:
        """Small maps; of photos of their own size, one of as many pixels as the photo, and every other photo two."""
        assert isinstance(stage.identity, LocalizerApplyIdentity)
        if keeps_aspect(stage.identity.component):
            return BYTES_OF_WHOLE_MAPS * stage.photos
        return super().bytes(stage)


@once
def _plan_localizer_fit(line: Line) -> Ref:
    """The stage that trains the localizer on all photos of the setting, for the maps of its rows."""
    return _plan_fit(line, "localizer fit")


@once
def plan_held_out_fit(line: Line) -> Ref:
    """The stage that trains the localizer without the photos that its classifier is measured on; no row uses it."""
    return _plan_fit(line, "held-out localizer fit", held_out_photos(line))


def _plan_fit(line: Line, step: str, left_out: Sequence[Photo] | None = None) -> Ref:
    localizer = line.components.localizer
    assert localizer is not None
    inputs: dict[str, tuple[Ref, ...]] = {"weak_set": (plan_weak_set(line.blueprint, line.source),)}
    # A backbone that is tuned reads photos: features of its untuned self are of no use to it.
    if line.mode == "frozen":
        shards, backbone = line.source.every_shard, plan_backbone(line)
        inputs["features"] = plan_features(line.blueprint, line.source, localizer.fit_features(), shards, backbone)
    return plan_fit(
        line,
        LocalizerFit(),
        localizer,
        line.components.identity("localizer", fit=True),
        inputs,
        step,
        left_out=left_out or (),
        held_out=left_out is not None,
    )


@once
def plan_maps(line: Line, shard: int) -> Ref:
    """Localization maps of a shard of the setting's photos, before any refiner."""
    blueprint, localizer = line.blueprint, line.components.localizer
    assert localizer is not None
    photos = line.source.shards[shard]
    inputs: dict[str, tuple[Ref, ...]] = {}
    # Only the choice of reference photos is drawn: maps without them are the same for every rng seed.
    fit = rng_seed = None
    if localizer.draws_references:
        rng_seed = line.rng_seed
    if localizer.trained:
        fit = _plan_localizer_fit(line)
        inputs["weights"] = (fit,)
    if features := _features(line, localizer, shard, fit):
        inputs["features"] = features
    # All that methods see: for who trained on it, or draws references from it, or has to know what a filter left.
    if fit or localizer.draws_references or plan_filter(blueprint, line.source):
        inputs["weak_set"] = (plan_weak_set(blueprint, line.source),)
    return blueprint.add(
        LocalizerApply(),
        LocalizerApplyIdentity(
            component=line.components.identity("localizer"),
            photos=line.source.content(shard),
            # With the names of the classes, by which files of other programs may be called.
            labels=fingerprint([blueprint.dataset.label_space.names, line.source.labels(shard)]),
            rng_seed=rng_seed,
            files=line.source.files(localizer, shard),
        ),
        line.source.runtime(photos, line.components.places("localizer"), line.source.short_files(localizer, shard)),
        threads=blueprint.suite.compute.threads,
        inputs=inputs,
        label=line.label(f"maps {shard}"),
        group=line.group("maps"),
        photos=len(photos),
    )


def _features(line: Line, localizer: Localizer, shard: int, fit: Ref | None) -> tuple[Ref, ...]:
    """What a localizer reads of a shard's own photos, and of all photos as references; each artefact once."""
    blueprint, source, fitted = line.blueprint, line.source, plan_backbone(line, fit=fit)
    own = plan_features(blueprint, source, localizer.apply_features(), [shard], fitted)
    # Of every shard: references are drawn over all photos of the setting, so that shards shift no choice.
    references = plan_features(blueprint, source, localizer.reference_features(), source.every_shard, fitted)
    return tuple(dict.fromkeys((*own, *references)))
