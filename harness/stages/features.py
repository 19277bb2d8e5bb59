"""Features: photos through the backbone, stored once for all that read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.stages.blueprint import Blueprint
from harness.stages.graph import Stage
from harness.stages.kind import Identity, PhotosRuntime, StageKind
from harness.stages.source import Source, once
from harness.stages.work import Work
from harness.store.layout import FeatureFiles, Ref
from methods.base import FeatureRequest
from settings.records import Photo, fingerprint

__all__ = ["Features", "plan_features"]

CHANNELS_OF_LEVEL = (16, 24, 40, 112, 320)
"""Those of the default backbone; other networks are wider, and their first run measures them."""
BYTES_A_VALUE = 2
"""Features are stored as float16."""


@dataclass(frozen=True, kw_only=True)
class FeaturesIdentity(Identity):
    """The photos, the backbone, and which features of it."""

    photos: str
    """sha256 over ids and photo contents."""
    backbone: Mapping[str, Any]
    scale: float
    flip: bool
    level: int

    @property
    def request(self) -> FeatureRequest:
        """Scale, mirroring and level, as methods ask for features."""
        return FeatureRequest(self.scale, self.flip, self.level)


class Features(StageKind[FeaturesIdentity, PhotosRuntime]):
    """Photos of a shard → stored features at one scale, level and mirroring."""

    name = "features"
    identity = FeaturesIdentity
    runtime = PhotosRuntime
    writes = FeatureFiles
    seconds_a_photo = 0.05
    halves_when_out_of_memory = True
    sources = "methods.features"

    def run(self, work: Work[FeaturesIdentity, PhotosRuntime]) -> None:
        """Compute one kind of features alone."""
        self.run_together([work])

    def run_together(self, works: Sequence[Work[FeaturesIdentity, PhotosRuntime]]) -> None:
        """Stages of one bundle differ in scale, mirroring and level alone: they share decoding and passes."""
        from methods.features import BATCH, compute, write_shard
        from methods.networks.backbones import build
        from methods.training import part_of

        first, device = works[0], works[0].stage.device
        requests = [work.identity.request for work in works]
        # A fit that tuned the backbone left it among its weights; without one it is the suite's own.
        fitted = None
        if "backbone" in first.inputs:
            fitted = part_of(first.weights("backbone"), "backbone")
        backbone = build(first.runtime.place.backbone, sorted({request.level for request in requests}), fitted)
        batch = max(1, BATCH >> first.process.halvings)
        computed = compute(backbone.for_inference().to(device), first.photos(), requests, device, first.progress, batch)
        for work, request in zip(works, requests, strict=True):
            write_shard(work.files(FeatureFiles).features, request, computed.shard, computed.features[request])

    def bytes(self, stage: Stage) -> int:
        """Channels × cells × photos of the default backbone, two bytes each."""
        identity = stage.identity
        assert isinstance(identity, FeaturesIdentity)
        stride = min(2 ** (identity.level + 1), identity.backbone["output_stride"])
        side: int = round(identity.backbone["size"] * identity.scale) // stride
        return BYTES_A_VALUE * CHANNELS_OF_LEVEL[identity.level] * side * side * stage.photos


def plan_features(
    blueprint: Blueprint,
    source: Source,
    requests: Iterable[FeatureRequest],
    shards: Iterable[int],
    fitted: Ref | None = None,
) -> tuple[Ref, ...]:
    """One artefact a shard and request, of the frozen backbone or of one that a fit has tuned (`fitted`)."""
    requests = tuple(requests)
    return tuple(_plan(blueprint, source, request, shard, fitted) for shard in shards for request in requests)


@once
def _plan(blueprint: Blueprint, source: Source, request: FeatureRequest, shard: int, fitted: Ref | None) -> Ref:
    photos = source.shards[shard]
    identity = FeaturesIdentity(
        photos=source.content(shard),
        backbone=blueprint.backbone,
        scale=request.scale,
        flip=request.flip,
        level=request.level,
    )
    # What the stages of one bundle have in common: they decode the photos once and share the backbone's passes.
    shared = {"photos": identity.photos, "backbone": identity.backbone}
    label = f"{source.name} {shard}, scale {request.scale:g}, level {request.level}"
    if request.flip:
        label += ", mirrored"
    return blueprint.add(
        Features(),
        identity,
        source.runtime(photos),
        threads=blueprint.suite.compute.threads,
        inputs={"backbone": (fitted,)} if fitted else {},
        label=label,
        group=f"features of {_origin(blueprint, source, photos)}",
        photos=len(photos),
        bundle=fingerprint([shared, fitted]),
    )


def _origin(blueprint: Blueprint, source: Source, photos: Sequence[Photo]) -> str:
    """Where a shard's photos come from, in words: all of a shard come from one source."""
    if source is blueprint.val:
        return source.name
    if photos[0].source == "target":
        return "train and dev"
    return f"{photos[0].source} photos"
