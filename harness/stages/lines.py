"""What one line of the leaderboard trains and applies: a recipe under a setting with an rng seed, as stages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.stages.mapped import MappedLine
from harness.stages.revealing import revealed_ids
from harness.stages.source import Source, contents, once
from harness.store.layout import Ref
from harness.suites.recipes import files_identity
from methods.base import Segmenter
from methods.segmenting import SINGLE_SCALE, variant_of
from settings.dataset import Dataset
from settings.errors import UserError
from settings.records import Photo, fingerprint


@dataclass(frozen=True, eq=False)
class Line(MappedLine):
    """One recipe under one setting with one rng seed: a line of the leaderboard."""

    @once
    def cue(self, shard: int) -> Ref:
        """Saliency maps of a shard; a simulated cue reads true masks through the gate."""
        cue, dataset = self.components.cue, self.blueprint.dataset
        assert cue is not None
        photos = self.source.shards[shard]
        identity = {"component": self.components.identity("cue"), "photos": self.source.content(shard)}
        if cue.reads_masks:
            _check_simulation(dataset, self.components.names["cue"])
            identity |= {"masks": self.blueprint.mask_contents(tuple(photo.id for photo in photos))}
        inputs: dict[str, tuple[Ref, ...]] = {"weights": (self.cue_fit(),)} if cue.trained else {}
        if requests := cue.apply_features():
            inputs["features"] = self.blueprint.features(self.source, requests, None, [shard])
        return self.blueprint.add(
            "cue",
            {**identity, **files_identity(cue, photos)},
            threads=self.blueprint.suite.compute.threads if inputs else None,
            inputs=inputs,
            runtime={**self.source.of(photos), "places": self.components.places("cue")},
            label=f"{self.components.names['cue']} · {self.source.name} · saliency {shard}",
            group=f"{self.components.names['cue']} · saliency",
            photos=len(photos),
        )

    @once
    def cue_fit(self) -> Ref:
        """Training the cue on all photos of the setting."""
        cue, every = self.components.cue, range(len(self.source.shards))
        assert cue is not None
        inputs = {
            "weak_set": (self.blueprint.weak_set(self.source),),
            "features": self.blueprint.features(self.source, cue.fit_features(), None, every),
        }
        name = self.components.names["cue"]
        return self.fit_stage("cue_fit", self.components.identity("cue", fit=True), inputs, self.group(f"{name} fit"))

    @once
    def pseudo_labels(self, shard: int, choice: Ref | None) -> Ref:
        """Pseudo labels of a shard, at the declared threshold or at one that a policy chose."""
        labeler = self.components.labeler
        assert labeler is not None
        photos = self.source.shards[shard]
        inputs = {"maps": (self.final_maps(shard),)} if labeler.needs_maps else {}
        if labeler.needs_cue:
            inputs["cue"] = (self.cue(shard),)
        if choice is not None:
            inputs["select"] = (choice,)
        labels = [(photo.id, photo.labels) for photo in photos]
        identity = {"component": self.components.identity("labeler"), "photos": self.source.content(shard)}
        identity |= {} if labeler.needs_maps else {"labels": fingerprint(labels)}
        return self.blueprint.add(
            "label",
            {**identity, **files_identity(labeler, photos)},
            inputs=inputs,
            runtime={**self.source.of(photos), "places": self.components.places("labeler")},
            label=self.label_of(f"pseudo labels {shard}"),
            group=self.group("pseudo labels"),
            photos=len(photos),
        )

    @once
    def revealed(self) -> tuple[Ref, ...]:
        """True masks in place of pseudo labels, for a ceiling; none for any other recipe."""
        if self.components.reveal is None:
            return ()
        chosen = set(revealed_ids(self.blueprint.dataset, self.components.reveal, self.rng_seed))
        shards = ([photo for photo in shard if photo.id in chosen] for shard in self.source.shards)
        return tuple(self._reveal(photos) for photos in shards if photos)

    def _reveal(self, photos: Sequence[Photo]) -> Ref:
        dataset = self.blueprint.dataset
        masks = self.blueprint.mask_contents(tuple(photo.id for photo in photos))
        return self.blueprint.add(
            "reveal",
            {"dataset": dataset.identity(), "masks": masks},
            runtime=self.source.of(photos),
            label=self.label_of(f"true masks of {photos[0].id}…"),
            group=self.group("true masks"),
            photos=len(photos),
        )

    def segment(
        self,
        source: Source,
        photos: Sequence[Photo],
        shards: Iterable[int],
        choice: Ref | None,
        variant: Segmenter | None = None,
    ) -> Ref:
        """Segmenting photos that lie in some shards of a source, in the first of the suite's variants or another."""
        blueprint, segmenter = self.blueprint, variant or self.components.segmenter
        assert segmenter is not None
        step = of_variant("segmentation", variant_of(segmenter))
        inputs: dict[str, tuple[Ref, ...]] = {}
        backbone = None
        if segmenter.trained:
            fit = self.segmenter_fit(choice)
            inputs, backbone = {"weights": (fit,)}, self.backbone_after(fit)
        if requests := segmenter.apply_features():
            inputs["features"] = blueprint.features(source, requests, backbone, shards)
        return blueprint.add(
            "segment",
            {"component": self.components.identity("segmenter", variant=segmenter), "photos": contents(photos)},
            threads=blueprint.suite.compute.threads,
            inputs=inputs,
            runtime={**source.of(photos), "classes": list(blueprint.dataset.label_space.names)},
            label=self.label_of(f"{step} of {photos[0].id}…"),
            group=self.group(step),
            photos=len(photos),
        )

    @once
    def segmenter_fit(self, choice: Ref | None) -> Ref:
        """Training stage 2 on the pseudo labels of the whole setting."""
        blueprint, segmenter = self.blueprint, self.components.segmenter
        assert segmenter is not None
        shards = self.source.stage_2
        inputs = {
            "weak_set": (blueprint.weak_set(self.source),),
            "pseudo_labels": self.revealed() or tuple(self.pseudo_labels(shard, choice) for shard in shards),
        }
        if self.mode == "frozen":
            inputs["features"] = blueprint.features(self.source, segmenter.fit_features(), None, shards)
        return self.fit_stage(
            "segmenter_fit",
            self.components.identity("segmenter", fit=True),
            inputs,
            self.group("segmenter fit"),
            chosen=choice is not None,
        )


def of_variant(step: str, variant: str) -> str:
    """How a display calls a step of stage 2; a single scale goes without saying."""
    return step if variant in ("", SINGLE_SCALE) else f"{step} {variant}"


def impossible(line: Line) -> str:
    """Why a recipe cannot be run under a setting that others can be run under; empty where it can."""
    cue, takes_extra = line.components.cue, line.source.trusts_extra and line.components.segmenter
    if cue is not None and cue.reads_masks and takes_extra:
        return f"cue {line.components.names['cue']} simulates saliency from true masks, which extra photos do not have"
    return ""


def _check_simulation(dataset: Dataset, cue: str) -> None:
    """What reads true masks in a network's place would be a lie on photos that a network can be run on."""
    if not dataset.photos_are_ours:
        expected = "a cue for real photos: this one simulates saliency from true masks"
        raise UserError("cue", f"'{cue}' on {dataset.name}", expected)
