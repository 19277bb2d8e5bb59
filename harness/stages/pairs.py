"""Drawn pairs as stages: photos with pseudo labels, made of the recipe's own, that segmentation is trained on too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from PIL import Image as PillowImage

from harness.stages.contract import check_pair, named
from harness.stages.fit import FitIdentity, FitRuntime, plan_fit
from harness.stages.graph import Stage
from harness.stages.guesses import apply_seconds
from harness.stages.kind import DataRuntime, Identity, StageKind
from harness.stages.line import Line
from harness.stages.pretraining import PretrainingFit, no_maps
from harness.stages.source import once
from harness.stages.stored import StoredMasks, drawn_photo
from harness.stages.weak_set import plan_weak_set, seen_by
from harness.stages.work import Work
from harness.store.layout import MaskFiles, PairFiles, Ref
from harness.suites.recipes import ComponentIdentity
from methods.base import Fit, Localized, PairPretraining, Surroundings
from settings.errors import UserError
from settings.masks import write_mask
from settings.records import Mask, WeakSet

__all__ = ["DrawPairs", "PairFit", "plan_pairs"]

SHOWN = 12
"""Pairs on the sheet that lies beside them."""


class PairFit(PretrainingFit):
    """Photos of the setting and their pseudo labels → what pairs are drawn with."""

    name = "pair_fit"
    curve = "drawn pairs"

    def fit(self, work: Work[FitIdentity, FitRuntime], weak: WeakSet, surroundings: Surroundings) -> Fit:
        """Train on the photos that have a pseudo label, without their image-level labels."""
        pretraining: PairPretraining = work.component(work.identity.component)
        return pretraining.fit(_labelled(weak, work.read("pseudo_labels", MaskFiles)), surroundings)


@dataclass(frozen=True, kw_only=True)
class DrawIdentity(Identity):
    """What draws; photos, pseudo labels and weights are among the inputs."""

    component: ComponentIdentity
    backbone: Mapping[str, object]
    rng_seed: int


class DrawPairs(StageKind[DrawIdentity, DataRuntime]):
    """Photos and their pseudo labels (and trained weights) → drawn photos with pseudo labels, two PNGs a pair."""

    name = "draw_pairs"
    identity = DrawIdentity
    runtime = DataRuntime
    writes = PairFiles
    seconds_a_photo = 0.05
    bytes_a_photo = 20_000

    def run(self, work: Work[DrawIdentity, DataRuntime]) -> None:
        """Draw pair by pair, and hold each against what it is to be."""
        from harness.drawing.sheet import Row, masks_column, to_png

        pretraining: PairPretraining = work.component(work.identity.component)
        weak = seen_by(work)
        data = _labelled(weak, work.read("pseudo_labels", MaskFiles))
        surroundings = work.surroundings(weak.label_space, weights=work.weights())
        files, who = work.files(PairFiles), named(work.identity.component)
        files.photos.mkdir()
        masks: dict[str, Mask] = {}
        rows: list[Row] = []
        for number, pair in enumerate(work.counted(pretraining.draw(data, surroundings))):
            photo = drawn_photo(files.photo(number))
            check_pair(who, photo, pair, weak.label_space.foreground)
            PillowImage.fromarray(pair.image).save(files.photo(number))
            write_mask(files.masks.of(files.name(number)), pair.mask)
            masks[photo.id] = pair.mask
            rows.append(Row(photo))
        if len(rows) != pretraining.pairs:
            raise UserError(who, f"{len(rows)} pairs", f"the {pretraining.pairs} of its `pairs`")
        columns = [masks_column("pseudo label", masks.get)]
        files.sheet.write_bytes(to_png(rows[:SHOWN], columns, weak.label_space, f"{who}: drawn pairs"))
        work.check_backbone(work.identity.backbone)

    def seconds(self, stage: Stage) -> float:
        """The component's own guess; else as its kind usually costs."""
        assert isinstance(stage.identity, DrawIdentity) and isinstance(stage.runtime, DataRuntime)
        seconds = apply_seconds(stage.identity.component, stage.photos, stage.runtime.place.backbone.size)
        return super().seconds(stage) if seconds is None else seconds


def _labelled(weak: WeakSet, pseudo_labels: Iterable[MaskFiles]) -> Localized:
    masks = StoredMasks(pseudo_labels)
    photos = tuple(photo.without_labels() for photo in weak.photos if photo.id in masks)
    return Localized(replace(weak, photos=photos), no_maps, pseudo_label=masks.mask)


def plan_pairs(line: Line, pseudo_labels: tuple[Ref, ...]) -> Ref | None:
    """The pairs that a recipe's segmentation is trained on beside its pseudo labels; None where it draws none."""
    if not isinstance(line.components.pretraining, PairPretraining):
        return None
    return _plan_pairs(line, pseudo_labels)


@once
def _plan_pairs(line: Line, pseudo_labels: tuple[Ref, ...]) -> Ref:
    pretraining, blueprint = line.components.pretraining, line.blueprint
    assert isinstance(pretraining, PairPretraining)
    inputs = {"weak_set": (plan_weak_set(blueprint, line.source),), "pseudo_labels": pseudo_labels}
    if pretraining.trained:
        identity = line.components.identity("pretraining", fit=True)
        step = f"{line.components.names['pretraining']} fit"
        fit = plan_fit(line, PairFit(), pretraining, identity, inputs, step, target_alone=True)
        inputs = {**inputs, "weights": (fit,)}
    return blueprint.add(
        DrawPairs(),
        DrawIdentity(
            component=line.components.identity("pretraining"), backbone=blueprint.backbone, rng_seed=line.rng_seed
        ),
        DataRuntime(place=line.source.place, places=pretraining.places() or None),
        threads=blueprint.suite.compute.threads,
        inputs=inputs,
        label=line.label("drawn pairs"),
        group=line.group("drawn pairs"),
        photos=pretraining.pairs,
    )
