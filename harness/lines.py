"""One line of the leaderboard - a recipe under a setting with an rng seed - as stages: trained, applied, scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.blueprint import SHARD, Blueprint, Source, contents, once
from harness.graph import Ref
from harness.parts import Parts
from methods.base import TrainingMode
from settings.records import Photo, fingerprint

SWEEP_STEPS = 100
PROTOCOL = "voc/1"


@dataclass(frozen=True, eq=False)
class Line:
    """One recipe under one setting with one rng seed: a line of the leaderboard."""

    blueprint: Blueprint
    source: Source
    recipe: str
    parts: Parts
    rng_seed: int
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)

    def rows(self) -> list[Ref]:
        """A row for each stage that is scored, under each policy."""
        rows = []
        for policy, last in self.blueprint.suite.policies.items():
            if policy == "oracle" and not (self.parts.localizer and self.parts.labeler.chosen_option):
                continue
            if self.parts.localizer:
                rows += self._maps_row(policy)
            if last in ("pseudo_labels", "segmentation"):
                rows.append(self._row("pseudo_labels", policy, self._scores(policy)))
            if last == "segmentation" and self.parts.segmenter:
                rows.append(self._row("segmentation", policy, self._val_scores(policy)))
        return rows

    def gallery(self) -> Ref:
        """Photo, map, pseudo label, prediction and truth of photos spread over train."""
        train = self.blueprint.dataset.splits["train"]
        count = min(self.blueprint.suite.gallery, len(train))
        chosen = [train[index * len(train) // count] for index in range(count)]
        photos = [photo for photo in self.source.photos if photo.id in set(chosen)]
        shards = sorted({self.source.photos.index(photo) // SHARD for photo in photos})
        identity = {
            "photos": [photo.id for photo in photos],
            "dataset": self.blueprint.dataset.identity(),
            "version": 2,
        }
        inputs = {
            "maps": tuple(self._maps(shard) for shard in shards),
            "pseudo_labels": tuple(self._label(shard, "fixed") for shard in shards),
            "masks": (self._segment(self.source, photos, shards, "fixed"),),
        }
        return self.blueprint.add(
            "gallery",
            {**identity, "masks": self._mask_contents(chosen)},
            inputs=inputs,
            runtime={**self.source.of(photos), "recipe": self.recipe},
            label=f"{self.recipe} · {self.source.name} · gallery",
            group="pictures",
            photos=len(photos),
        )

    # What is trained and applied

    @property
    def _mode(self) -> TrainingMode:
        return self.parts.training_mode

    def _group(self, step: str) -> str:
        return f"{self.recipe} · {step}"

    def _label_of(self, step: str) -> str:
        return f"{self.recipe} · {self.source.name} · rng seed {self.rng_seed} · {step}"

    @once
    def _localizer_fit(self) -> Ref:
        blueprint, localizer = self.blueprint, self.parts.localizer
        assert localizer is not None
        inputs: dict[str, tuple[Ref, ...]] = {"weak_set": (blueprint.weak_set(self.source),)}
        if self._mode == "frozen":
            every = range(len(self.source.shards))
            inputs["features"] = blueprint.features(self.source, localizer.fit_features(), None, every)
        return self._fit(
            "localizer_fit", self.parts.identity("localizer", fit=True), inputs, self._group("localizer fit")
        )

    def _fit(self, kind: str, component: Mapping[str, Any], inputs: dict[str, tuple[Ref, ...]], group: str) -> Ref:
        suite = self.blueprint.suite
        identity = {
            "component": component,
            "training_mode": self._mode,
            "backbone": suite.backbone.model_dump(),
            "rng_seed": self.rng_seed,
            "shards": len(self.source.shards),
        }
        return self.blueprint.add(
            kind,
            identity,
            threads=suite.compute.training_threads,
            inputs=inputs,
            runtime=self.source.runtime,
            label=self._label_of(group.rsplit(" · ", 1)[-1]),
            group=group,
            photos=len(self.source.photos),
        )

    def _backbone_after(self, fit: Ref) -> Ref | None:
        """A fine-tuned backbone is a backbone like any other for `features`."""
        return fit if self._mode == "fine_tuned" else None

    @once
    def _maps(self, shard: int) -> Ref:
        fit, localizer = self._localizer_fit(), self.parts.localizer
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
            label=self._label_of(f"maps {shard}"),
            group=self._group("maps"),
            photos=len(photos),
        )

    @once
    def _label(self, shard: int, policy: str) -> Ref:
        photos = self.source.shards[shard]
        inputs = {"maps": (self._maps(shard),)} if self.parts.labeler.needs_maps else {}
        if policy != "fixed":
            inputs["select"] = (self._select(policy),)
        identity = {"component": self.parts.identity("labeler"), "photos": self.source.content(shard)}
        return self.blueprint.add(
            "label",
            identity,
            inputs=inputs,
            runtime=self.source.of(photos),
            label=self._label_of(f"pseudo labels {shard}"),
            group=self._group("pseudo labels"),
            photos=len(photos),
        )

    def _segment(self, source: Source, photos: Sequence[Photo], shards: Iterable[int], policy: str) -> Ref:
        blueprint, segmenter = self.blueprint, self.parts.segmenter
        assert segmenter is not None
        inputs: dict[str, tuple[Ref, ...]] = {}
        backbone = None
        if segmenter.trained:
            fit = self._segmenter_fit(policy)
            inputs, backbone = {"weights": (fit,)}, self._backbone_after(fit)
        if requests := segmenter.apply_features():
            inputs["features"] = blueprint.features(source, requests, backbone, shards)
        return blueprint.add(
            "segment",
            {"component": self.parts.identity("segmenter"), "photos": contents(photos)},
            threads=blueprint.suite.compute.threads,
            inputs=inputs,
            runtime={**source.of(photos), "classes": list(blueprint.dataset.label_space.names)},
            label=self._label_of(f"segmentation of {photos[0].id}…"),
            group=self._group("segmentation"),
            photos=len(photos),
        )

    @once
    def _segmenter_fit(self, policy: str) -> Ref:
        blueprint, segmenter = self.blueprint, self.parts.segmenter
        assert segmenter is not None
        every = range(len(self.source.shards))
        inputs = {
            "weak_set": (blueprint.weak_set(self.source),),
            "pseudo_labels": tuple(self._label(shard, policy) for shard in every),
        }
        if self._mode == "frozen":
            inputs["features"] = blueprint.features(self.source, segmenter.fit_features(), None, every)
        return self._fit(
            "segmenter_fit", self.parts.identity("segmenter", fit=True), inputs, self._group("segmenter fit")
        )

    # What is scored

    def _mask_contents(self, ids: Sequence[str]) -> str:
        return fingerprint([(photo_id, self.blueprint.dataset.mask_content(photo_id)) for photo_id in ids])

    def _scored(
        self, kind: str, split: str, ids: Sequence[str], inputs: dict[str, tuple[Ref, ...]], **what: Any
    ) -> Ref:
        purpose = self.blueprint.reported.purpose
        identity = {
            "dataset": self.blueprint.dataset.identity(),
            "masks": self._mask_contents(ids),
            "purpose": purpose,
            **what,
        }
        runtime = {"dataset": self.blueprint.suite.dataset.model_dump(), "split": split, "ids": list(ids)}
        return self.blueprint.add(
            kind,
            identity,
            inputs=inputs,
            runtime=runtime,
            label=self._label_of(f"{kind} of {ids[0]}…"),
            group=self._group("scores"),
            photos=len(ids),
        )

    def _reported_shards(self) -> list[tuple[int, list[str]]]:
        """The shards that hold photos whose maps are reported, with their ids."""
        scored = set(self.blueprint.dataset.splits[self.blueprint.reported.maps])
        reported = ([photo.id for photo in shard if photo.id in scored] for shard in self.source.shards)
        return [(shard, ids) for shard, ids in enumerate(reported) if ids]

    @once
    def _sweeps(self) -> tuple[Ref, ...]:
        return tuple(
            self._scored("sweep", self.blueprint.reported.maps, ids, {"maps": (self._maps(shard),)}, steps=SWEEP_STEPS)
            for shard, ids in self._reported_shards()
        )

    def _scores(self, policy: str) -> tuple[Ref, ...]:
        return tuple(
            self._scored(
                "score",
                self.blueprint.reported.maps,
                ids,
                {"masks": (self._label(shard, policy),)},
                protocol=PROTOCOL,
                void="background",
            )
            for shard, ids in self._reported_shards()
        )

    def _val_scores(self, policy: str) -> tuple[Ref, ...]:
        val = self.blueprint.val
        return tuple(
            self._scored(
                "score",
                self.blueprint.reported.segmentation,
                [photo.id for photo in photos],
                {"masks": (self._segment(val, photos, [shard], policy),)},
                protocol=PROTOCOL,
                void="error",
            )
            for shard, photos in enumerate(val.shards)
        )

    @once
    def _select(self, policy: str) -> Ref:
        identity = {
            "policy": policy,
            "declared": self.parts.labeler.declared_threshold,
            "steps": SWEEP_STEPS,
            "classes": self.blueprint.dataset.label_space.foreground + 1,
        }
        return self.blueprint.add(
            "select",
            identity,
            inputs={"sweeps": self._sweeps()},
            label=self._label_of(f"choice by {policy}"),
            group=self._group("scores"),
        )

    def _maps_row(self, policy: str) -> list[Ref]:
        if policy == "fixed":
            declared = self.parts.labeler.declared_threshold
            return [] if declared is None else [self._row("maps", policy, self._sweeps(), threshold=declared)]
        return [self._row("maps", policy, self._sweeps(), select=self._select(policy))]

    def _row(
        self,
        stage: str,
        policy: str,
        counts: tuple[Ref, ...],
        threshold: float | None = None,
        select: Ref | None = None,
    ) -> Ref:
        dataset, source = self.blueprint.dataset, self.source
        assert source.weak is not None
        row = {
            "dataset": dataset.name,
            "split": getattr(self.blueprint.reported, "segmentation" if stage == "segmentation" else "maps"),
            "recipe": self.recipe,
            "setting": source.name,
            "training_mode": self._mode if self.parts.is_trained else "",
            "rng_seed": self.rng_seed,
            "stage": stage,
            "variant": "ss" if stage == "segmentation" else "",
            "policy": policy,
            "classes": list(dataset.label_space.mask_names),
            "training_fingerprint": source.weak.fingerprint,
            "supervision": "I" if self.parts.is_trained else "",
            "protocol": PROTOCOL,
        }
        return self.blueprint.add(
            "row",
            {"row": row, "threshold": threshold, "steps": SWEEP_STEPS, "version": 1},
            inputs={"counts": counts, **({"select": (select,)} if select else {})},
            label=self._label_of(f"row {stage} {policy}"),
            group="rows",
        )
