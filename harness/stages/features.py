"""Features: photos through the backbone, stored once for all that read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.stages.blueprint import Blueprint
from harness.stages.graph import Stage
from harness.stages.kind import Identity, PhotosRuntime, StageKind
from harness.stages.source import Source, once
from harness.stages.stored import StoredPairs
from harness.stages.work import Work
from harness.store.layout import FeatureFiles, PairFiles, Ref
from methods.backbone_names import check_level, patch_of
from methods.base import BackboneOptions, FeatureRequest
from methods.costs import USUAL_SIZE
from settings.records import Photo, fingerprint

if TYPE_CHECKING:
    # Planning imports no torch.
    from methods.features import FrozenBackbone

__all__ = ["MOVED", "DrawnFeatures", "Features", "plan_drawn_features", "plan_features"]

CHANNELS_OF_LEVEL = (16, 24, 40, 112, 320)
"""Those of the default backbone; other networks are wider, and their first run measures them."""
DECODING_S, PASS_S = 0.001, 0.010
"""Core-seconds a photo and stage at the usual size, where several levels and mirrorings share a photo's decoding and
passes, as they do in the suites that come along."""
BYTES_A_VALUE = 2
"""Features are stored as float16."""
MOVED = 2
"""The version of features whose displaced levels are moved to their place."""


@dataclass(frozen=True, kw_only=True)
class FeaturesIdentity(Identity):
    """The photos, the backbone, and which features of it: without setting and rng seed, so that recipes share them."""

    photos: str
    """sha256 over ids and photo contents."""
    backbone: Mapping[str, object]
    scale: float
    flip: bool
    level: int
    version: int | None = None
    """None at strides up to 4 pixels, where no level is ever moved."""

    @property
    def request(self) -> FeatureRequest:
        """Scale, mirroring and level in the form in which methods ask for features."""
        return FeatureRequest(self.scale, self.flip, self.level)


class Features(StageKind[FeaturesIdentity, PhotosRuntime]):
    """Photos of a shard → stored features at one scale, level and mirroring."""

    name = "features"
    identity = FeaturesIdentity
    runtime = PhotosRuntime
    writes = FeatureFiles
    halves_when_out_of_memory = True
    sources = "methods.features"

    def run(self, work: Work[FeaturesIdentity, PhotosRuntime]) -> None:
        """Compute the features of one scale, level and mirroring, a bundle of one."""
        self.run_together([work])

    def run_together(self, works: Sequence[Work[FeaturesIdentity, PhotosRuntime]]) -> None:
        """Compute the features of all works in one pass over the photos.

        Stages of one bundle differ in scale, mirroring and level alone: they share decoding and the backbone's passes.
        """
        from methods.features import BATCH, compute, write_shard

        first = works[0]
        requests = [work.identity.request for work in works]
        network = _network(first, tuple(sorted({request.level for request in requests})))
        # Backbones are run as in inference, so each photo counts for itself: half a batch gives the same features.
        batch = max(1, BATCH >> first.process.halvings)
        computed = compute(network, self.photos(first), requests, first.progress, batch)
        for work, request in zip(works, requests, strict=True):
            write_shard(work.files(FeatureFiles).features, request, computed.shard, computed.features[request])

    def photos(self, work: Work[FeaturesIdentity, PhotosRuntime]) -> Sequence[Photo]:
        """The photos that go through the backbone."""
        return work.photos()

    def seconds(self, stage: Stage) -> float:
        """Guessed by the pixels of a pass and by what decoding takes, which no size changes."""
        assert isinstance(stage.identity, FeaturesIdentity) and isinstance(stage.runtime, PhotosRuntime)
        side = stage.runtime.place.backbone.size * stage.identity.scale
        return stage.photos * (DECODING_S + PASS_S * (side / USUAL_SIZE) ** 2)

    def bytes(self, stage: Stage) -> int:
        """Channels × cells × photos of the default backbone, two bytes each."""
        assert isinstance(stage.identity, FeaturesIdentity) and isinstance(stage.runtime, PhotosRuntime)
        request, backbone = stage.identity.request, stage.runtime.place.backbone
        side = round(backbone.size * request.scale) // _stride(request.level, backbone)
        return BYTES_A_VALUE * CHANNELS_OF_LEVEL[request.level] * side * side * stage.photos


class DrawnFeatures(Features):
    """Drawn photos → stored features, as those of any photo."""

    name = "drawn_features"

    def photos(self, work: Work[FeaturesIdentity, PhotosRuntime]) -> Sequence[Photo]:
        """Those among the inputs."""
        return StoredPairs(work.read("pairs", PairFiles)).photos


def _network(work: Work[FeaturesIdentity, PhotosRuntime], levels: tuple[int, ...]) -> FrozenBackbone:
    """The network that this stage runs photos through; the suite's own is kept for the process's next stages.

    Raises UserError where its weights are not those that the key names.
    """
    from methods.features import FrozenBackbone
    from methods.networks.backbones import build
    from methods.training import part_of

    options, device = work.runtime.place.backbone, work.stage.device
    if "backbone" in work.inputs:
        # A fit that tuned the backbone left it among its weights.
        return FrozenBackbone(build(options, levels, part_of(work.weights("backbone"), "backbone")), device)
    content = fingerprint([work.identity.backbone, options.model_dump(), levels, device])
    network = _kept.get(content) or FrozenBackbone(build(options, levels), device)
    work.check_backbone(work.identity.backbone)
    _kept.clear()
    _kept[content] = network
    return network


_kept: dict[str, FrozenBackbone] = {}
"""The last network by the content of its weights: building and measuring it takes as long as five photos."""


def _stride(level: int, backbone: BackboneOptions) -> int:
    """In pixels: a level halves the one before, until dilation takes the place of strides; patches have one stride."""
    stride: int = 2 ** (level + 1)
    if patch_of(backbone.name):
        return backbone.output_stride
    return min(stride, backbone.output_stride)


def plan_features(
    blueprint: Blueprint,
    source: Source,
    requests: Iterable[FeatureRequest],
    shards: Iterable[int],
    fitted: Ref | None = None,
) -> tuple[Ref, ...]:
    """One artefact a shard and request, of the frozen backbone or of one that a fit has tuned (`fitted`)."""
    requests = tuple(requests)
    for request in requests:
        check_level(blueprint.suite.backbone.name, request.level)
    found = []
    for shard in shards:
        found += [_plan(blueprint, source, request, shard, fitted) for request in requests]
    return tuple(found)


@once
def _plan(blueprint: Blueprint, source: Source, request: FeatureRequest, shard: int, fitted: Ref | None) -> Ref:
    photos = source.shards[shard]
    identity = _identity(blueprint, source.content(shard), request)
    # What the stages of one bundle have in common: they decode the photos once and share the backbone's passes.
    shared = {"photos": identity.photos, "backbone": identity.backbone}
    inputs: dict[str, tuple[Ref, ...]] = {}
    if fitted is not None:
        inputs["backbone"] = (fitted,)
    return blueprint.add(
        Features(),
        identity,
        source.runtime(photos),
        threads=blueprint.suite.compute.threads,
        inputs=inputs,
        label=f"{source.name} {shard}, {_told(request)}",
        group=f"features of {_origin(blueprint, source, photos)}",
        photos=len(photos),
        bundle=fingerprint([shared, fitted]),
    )


def plan_drawn_features(blueprint: Blueprint, pairs: Ref, requests: Iterable[FeatureRequest]) -> tuple[Ref, ...]:
    """Features of all drawn photos of a stage, one artefact a request, of the suite's own backbone."""
    count = blueprint.graph[pairs].photos
    found = []
    for request in requests:
        found.append(
            blueprint.add(
                DrawnFeatures(),
                _identity(blueprint, pairs.key, request),
                PhotosRuntime(place=blueprint.place, ids=()),
                threads=blueprint.suite.compute.threads,
                inputs={"pairs": (pairs,)},
                label=f"drawn photos, {_told(request)}",
                group="features of drawn photos",
                photos=count,
                bundle=fingerprint([blueprint.backbone, pairs]),
            )
        )
    return tuple(found)


def _identity(blueprint: Blueprint, photos: str, request: FeatureRequest) -> FeaturesIdentity:
    return FeaturesIdentity(
        photos=photos,
        backbone=blueprint.backbone,
        scale=request.scale,
        flip=request.flip,
        level=request.level,
        version=MOVED if _stride(request.level, blueprint.suite.backbone) > 4 else None,
    )


def _told(request: FeatureRequest) -> str:
    told = f"scale {request.scale:g}, level {request.level}"
    return f"{told}, mirrored" if request.flip else told


def _origin(blueprint: Blueprint, source: Source, photos: Sequence[Photo]) -> str:
    """Where a shard's photos come from, as a display calls it: all photos of a shard come from one source."""
    if source is blueprint.val:
        return source.name
    if photos[0].source == "target":
        return "train and dev"
    return f"{photos[0].source} photos"
