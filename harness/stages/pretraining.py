"""Pretraining as a stage: a backbone that goes on from the suite's, for features that take the place of the suite's."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

from harness.stages.fit import FitIdentity, FitKind, FitRuntime, plan_fit
from harness.stages.graph import Stage
from harness.stages.guesses import fit_seconds
from harness.stages.line import Line
from harness.stages.source import once
from harness.stages.stored import StoredMaps
from harness.stages.weak_set import plan_weak_set
from harness.stages.work import Work
from harness.store.layout import MapFiles, Ref
from methods.base import Fit, Localized, PairPretraining, Pretraining, Surroundings
from settings.records import WeakSet

__all__ = ["PretrainingFit", "no_maps", "plan_backbone"]


class PretrainingFit(FitKind):
    """Photos of the setting (and, where it reads them, the recipe's maps) → the weights of a backbone."""

    name = "pretraining_fit"
    seconds_a_photo = 0.3
    curve = "pretraining"

    def trains_backbone(self, identity: FitIdentity) -> bool:
        """Always: that is what it is for."""
        return True

    def seconds(self, stage: Stage) -> float:
        """The component's own guess, which holds the backbone's passes; else as its kind usually costs."""
        assert isinstance(stage.identity, FitIdentity) and isinstance(stage.runtime, FitRuntime)
        seconds = fit_seconds(stage.identity.component, stage.photos, stage.runtime.place.backbone.size)
        if seconds is None:
            return super().seconds(stage)
        return seconds

    def fit(self, work: Work[FitIdentity, FitRuntime], weak: WeakSet, surroundings: Surroundings) -> Fit:
        """Train on the photos that methods see, without labels where it reads none; with maps: those that have any."""
        pretraining: Pretraining = work.component(work.identity.component)
        if pretraining.reads_maps:
            maps = StoredMaps(work.read("maps", MapFiles))
            mapped = replace(weak, photos=tuple(photo for photo in weak.photos if photo.id in maps))
            return pretraining.fit(Localized(mapped, maps.of), surroundings)
        if not pretraining.reads_labels:
            weak = replace(weak, photos=tuple(photo.without_labels() for photo in weak.photos))
        return pretraining.fit(Localized(weak, no_maps), surroundings)


def no_maps(photo_id: str) -> NoReturn:
    """In place of a photo's maps, for a pretraining that does not read them."""
    raise KeyError(f"no maps of '{photo_id}': this pretraining does not read them")


def plan_backbone(line: Line, maps: tuple[Ref, ...] = (), fit: Ref | None = None) -> Ref | None:
    """The fit whose backbone a recipe's features are made with; None for the suite's own, frozen.

    A component that trains the backbone along has its own (`fit`). `maps` are the recipe's, for the features of its
    segmenter: a pretraining that reads maps comes behind them, any other before all that reads features.
    """
    if line.mode == "fine_tuned":
        return fit
    pretraining = line.components.pretraining
    if pretraining is None or isinstance(pretraining, PairPretraining) or (pretraining.reads_maps and not maps):
        return None
    return _plan_fit(line, maps if pretraining.reads_maps else ())


@once
def _plan_fit(line: Line, maps: tuple[Ref, ...]) -> Ref:
    pretraining = line.components.pretraining
    assert pretraining is not None
    inputs: dict[str, tuple[Ref, ...]] = {"weak_set": (plan_weak_set(line.blueprint, line.source),)}
    if maps:
        inputs["maps"] = maps
    identity = line.components.identity("pretraining", fit=True)
    step = f"{line.components.names['pretraining']} fit"
    return plan_fit(line, PretrainingFit(), pretraining, identity, inputs, step, target_alone=pretraining.reads_maps)
