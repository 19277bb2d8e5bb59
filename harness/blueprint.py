"""The graph while it grows, and the stages that all lines of a leaderboard share: weak sets and features."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, Concatenate, NamedTuple, ParamSpec, Protocol, TypeVar

from harness.data import dataset_of, weak_set_of
from harness.graph import Ref, Stage
from harness.numerics import numerics
from harness.plugins import pinned
from harness.suite import Suite
from methods.base import NAMED_WEIGHTS, BackboneOptions, FeatureRequest
from settings.components import Component
from settings.errors import UserError
from settings.hashing import shared_cache
from settings.records import Photo, WeakSet, fingerprint
from settings.supervision import Purpose

SHARD = 64
"""Photos a shard, in id order; part of every key below it."""


class Reported(NamedTuple):
    """The splits whose masks are scored, and why they are read."""

    maps: str
    segmentation: str
    purpose: Purpose


REPORTED = {"official": Reported("train", "val", "score"), "dev": Reported("dev", "dev", "choose")}

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class _Remembering(Protocol):
    @property
    def memo(self) -> dict[Any, Any]: ...


Owner = TypeVar("Owner", bound=_Remembering)


def once(method: Callable[Concatenate[Owner, Arguments], Result]) -> Callable[Concatenate[Owner, Arguments], Result]:
    """A method whose result is kept in its object's `memo`, by its (hashable) arguments."""

    @wraps(method)
    def remembered(self: Owner, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        key = (method.__name__, *args, *kwargs.items())
        if key not in self.memo:
            self.memo[key] = method(self, *args, **kwargs)
        result: Result = self.memo[key]
        return result

    return remembered


@dataclass(frozen=True, eq=False)
class Source:
    """The photos of one setting, or of val, cut into shards; compared by identity."""

    name: str
    photos: tuple[Photo, ...]
    runtime: Mapping[str, Any]
    weak: WeakSet | None = None
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def shards(self) -> tuple[tuple[Photo, ...], ...]:
        """At most SHARD photos each."""
        return tuple(self.photos[start : start + SHARD] for start in range(0, len(self.photos), SHARD))

    @once
    def content(self, shard: int) -> str:
        """What identifies the pixels of a shard."""
        return contents(self.shards[shard])

    def of(self, photos: Sequence[Photo]) -> dict[str, Any]:
        """What a stage needs to find these photos again."""
        return {**self.runtime, "ids": [photo.id for photo in photos]}


def contents(photos: Sequence[Photo]) -> str:
    """What identifies the pixels of some photos."""
    return fingerprint([(photo.id, photo.content) for photo in photos])


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


def _check_every_class_is_taught(weak: WeakSet, where: str) -> None:
    """A class that no photo shows can be neither learned nor scored fairly: better told than found in a table."""
    taught = {class_id for photo in weak.photos for class_id in photo.labels}
    missing = [name for class_id, name in enumerate(weak.label_space.names) if class_id not in taught]
    if missing:
        found = f"no photo of train or dev labelled {', '.join(missing)}"
        raise UserError(where, found, "one for each class", "add photos, or leave the class out")


class Blueprint:
    """The graph while it grows, and what all lines of the leaderboard share."""

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        self.dataset = dataset_of(suite.dataset)
        self.graph: dict[Ref, Stage] = {}
        self.runtime = {"dataset": suite.dataset.model_dump(), "backbone": suite.backbone.model_dump()}
        self.reported = REPORTED[suite.report]
        for split in ("train", self.reported.maps, self.reported.segmentation):
            if not self.dataset.splits[split]:
                raise UserError(f"{self.dataset.name}/{split}", "no photo", "at least one that shows a class")
        unlabelled = self.dataset.eval_set(self.reported.segmentation)
        self.val = Source(self.reported.segmentation, unlabelled.photos, self.runtime)
        self.backbone = backbone_identity(suite.backbone)
        self._sources: dict[str, Source] = {}
        self.memo: dict[Any, Any] = {}

    def source(self, setting: Component) -> Source:
        """The photos of a setting; its `weak_set` stage writes down what methods see."""
        if setting.name not in self._sources:
            weak = weak_set_of(self.suite.dataset, setting)
            _check_every_class_is_taught(weak, f"{self.dataset.name}, setting {setting.name}")
            runtime = {**self.runtime, "setting": setting.model_dump()}
            self._sources[setting.name] = Source(setting.name, weak.photos, runtime, weak)
        return self._sources[setting.name]

    def add(self, kind: str, identity: Mapping[str, Any], *, threads: int | None = None, **rest: Any) -> Ref:
        """Put a stage into the graph, once."""
        compute = self.suite.compute
        if threads is not None:
            identity = {**identity, "numerics": numerics(compute, threads)}
        stage = pinned(Stage(kind, identity, threads=threads or 1, **rest))
        self.graph.setdefault(stage.ref, stage)
        return stage.ref

    @once
    def mask_contents(self, ids: tuple[str, ...]) -> str:
        """What identifies the true masks of some photos."""
        return fingerprint([(photo_id, self.dataset.mask_content(photo_id)) for photo_id in ids])

    @once
    def weak_set(self, source: Source) -> Ref:
        """The record of what a method may see under a setting."""
        assert source.weak is not None
        identity = {"setting": source.runtime["setting"], "training_fingerprint": source.weak.fingerprint}
        rest = {"dataset": self.dataset.identity(), **identity}
        return self.add("weak_set", rest, runtime=source.runtime, label=source.name, group="weak sets")

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
            group=f"features of {source.name if source is self.val else 'train and dev'}",
            photos=len(source.shards[shard]),
            bundle=fingerprint([base, backbone]),
        )
