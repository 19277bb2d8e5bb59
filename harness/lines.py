"""What one line of the leaderboard trains and applies: a recipe under a setting with an rng seed, as stages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.blueprint import Blueprint, Source, contents, once
from harness.graph import Ref
from harness.held_out import held_out_ids
from harness.parts import Parts, files_identity
from harness.revealing import revealed_ids
from methods.base import TrainingMode
from settings.dataset import Dataset
from settings.errors import UserError
from settings.hashing import shared_cache
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
    def held_out(self) -> tuple[Photo, ...]:
        """The photos of the setting that a classifier is measured on, by a fit that leaves them out."""
        ids = frozenset(held_out_ids(self.blueprint.dataset))
        return tuple(photo for photo in self.source.photos if photo.id in ids)

    @once
    def localizer_fit(self, held_out: bool = False) -> Ref:
        """Training the localizer; `held_out`: without the photos that its classifier is measured on."""
        blueprint, localizer = self.blueprint, self.parts.localizer
        assert localizer is not None
        inputs: dict[str, tuple[Ref, ...]] = {"weak_set": (blueprint.weak_set(self.source),)}
        if self.mode == "frozen":
            every = range(len(self.source.shards))
            inputs["features"] = blueprint.features(self.source, localizer.fit_features(), None, every)
        group = self.group("held-out localizer fit" if held_out else "localizer fit")
        left_out = self.held_out() if held_out else ()
        return self._fit(
            "localizer_fit", self.parts.identity("localizer", fit=True), inputs, group, left_out, held_out=held_out
        )

    def _fit(
        self,
        kind: str,
        component: Mapping[str, Any],
        inputs: dict[str, tuple[Ref, ...]],
        group: str,
        left_out: Sequence[Photo] = (),
        **told: bool,
    ) -> Ref:
        suite = self.blueprint.suite
        identity = {
            "component": component,
            "training_mode": self.mode,
            "backbone": self.blueprint.backbone,
            "rng_seed": self.rng_seed,
            "shards": len(self.source.shards),
            **self._weight_files(component["role"]),
            **({"left_out": fingerprint([photo.id for photo in left_out])} if left_out else {}),
        }
        return self.blueprint.add(
            kind,
            identity,
            threads=suite.compute.training_threads,
            inputs=inputs,
            runtime={**self.source.runtime, "recipe": self.recipe, **told},
            label=self.label_of(group.rsplit(" · ", 1)[-1]),
            group=group,
            photos=len(self.source.photos) - len(left_out),
        )

    def _weight_files(self, role: str) -> dict[str, list[str]]:
        """What a component's training begins with, by content."""
        files = getattr(self.parts, role).weight_files()
        return {"weight_files": [shared_cache().sha256(path) for path in files]} if files else {}

    def _backbone_after(self, fit: Ref | None) -> Ref | None:
        """A fine-tuned backbone is a backbone like any other for `features`."""
        return fit if self.mode == "fine_tuned" else None

    @once
    def maps(self, shard: int) -> Ref:
        """Localization maps of a shard of the setting's photos."""
        blueprint, localizer = self.blueprint, self.parts.localizer
        assert localizer is not None
        photos = self.source.shards[shard]
        labels = fingerprint([(photo.id, photo.labels) for photo in photos])
        identity: dict[str, Any] = {"component": self.parts.identity("localizer"), "labels": labels}
        fit = self.localizer_fit() if localizer.trained else None
        inputs: dict[str, tuple[Ref, ...]] = {"weights": (fit,)} if fit else {}
        if features := self._maps_features(shard, fit):
            inputs["features"] = features
        if localizer.reference_features():
            identity["rng_seed"] = self.rng_seed
        if blueprint.filter(self.source):
            # What methods see of the setting is known when the filter has run.
            inputs["weak_set"] = (blueprint.weak_set(self.source),)
        return blueprint.add(
            "localizer_apply",
            {**identity, **files_identity(localizer, photos)},
            threads=blueprint.suite.compute.threads,
            inputs=inputs,
            runtime={**self.source.of(photos), "places": self.parts.places("localizer")},
            label=self.label_of(f"maps {shard}"),
            group=self.group("maps"),
            photos=len(photos),
        )

    def _maps_features(self, shard: int, fit: Ref | None) -> tuple[Ref, ...]:
        """What a localizer reads of a shard's own photos, and of all photos as references."""
        localizer, backbone = self.parts.localizer, self._backbone_after(fit)
        assert localizer is not None
        own = self.blueprint.features(self.source, localizer.apply_features(), backbone, [shard])
        every = range(len(self.source.shards))
        others = self.blueprint.features(self.source, localizer.reference_features(), backbone, every)
        return tuple(dict.fromkeys((*own, *others)))

    @once
    def cue(self, shard: int) -> Ref:
        """Saliency maps of a shard; a simulated cue reads true masks through the gate."""
        cue, dataset = self.parts.cue, self.blueprint.dataset
        assert cue is not None
        photos = self.source.shards[shard]
        identity = {"component": self.parts.identity("cue"), "photos": self.source.content(shard)}
        if cue.reads_masks:
            _check_simulation(dataset, self.parts.names["cue"], photos)
            identity |= {"masks": self.blueprint.mask_contents(tuple(photo.id for photo in photos))}
        return self.blueprint.add(
            "cue",
            {**identity, **files_identity(cue, photos)},
            runtime={**self.source.of(photos), "places": self.parts.places("cue")},
            label=f"{self.parts.names['cue']} · {self.source.name} · saliency {shard}",
            group=f"{self.parts.names['cue']} · saliency",
            photos=len(photos),
        )

    @once
    def pseudo_labels(self, shard: int, choice: Ref | None) -> Ref:
        """Pseudo labels of a shard, at the declared threshold or at one that a policy chose."""
        labeler = self.parts.labeler
        assert labeler is not None
        photos = self.source.shards[shard]
        inputs = {"maps": (self.maps(shard),)} if labeler.needs_maps else {}
        if labeler.needs_cue:
            inputs["cue"] = (self.cue(shard),)
        if choice is not None:
            inputs["select"] = (choice,)
        labels = [(photo.id, photo.labels) for photo in photos]
        identity = {"component": self.parts.identity("labeler"), "photos": self.source.content(shard)}
        identity |= {} if labeler.needs_maps else {"labels": fingerprint(labels)}
        return self.blueprint.add(
            "label",
            {**identity, **files_identity(labeler, photos)},
            inputs=inputs,
            runtime={**self.source.of(photos), "places": self.parts.places("labeler")},
            label=self.label_of(f"pseudo labels {shard}"),
            group=self.group("pseudo labels"),
            photos=len(photos),
        )

    @once
    def revealed(self) -> tuple[Ref, ...]:
        """True masks in place of pseudo labels, for a ceiling; none for any other recipe."""
        if self.parts.reveal is None:
            return ()
        chosen = set(revealed_ids(self.blueprint.dataset, self.parts.reveal, self.rng_seed))
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
        shards = self.source.stage_2
        inputs = {
            "weak_set": (blueprint.weak_set(self.source),),
            "pseudo_labels": self.revealed() or tuple(self.pseudo_labels(shard, choice) for shard in shards),
        }
        if self.mode == "frozen":
            inputs["features"] = blueprint.features(self.source, segmenter.fit_features(), None, shards)
        return self._fit(
            "segmenter_fit",
            self.parts.identity("segmenter", fit=True),
            inputs,
            self.group("segmenter fit"),
            chosen=choice is not None,
        )


def _check_simulation(dataset: Dataset, cue: str, photos: Sequence[Photo]) -> None:
    """What reads true masks in a network's place would be a lie on photos that a network can be run on."""
    if photos[0].source != "target":
        mend = "set stage_2: false for the setting, or segmenter: none for the recipe"
        raise UserError("cue", f"'{cue}' on {photos[0].source} photos", "photos with true masks to simulate from", mend)
    if not dataset.photos_are_ours:
        expected = "a cue for real photos: this one simulates saliency from true masks"
        raise UserError("cue", f"'{cue}' on {dataset.name}", expected)
