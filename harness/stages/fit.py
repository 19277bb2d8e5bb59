"""What all stages that train have in common: localizer, refiner, cue and segmentation network are fitted alike."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import ClassVar

from harness.stages.contract import checked_fit, named
from harness.stages.features import MOVED
from harness.stages.graph import Stage
from harness.stages.guesses import epochs_of, fit_seconds, seen_side
from harness.stages.kind import DataRuntime, Identity, StageKind
from harness.stages.line import Line
from harness.stages.planned import check_weights
from harness.stages.source import photo_ids
from harness.stages.weak_set import seen_by
from harness.stages.work import Work
from harness.store.layout import FitFiles, Ref
from harness.suites.recipes import ComponentIdentity
from harness.suites.suite import Compute
from methods.base import Component, Cost, Fit, Surroundings, TrainingMode
from methods.sharing import least_items, too_few
from settings.dataset import Dataset
from settings.hashing import content_of
from settings.records import Photo, WeakSet, fingerprint

__all__ = ["FitIdentity", "FitKind", "FitRuntime", "held_out_ids", "held_out_photos", "plan_fit"]

TUNING = Cost(0.1)
"""Of a backbone that is trained along: three times what a photo's way through it costs."""
HELD_OUT = 5
"""One photo of dev in so many is left out of the fit that a classifier is measured with."""


@dataclass(frozen=True, kw_only=True)
class FitIdentity(Identity):
    """The component and how it is trained; what it is trained on is among the inputs."""

    component: ComponentIdentity
    training_mode: TrainingMode
    backbone: Mapping[str, object]
    rng_seed: int
    shards: int
    extra_in_stage_2: bool | None = None
    """True where segmentation is trained on extra photos too."""
    weight_files: tuple[str, ...] | None = None
    """sha256 of the weight files that training begins with, besides the backbone's."""
    left_out: str | None = None
    """sha256 over the ids of the photos that a held-out fit leaves out."""
    features: int | None = None
    """The version of the features that a backbone which is trained along gives; None for stored ones, which have it."""


@dataclass(frozen=True, kw_only=True)
class FitRuntime(DataRuntime):
    """Whose fit it is; `held_out` and `chosen` fits are not drawn among the training curves."""

    recipe: str
    held_out: bool = False
    """Whether the photos that the classifier is measured on are left out."""
    chosen: bool = False
    """Whether another policy than the suite's main one chose the options that its inputs were made with."""


class FitKind(StageKind[FitIdentity, FitRuntime]):
    """A kind of stage that trains a component; writes its weights and its losses, one row an epoch."""

    identity = FitIdentity
    runtime = FitRuntime
    writes = FitFiles
    tunes_backbone: ClassVar[bool] = False
    """Whether the backbone is trained too in `fine_tuned` mode; other components learn on frozen features always."""

    def run(self, work: Work[FitIdentity, FitRuntime]) -> None:
        """Train on what methods see, less what is held out, and write the weights and a row of losses an epoch."""
        from safetensors.torch import save_file

        weak = seen_by(work)
        if work.runtime.held_out:
            left_out = frozenset(held_out_ids(work.dataset))
            weak = replace(weak, photos=tuple(photo for photo in weak.photos if photo.id not in left_out))
        # A backbone that is tuned has no stored features: it reads photos.
        bank = None
        tunes_backbone = self.trains_backbone(work.identity)
        if not tunes_backbone:
            bank = work.bank()
        fitted = self.fit(work, weak, work.surroundings(weak.label_space, weak=weak, bank=bank))
        fit = checked_fit(named(work.identity.component), fitted)
        if tunes_backbone:
            work.check_backbone(work.identity.backbone)
        component: Component = work.component(work.identity.component)
        check_weights(component.weight_files(), work.identity.weight_files or ())
        files = work.files(FitFiles)
        save_file(fit.weights, files.weights)
        files.log.write_text(json.dumps([dict(row) for row in fit.log]), encoding="utf-8")

    def seconds(self, stage: Stage) -> float:
        """Guessed by the component's cost of a photo and epoch, and the backbone's passes where it is trained along."""
        assert isinstance(stage.identity, FitIdentity) and isinstance(stage.runtime, FitRuntime)
        size = seen_side(stage.identity.component, stage.runtime.place.backbone.size)
        seconds = fit_seconds(stage.identity.component, stage.photos, size)
        if seconds is None:
            seconds = super().seconds(stage)
        if self.trains_backbone(stage.identity):
            seconds += TUNING.of(stage.photos, size, {}, epochs_of(stage.identity.component))
        return seconds

    def trains_backbone(self, identity: FitIdentity) -> bool:
        """Whether photos go through a backbone that learns, and no stored features are read."""
        return self.tunes_backbone and identity.training_mode == "fine_tuned"

    @abstractmethod
    def fit(self, work: Work[FitIdentity, FitRuntime], weak: WeakSet, surroundings: Surroundings) -> Fit:
        """Hand the component what it learns from; `weak` is what methods see, less what is held out."""


