"""What of one line of the leaderboard makes maps: its localizer, and the refiners that follow, as stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.stages.blueprint import Blueprint
from harness.stages.held_out import held_out_ids
from harness.stages.source import Source, once
from harness.store.layout import Ref
from harness.suites.recipes import RecipeComponents, files_identity
from harness.suites.suite import Compute
from methods.base import TrainingMode
from methods.sharing import least_items, too_few
from settings.hashing import shared_cache
from settings.records import Photo, fingerprint


@dataclass(frozen=True, eq=False)
class MappedLine:
    """One recipe under one setting with one rng seed, up to its localization maps."""

    blueprint: Blueprint
    source: Source
    recipe: str
    components: RecipeComponents
    rng_seed: int
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def mode(self) -> TrainingMode:
        """Frozen or fine-tuned."""
        return self.components.training_mode

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
        blueprint, localizer = self.blueprint, self.components.localizer
        assert localizer is not None
        inputs: dict[str, tuple[Ref, ...]] = {"weak_set": (blueprint.weak_set(self.source),)}
        if self.mode == "frozen":
            every = range(len(self.source.shards))
            inputs["features"] = blueprint.features(self.source, localizer.fit_features(), None, every)
        group = self.group("held-out localizer fit" if held_out else "localizer fit")
        left_out = self.held_out() if held_out else ()
        return self.fit_stage(
            "localizer_fit", self.components.identity("localizer", fit=True), inputs, group, left_out, held_out=held_out
        )

    def fit_stage(
        self,
        kind: str,
        component: Mapping[str, Any],
        inputs: dict[str, tuple[Ref, ...]],
        group: str,
        left_out: Sequence[Photo] = (),
        **told: bool,
    ) -> Ref:
        """A stage that trains a component on the photos of the setting, less those that are left out."""
        compute, photos = self.blueprint.suite.compute, len(self.source.photos) - len(left_out)
        _check_batch(compute, component, photos, self.recipe)
        identity = {
            "component": component,
            "training_mode": self.mode,
            "backbone": self.blueprint.backbone,
            "rng_seed": self.rng_seed,
            "shards": len(self.source.shards),
            **({"extra_in_stage_2": True} if kind == "segmenter_fit" and self.source.trusts_extra else {}),
            **(self._weight_files(component["role"]) if component["role"] != "refiner" else {}),
            **({"left_out": fingerprint([photo.id for photo in left_out])} if left_out else {}),
        }
        return self.blueprint.add(
            kind,
            identity,
            threads=compute.training_threads,
            processes=compute.train_processes,
            inputs=inputs,
            runtime={**self.source.runtime, "recipe": self.recipe, **self._places(component["role"]), **told},
            label=self.label_of(group.rsplit(" · ", 1)[-1]),
            group=group,
            photos=photos,
        )

    def _places(self, role: str) -> dict[str, Any]:
        """Where the files lie that a component's training begins with."""
        places = self.components.places(role) if role != "refiner" else {}
        return {"places": places} if places else {}

    def _weight_files(self, role: str) -> dict[str, list[str]]:
        """What a component's training begins with, by content."""
        files = getattr(self.components, role).weight_files()
        return {"weight_files": [shared_cache().sha256(path) for path in files]} if files else {}

    def backbone_after(self, fit: Ref | None) -> Ref | None:
        """A fine-tuned backbone is a backbone like any other for `features`."""
        return fit if self.mode == "fine_tuned" else None

    @once
    def maps(self, shard: int) -> Ref:
        """Localization maps of a shard of the setting's photos."""
        blueprint, localizer = self.blueprint, self.components.localizer
        assert localizer is not None
        photos = self.source.shards[shard]
        labels = fingerprint([(photo.id, photo.labels) for photo in photos])
        identity: dict[str, Any] = {"component": self.components.identity("localizer"), "labels": labels}
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
            runtime={**self.source.of(photos), "places": self.components.places("localizer")},
            label=self.label_of(f"maps {shard}"),
            group=self.group("maps"),
            photos=len(photos),
        )

    def final_maps(self, shard: int) -> Ref:
        """The maps after all refiners; the localizer's own where there is none."""
        return self.refined(shard, len(self.components.refiners))

    @once
    def refined(self, shard: int, steps: int) -> Ref:
        """The maps of a shard after the first `steps` refiners."""
        if steps == 0:
            return self.maps(shard)
        blueprint, photos = self.blueprint, self.source.shards[shard]
        refiner, name = self.components.refiners[steps - 1], self.components.refiner_names[steps - 1]
        inputs: dict[str, tuple[Ref, ...]] = {"maps": (self.refined(shard, steps - 1),)}
        if refiner.trained:
            inputs["weights"] = (self.refiner_fit(steps),)
        if requests := refiner.apply_features():
            inputs["features"] = blueprint.features(self.source, requests, None, [shard])
        return blueprint.add(
            "refiner_apply",
            {"component": self.components.refiner_identity(steps - 1), "photos": self.source.content(shard)},
            threads=blueprint.suite.compute.threads,
            inputs=inputs,
            runtime=self.source.of(photos),
            label=self.label_of(f"{name} {shard}"),
            group=self.group(name),
            photos=len(photos),
        )

    @once
    def refiner_fit(self, steps: int) -> Ref:
        """Training the refiner that comes after `steps - 1` others, on the maps of all photos that stage 2 may see."""
        refiner, name, shards = (
            self.components.refiners[steps - 1],
            self.components.refiner_names[steps - 1],
            self.source.stage_2,
        )
        inputs = {
            "weak_set": (self.blueprint.weak_set(self.source),),
            "maps": tuple(self.refined(shard, steps - 1) for shard in shards),
            "features": self.blueprint.features(self.source, refiner.fit_features(), None, shards),
        }
        identity = self.components.refiner_identity(steps - 1, fit=True)
        return self.fit_stage("refiner_fit", identity, inputs, self.group(f"{name} fit"))

    def _maps_features(self, shard: int, fit: Ref | None) -> tuple[Ref, ...]:
        """What a localizer reads of a shard's own photos, and of all photos as references."""
        localizer, backbone = self.components.localizer, self.backbone_after(fit)
        assert localizer is not None
        own = self.blueprint.features(self.source, localizer.apply_features(), backbone, [shard])
        every = range(len(self.source.shards))
        others = self.blueprint.features(self.source, localizer.reference_features(), backbone, every)
        return tuple(dict.fromkeys((*own, *others)))


def _check_batch(compute: Compute, component: Mapping[str, Any], photos: int, recipe: str) -> None:
    """A batch has something for each of the processes that train together; UserError where it has not."""
    batch = min(photos, (component["options"].get("training") or {}).get("batch", photos))
    if batch < least_items(compute.train_processes, compute.sync_batch_norm):
        what = f"a batch of {batch} ({recipe}, {component['name']})"
        raise too_few("compute.train_processes", compute.train_processes, compute.sync_batch_norm, what)
