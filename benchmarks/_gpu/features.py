"""Features of 1,437 photos, which is what train and dev of voc12-animals are."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks._gpu.place import Place, memory
from benchmarks._gpu.report import Measure, is_true
from methods.base import BackboneOptions, FeatureRequest
from methods.features import BATCH, FrozenBackbone, compute
from methods.networks.backbones import build

TITLE, LIMIT_S = "Features of 1,437 photos", 30
PHOTOS = 1437
TOGETHER = 32


def measures(place: Place) -> Iterator[Measure]:
    """Photos a second, as the stage takes them and more at once, each plain and mirrored; and decoding alone."""
    dataset = place.animals()
    photos = [dataset.photo(photo_id) for photo_id in dataset.training_ids][:PHOTOS]
    yield Measure("photos", len(photos), f"of {dataset.name}")
    options = BackboneOptions(size=place.size(320, 64))
    backbone = FrozenBackbone(build(options, (4,)), place.device)
    requests = [FeatureRequest(flip=flip) for flip in (False, True)]
    compute(backbone, photos[:2], requests)
    start = time.perf_counter()
    for photo in photos:
        photo.image()
    decoding = time.perf_counter() - start
    yield Measure("decoding alone, one thread", round(len(photos) / decoding), "photos a second")
    name, layers = options.name, None
    for together in (BATCH, TOGETHER):
        start = time.perf_counter()
        found = compute(backbone, photos, requests, together=together)
        place.wait()
        seconds = time.perf_counter() - start
        yield Measure(f"{name} at {options.size}, {together} at once", round(len(photos) / seconds), "photos a second")
        yield Measure(f"{name} at {options.size}, {together} at once: all", round(seconds, 1), "s")
        layers = found.features[requests[0]]
    assert layers is not None
    yield is_true("all features are finite", bool(layers.isfinite().all()), "yes")
    yield memory(
        "32 at once", place.peak_bytes(lambda: compute(backbone, photos[:TOGETHER], requests, together=TOGETHER))
    )
