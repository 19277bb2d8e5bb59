"""The graph while it grows, and the stages that all lines of a leaderboard share: weak sets and features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.stages.graph import Stage
from harness.stages.numerics import numerics
from harness.stages.plugins import pinned
from harness.stages.source import Source, once
from harness.stages.weak_set import check_every_class_is_taught
from harness.store.layout import Ref
from harness.suites.data import dataset_of, offer_of
from harness.suites.recipes import identity_of
from harness.suites.suite import Suite
from methods.base import NAMED_WEIGHTS, BackboneOptions, Classifier, FeatureRequest
from settings.components import ComponentSpec, build_component, normalised
from settings.dataset import Dataset
from settings.discovery import DATASETS, SETTINGS
from settings.errors import UserError, counted
from settings.filter import Filter
from settings.hashing import shared_cache
from settings.records import Photo, fingerprint
from settings.supervision import Purpose


class Reported(NamedTuple):
    """The splits whose masks are scored, and why they are read."""

    maps: str
    segmentation: str
    purpose: Purpose


REPORTED = {"official": Reported("train", "val", "score"), "dev": Reported("dev", "dev", "choose")}


def backbone_identity(backbone: BackboneOptions) -> dict[str, Any]:
    """What of a backbone belongs into keys: a weight file counts by its content. UserError where it is absent."""
    identity = backbone.model_dump()
    if backbone.weights not in NAMED_WEIGHTS:
        try:
            identity["weights"] = shared_cache().sha256(Path(backbone.weights))
        except OSError:
            expected = f"{', '.join(NAMED_WEIGHTS)} or an existing file"
            raise UserError("backbone.weights", f"no file '{backbone.weights}'", expected) from None
    return identity


def _origin(photos: Sequence[Photo]) -> str:
    source = photos[0].source
    return "train and dev" if source == "target" else f"{source} photos"


def _check_all_or_none_have_masks(dataset: Dataset, split: str) -> None:
    """Scores of fewer photos than the split has would compare with nobody's; without any mask nothing is scored."""
    ids = dataset.splits[split]
    lacking = [photo_id for photo_id in ids if not dataset.has_mask(photo_id)]
    if lacking and len(lacking) < len(ids):
        found = f"{len(lacking)} of {counted(len(ids), 'photo')} without a mask, such as '{lacking[0]}'"
        mend = f"add it, or take the photo from the list of {split}; without any masks a run ends with predictions"
        raise UserError(f"{dataset.name}/{split}", found, "a mask for each photo, or for none", mend)


