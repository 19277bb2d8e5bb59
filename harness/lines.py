"""What one line of the leaderboard trains and applies: a recipe under a setting with an rng seed, as stages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.blueprint import Blueprint, Source, contents, once
from harness.graph import Ref
from harness.parts import Parts
from methods.base import TrainingMode
from settings.records import Photo, fingerprint


@dataclass(frozen=True, eq=False)
class Line:
    """One recipe under one setting with one rng seed: a line of the leaderboard."""

    blueprint: Blueprint
    source: Source
    recipe: str
    parts: Parts
    rng_seed: int
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def mode(self) -> TrainingMode:
        """Frozen or fine-tuned."""
        return self.parts.training_mode

    def group(self, step: str) -> str:
        """How a display calls the stages of a step."""
        return f"{self.recipe} · {step}"

    def label_of(self, step: str) -> str:
        """How people are told of one stage."""
        return f"{self.recipe} · {self.source.name} · rng seed {self.rng_seed} · {step}"

    @once
    def localizer_fit(self) -> Ref:
        """Training the localizer."""
        blueprint, localizer = self.blueprint, self.parts.localizer
        assert localizer is not None
        inputs: dict[str, tuple[Ref, ...]] = {"weak_set": (blueprint.weak_set(self.source),)}
        if self.mode == "frozen":
            every = range(len(self.source.shards))
            inputs["features"] = blueprint.features(self.source, localizer.fit_features(), None, every)
        return self._fit(
            "localizer_fit", self.parts.identity("localizer", fit=True), inputs, self.group("localizer fit")
        )

    def _fit(self, kind: str, component: Mapping[str, Any], inputs: dict[str, tuple[Ref, ...]], group: str) -> Ref:
        suite = self.blueprint.suite
        identity = {
            "component": component,
            "training_mode": self.mode,
            "backbone": self.blueprint.backbone,
            "rng_seed": self.rng_seed,
            "shards": len(self.source.shards),
        }
        return self.blueprint.add(
            kind,
            identity,
            threads=suite.compute.training_threads,
            inputs=inputs,
            runtime=self.source.runtime,
            label=self.label_of(group.rsplit(" · ", 1)[-1]),
            group=group,
            photos=len(self.source.photos),
        )

    def _backbone_after(self, fit: Ref) -> Ref | None:
        """A fine-tuned backbone is a backbone like any other for `features`."""
        return fit if self.mode == "fine_tuned" else None

    @once
    def maps(self, shard: int) -> Ref:
        """Localization maps of a shard of the setting's photos."""
        fit, localizer = self.localizer_fit(), self.parts.localizer
        assert localizer is not None
        requests = localizer.apply_features()
        photos = self.source.shards[shard]
        labels = fingerprint([(photo.id, photo.labels) for photo in photos])
        features = self.blueprint.features(self.source, requests, self._backbone_after(fit), [shard])
        return self.blueprint.add(
            "localizer_apply",
            {"component": self.parts.identity("localizer"), "labels": labels},
            threads=self.blueprint.suite.compute.threads,
            inputs={"weights": (fit,), "features": features},
            runtime=self.source.of(photos),
            label=self.label_of(f"maps {shard}"),
            group=self.group("maps"),
            photos=len(photos),
        )

    @once
    def pseudo_labels(self, shard: int, choice: Ref | None) -> Ref:
        """Pseudo labels of a shard, at the declared threshold or at one that a policy chose."""
        photos = self.source.shards[shard]
        inputs = {"maps": (self.maps(shard),)} if self.parts.labeler.needs_maps else {}
        if choice is not None:
            inputs["select"] = (choice,)
        identity = {"component": self.parts.identity("labeler"), "photos": self.source.content(shard)}
        return self.blueprint.add(
            "label",
            identity,
            inputs=inputs,
            runtime=self.source.of(photos),
            label=self.label_of(f"pseudo labels {shard}"),
            group=self.group("pseudo labels"),
            photos=len(photos),
        )

    def segment(self, source: Source, photos: Sequence[Photo], shards: Iterable[int], choice: Ref | None) -> Ref:
        """Segmenting photos that lie in some shards of a source."""
        blueprint, segmenter = self.blueprint, self.parts.segmenter
        assert segmenter is not None
        inputs: dict[str, tuple[Ref, ...]] = {}
        backbone = None
        if segmenter.trained:
            fit = self.segmenter_fit(choice)
            inputs, backbone = {"weights": (fit,)}, self._backbone_after(fit)
        if requests := segmenter.apply_features():
            inputs["features"] = blueprint.features(source, requests, backbone, shards)
        return blueprint.add(
            "segment",
            {"component": self.parts.identity("segmenter"), "photos": contents(photos)},
            threads=blueprint.suite.compute.threads,
            inputs=inputs,
            runtime={**source.of(photos), "classes": list(blueprint.dataset.label_space.names)},
            label=self.label_of(f"segmentation of {photos[0].id}…"),
            group=self.group("segmentation"),
            photos=len(photos),
        )

    @once
    def segmenter_fit(self, choice: Ref | None) -> Ref:
        """Training stage 2 on the pseudo labels of the whole setting."""
        blueprint, segmenter = self.blueprint, self.parts.segmenter
        assert segmenter is not None
        every = range(len(self.source.shards))
        inputs = {
            "weak_set": (blueprint.weak_set(self.source),),
            "pseudo_labels": tuple(self.pseudo_labels(shard, choice) for shard in every),
        }
        if self.mode == "frozen":
            inputs["features"] = blueprint.features(self.source, segmenter.fit_features(), None, every)
        return self._fit(
            "segmenter_fit", self.parts.identity("segmenter", fit=True), inputs, self.group("segmenter fit")
        )
