"""A GPU with too little memory: a stage is begun again with half the batch, and gives the same."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch

import harness
from benchmarks._gpu.place import Place, complete
from benchmarks._gpu.report import Measure, at_most, is_true
from harness.store.layout import FeatureFiles
from harness.store.store import Store
from methods import features
from methods.base import BackboneOptions
from methods.features import BATCH, FrozenBackbone
from methods.networks.backbones import build

TITLE, LIMIT_S = "Out of memory, and again with half the batch", 35


def measures(place: Place) -> Iterator[Measure]:
    """Cap the process's memory between what a batch and what half of it takes; in a rehearsal a batch just fails."""
    options = place.size(
        BackboneOptions(name="resnet50", weights="random", output_stride=16, size=1536),
        BackboneOptions(name="test_efficientnet", weights="random", size=64),
    )
    overrides = [
        "recipes={cam: {localizer: {name: cam, hidden: 16, training: {epochs: 1, batch: 4}}, labeler: threshold}}",
        *("references=[]", "segmenter=none", "gallery=0", f"compute.device={place.device}"),
        "dataset={name: scenes, classes: 2, size: 48, train: 6, dev: 2, val: 2}",
        f"backbone={json.dumps(options.model_dump())}",
    ]
    free = harness.run("smoke", place.folder / "free", "serial", overrides)
    if place.tiny:
        _fail_for_batches()
    else:
        yield from _capped(place, options)
    capped = harness.run("smoke", place.folder / "capped", "serial", overrides)
    events = Counter(
        json.loads(line)["event"]
        for log in Store(capped.run.store_folder).logs()
        for line in log.read_text(encoding="utf-8").splitlines()
    )
    yield is_true("a stage ran out of memory", events["out_of_memory"] > 0, "yes")
    yield complete("the run", capped)
    yield at_most("largest difference of features to those without a cap", _difference(free, capped), 2e-2)


def _capped(place: Place, options: BackboneOptions) -> Iterator[Measure]:
    """Cap what this process may have of the GPU at a quarter of the way from half a batch's need to a batch's."""
    # The first of all passes takes what stays.
    _, whole, half = (_needed(place, options, count) for count in (BATCH, BATCH, BATCH // 2))
    # Nearer to the lower: convolutions that find no room for the quickest way take another.
    cap = half + (whole - half) // 4
    yield Measure("memory for a batch, and for half of it", f"{whole >> 20} and {half >> 20}", "MiB")
    yield Measure("cap", cap >> 20, "MiB")
    torch.cuda.set_per_process_memory_fraction(cap / torch.cuda.get_device_properties(0).total_memory)


def _needed(place: Place, options: BackboneOptions, count: int) -> int:
    """The bytes of the GPU that this process holds when so many photos go through the network."""
    network = FrozenBackbone(build(options, (4,)), place.device)
    images = [np.zeros((options.size, options.size, 3), np.uint8)] * count
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    with torch.inference_mode():
        network.network(network.input(images, options.size))
    needed = torch.cuda.max_memory_reserved()
    del network
    torch.cuda.empty_cache()
    return needed


def _fail_for_batches() -> None:
    given = FrozenBackbone.input

    def failing(self: FrozenBackbone, images: list[np.ndarray], side: int) -> torch.Tensor:
        if len(images) > 1:
            raise torch.cuda.OutOfMemoryError("a rehearsal: no room for more than one photo")
        return given(self, images, side)

    features.FrozenBackbone.input = failing  # type: ignore[method-assign]


def _difference(free: harness.api.Finished, capped: harness.api.Finished) -> float:
    """Relative to the largest value, over all stages of features."""
    from safetensors.numpy import load_file

    stores = [Store(one.run.store_folder) for one in (free, capped)]
    found = 0.0
    for stage in free.run.plan.graph.values():
        if stage.kind.name == "features":
            paths = [FeatureFiles(store.open(stage.ref).folder).features for store in stores]
            first, second = (load_file(path)["features_NCHW"].astype(np.float32) for path in paths)
            found = max(found, float(np.abs(first - second).max() / max(np.abs(first).max(), 1e-8)))
    return found