def plan_fit(
    line: Line,
    kind: FitKind,
    component: Component,
    identity: ComponentIdentity,
    inputs: Mapping[str, tuple[Ref, ...]],
    step: str,
    *,
    left_out: Collection[Photo] = (),
    extra_in_stage_2: bool = False,
    held_out: bool = False,
    chosen: bool = False,
    target_alone: bool = False,
) -> Ref:
    """A stage that trains a component on the photos of the setting, less those that are left out.

    `target_alone`: it learns from extra photos only where the setting trusts them as it trusts the target set's own.
    Raises UserError where a batch has nothing for one of the processes that train together.
    """
    shards: Iterable[int] = line.source.every_shard
    if target_alone:
        shards = line.source.taught
    compute = line.blueprint.suite.compute
    photos = sum(len(line.source.shards[shard]) for shard in shards) - len(left_out)
    _check_batch(compute, identity, photos, line.recipe)
    # By content: a file that was exchanged under its name is another fit, and one that was moved is the same.
    weights = tuple(content_of(path) for path in component.weight_files())
    left_out_content = None
    if left_out:
        left_out_content = fingerprint(photo_ids(left_out))
    content = FitIdentity(
        component=identity,
        training_mode=line.mode,
        backbone=line.blueprint.backbone,
        rng_seed=line.rng_seed,
        shards=len(line.source.shards),
        # None goes into no key: fits that these entries do not concern keep the keys that they had before them.
        extra_in_stage_2=extra_in_stage_2 or None,
        weight_files=weights or None,
        left_out=left_out_content,
    )
    if line.mode == "fine_tuned" and kind.trains_backbone(content):
        content = replace(content, features=MOVED)
    return line.blueprint.add(
        kind,
        content,
        FitRuntime(
            place=line.source.place,
            places=component.places() or None,
            recipe=line.recipe,
            held_out=held_out,
            chosen=chosen,
        ),
        threads=compute.training_threads,
        bfloat16_pays=component.bfloat16_pays and line.mode == "frozen",
        processes=compute.train_processes,
        inputs=inputs,
        label=line.label(step),
        group=line.group(step),
        photos=photos,
    )


def held_out_photos(line: Line) -> tuple[Photo, ...]:
    """The photos of the setting that a classifier is measured on, by a fit that leaves them out."""
    ids = frozenset(held_out_ids(line.blueprint.dataset))
    return tuple(photo for photo in line.source.photos if photo.id in ids)


def held_out_ids(dataset: Dataset) -> tuple[str, ...]:
    """A fifth of dev, rounded up, ascending: the ids that come first by their sha256.

    It depends on dev's ids alone: on no rng seed, no label and no setting.
    """
    # By hash, not at even distances: one photo more or less on the list moves no other in or out, but for the last.
    dev = sorted(dataset.splits["dev"], key=lambda photo_id: sha256(photo_id.encode()).digest())
    rounded_up = -(-len(dev) // HELD_OUT)
    return tuple(sorted(dev[:rounded_up]))


def _check_batch(compute: Compute, identity: ComponentIdentity, photos: int, recipe: str) -> None:
    """Raise UserError where a batch is smaller than the processes that share it need: told before hours of training."""
    training = identity.options.get("training")
    batch = photos
    # Only components that train by steps have these options: others take all photos at once.
    if isinstance(training, Mapping):
        batch = min(photos, training.get("batch", photos))
    if batch < least_items(compute.train_processes, compute.sync_batch_norm):
        what = f"a batch of {batch} ({recipe}, {identity.name})"
        raise too_few("compute.train_processes", compute.train_processes, compute.sync_batch_norm, what)