class Blueprint:
    """The graph while it grows, and what all lines of the leaderboard share."""

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        # As it was meant here: a stage may run where relative paths and `~` lead elsewhere.
        dataset = normalised(DATASETS, suite.dataset, "dataset")
        self.dataset = dataset_of(dataset)
        self.graph: dict[Ref, Stage] = {}
        self.runtime = {"dataset": dataset.model_dump(), "backbone": suite.backbone.model_dump()}
        self.reported = REPORTED[suite.report]
        for split in ("train", self.reported.maps, self.reported.segmentation):
            if not self.dataset.splits[split]:
                raise UserError(f"{self.dataset.name}/{split}", "no photo", "at least one that shows a class")
        _check_all_or_none_have_masks(self.dataset, self.reported.segmentation)
        unlabelled = self.dataset.eval_set(self.reported.segmentation)
        self.val = Source(self.reported.segmentation, unlabelled.photos, self.runtime)
        self.backbone = backbone_identity(suite.backbone)
        self._sources: dict[str, Source] = {}
        self.memo: dict[Any, Any] = {}

    def source(self, label: str, setting: ComponentSpec) -> Source:
        """The photos of a setting; its `weak_set` stage writes down what methods see."""
        if label not in self._sources:
            meant = normalised(SETTINGS, setting, f"settings.{setting.name}")
            offer = offer_of(self.runtime["dataset"], meant)
            check_every_class_is_taught(offer.weak, f"{self.dataset.name}, setting {label}")
            runtime = {**self.runtime, "setting": meant.model_dump(mode="json"), "setting_label": label}
            self._sources[label] = Source(label, offer.weak.photos, runtime, offer)
        return self._sources[label]

    def notes(self) -> tuple[str, ...]:
        """A line for each setting with extra photos: how many, what the audit dropped, whom they do not help."""
        offers = ((source.name, source.offer) for source in self._sources.values())
        return tuple(f"setting {name}: {offer.describe()}" for name, offer in offers if offer and offer.extra)

    def add(
        self, kind: str, identity: Mapping[str, Any], *, threads: int | None = None, processes: int = 1, **rest: Any
    ) -> Ref:
        """Put a stage into the graph, once."""
        compute = self.suite.compute
        if threads is not None:
            identity = {**identity, "numerics": numerics(compute, threads, processes)}
        demand = self.suite.demand_of(kind)
        stage = pinned(Stage(kind, identity, threads=threads or 1, processes=processes, demand=demand, **rest))
        self.graph.setdefault(stage.ref, stage)
        return stage.ref

    @once
    def mask_contents(self, ids: tuple[str, ...]) -> str:
        """What identifies the true masks of some photos."""
        return fingerprint([(photo_id, self.dataset.mask_content(photo_id)) for photo_id in ids])

    @once
    def weak_set(self, source: Source) -> Ref:
        """The record of what a method may see under a setting."""
        assert source.offer is not None
        named = {"name": source.runtime["setting"]["name"], "options": dict(source.offer.identity)}
        identity = {"setting": named, "training_fingerprint": source.offer.weak.fingerprint}
        rest = {"dataset": self.dataset.identity(), **identity}
        filter_ = self.filter(source)
        inputs = {"filter": (filter_,)} if filter_ else {}
        return self.add("weak_set", rest, inputs=inputs, runtime=source.runtime, label=source.name, group="weak sets")

    @once
    def filter(self, source: Source) -> Ref | None:
        """Which extra photos stay, where a setting has a filter."""
        assert source.offer is not None
        if source.offer.filtering is None:
            return None
        part = source.offer.filtering.filter
        built: Filter = build_component("filter", part, f"settings.{source.name}.filter")
        labels = fingerprint([(photo.id, photo.labels) for photo in source.offer.extra])
        return self.add(
            "filter",
            {"component": identity_of("filter", part.name, built), "labels": labels},
            inputs={"probabilities": (self._classify(source),)} if built.needs_probabilities else {},
            runtime=source.runtime,
            label=f"{source.name} · filter",
            group="web filters",
            photos=len(source.offer.extra),
        )

    @once
    def _classify(self, source: Source) -> Ref:
        """What a classifier says of extra photos that it was not trained on, from frozen features."""
        assert source.offer is not None
        assert source.offer.filtering is not None
        part = source.offer.filtering.classifier
        classifier: Classifier = build_component("classifier", part, f"settings.{source.name}.classifier")
        labels = fingerprint([(photo.id, photo.labels) for photo in source.photos])
        every = range(len(source.shards))
        return self.add(
            "classify",
            {"component": identity_of("classifier", part.name, classifier), "labels": labels},
            threads=self.suite.compute.threads,
            inputs={"features": self.features(source, classifier.fit_features(), None, every)},
            runtime=source.runtime,
            label=f"{source.name} · classifier",
            group="web filters",
            photos=len(source.photos),
        )

    def features(
        self, source: Source, requests: Iterable[FeatureRequest], backbone: Ref | None, shards: Iterable[int]
    ) -> tuple[Ref, ...]:
        """One artefact a shard and request; all that differ in flip, scale or level alone share one pass."""
        requests = tuple(requests)
        return tuple(self._features(source, request, backbone, shard) for shard in shards for request in requests)

    @once
    def _features(self, source: Source, request: FeatureRequest, backbone: Ref | None, shard: int) -> Ref:
        base = {"photos": source.content(shard), "backbone": self.backbone}
        return self.add(
            "features",
            {**base, "scale": request.scale, "flip": request.flip, "level": request.level},
            threads=self.suite.compute.threads,
            inputs={"backbone": (backbone,)} if backbone else {},
            runtime=source.of(source.shards[shard]),
            label=f"{source.name} {shard}, scale {request.scale:g}, level {request.level}{', mirrored' * request.flip}",
            group=f"features of {source.name if source is self.val else _origin(source.shards[shard])}",
            photos=len(source.shards[shard]),
            bundle=fingerprint([base, backbone]),
        )
