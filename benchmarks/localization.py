"""Localization maps by co-attention from a feature bank, beside the naive way: both photos through the backbone a pair.

Run: OMP_NUM_THREADS=2 python -m benchmarks.localization
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

import torch

from methods.base import BackboneOptions, FeatureRequest, Surroundings
from methods.features import FrozenBackbone, StoredFeatures, compute, write_shard
from methods.localizers.coattention import CoAttention, CoAttentionOptions
from methods.networks.backbones import Backbone, build
from methods.networks.pair_classifier import PairClassifier, Structure
from methods.pairs import References
from methods.training import named_tensors
from settings.datasets.scenes import Scenes, ScenesOptions
from settings.images import resize
from settings.records import Photo, WeakSet

PHOTOS, CLASSES, REPETITIONS = 4, 2, 3
VGG = BackboneOptions(name="vgg16_largefov", weights="random", output_stride=8, size=256)
PAPER = {"hidden": 512, "hidden_layers": 3, "norm": "none", "scaled_pairs": ()}


class Setup(NamedTuple):
    """What both ways work on."""

    backbone: Backbone
    network: PairClassifier
    weak: WeakSet
    device: str = "cpu"


def main() -> None:
    """Print the ratios; each way is timed in turn, medians of several rounds."""
    torch.set_flush_denormal(True)
    setup = made(VGG, PHOTOS)
    ways: dict[str, Callable[[], object]] = {
        "naive, R = 3": lambda: naive(setup, 3),
        **{f"bank, R = {count}": lambda count=count: from_bank(setup, count) for count in (1, 3, 10)},  # type: ignore[misc]
    }
    seconds = {name: median(times) for name, times in timed(ways).items()}
    for name, value in seconds.items():
        print(f"{name}: {value / PHOTOS:.2f} s a photo (VGG16 at {VGG.size}², {CLASSES} classes)")
    print(f"bank against naive, R = 3: {seconds['naive, R = 3'] / seconds['bank, R = 3']:.1f} times faster")
    print(f"R = 10 against R = 1: {seconds['bank, R = 10'] / seconds['bank, R = 1']:.2f} times the time")


def made(options: BackboneOptions, count: int, device: str = "cpu") -> Setup:
    """So many photos that bear both classes, so that each needs references for each; networks of random weights."""
    scenes = Scenes(ScenesOptions(classes=CLASSES, train=count))
    photos = tuple(Photo(i, (0, 1), i, scenes.photo(i).load) for i in scenes.splits["train"])
    network = PairClassifier(512, CLASSES, Structure(512, 3, "none", learned_affinity=True, separate_heads=True))
    backbone = build(options, (4,)).eval().to(device)
    return Setup(backbone, network.eval().to(device), WeakSet(photos, scenes.label_space), device)


def timed(ways: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Seconds of each way, the ways in turn."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPETITIONS):
        for name, way in ways.items():
            start = perf_counter()
            way()
            times[name].append(perf_counter() - start)
    return times


def from_bank(setup: Setup, count: int) -> None:
    """The features stage, then `apply`: each photo goes through the backbone once a flip."""
    localizer = CoAttention(CoAttentionOptions(**PAPER, references=count))
    requests: Sequence[FeatureRequest] = localizer.apply_features()
    with TemporaryDirectory() as folder:
        computed = compute(FrozenBackbone(setup.backbone, setup.device), setup.weak.photos, requests)
        paths = [Path(folder) / f"{index}.safetensors" for index in range(len(requests))]
        for path, request in zip(paths, requests, strict=True):
            write_shard(path, request, computed.shard, computed.features[request])
        weights = named_tensors(network=setup.network)
        space, bank = setup.weak.label_space, StoredFeatures(paths)
        surroundings = Surroundings(space, weights=weights, bank=bank, weak=setup.weak, device=setup.device)
        list(localizer.apply(setup.weak.photos, surroundings))


@torch.inference_mode()
def naive(setup: Setup, count: int) -> None:
    """As the released program does: both photos of every pair through the backbone."""
    references = References(setup.weak, 0, count)
    by_id = {photo.id: photo for photo in setup.weak.photos}
    for photo in setup.weak.photos:
        forward_pair(setup, photo, photo, mirrored=True)
        for class_id in photo.labels:
            for other in references.of(photo.id, class_id):
                forward_pair(setup, photo, by_id[other])


def forward_pair(setup: Setup, photo: Photo, other: Photo, mirrored: bool = False) -> None:
    """One forward pass of a pair."""
    side = setup.backbone.options.size
    squares = [resize(one.image(), side, side)[None] for one in (photo, other)]
    if mirrored:
        squares[1] = squares[1][:, :, ::-1]
    features = [setup.backbone(setup.backbone.to_input(square).to(setup.device))[0] for square in squares]
    setup.network.head(*(setup.network(feature_BCHW) for feature_BCHW in features))


if __name__ == "__main__":
    main()
