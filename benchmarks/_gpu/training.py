"""voc12-animals, fine-tuned at 256 pixels: CAM and co-attention, as many epochs as fit in three minutes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import harness
from benchmarks._gpu.place import Place, complete
from benchmarks._gpu.report import Measure
from methods.base import BackboneOptions, Localizer, Surroundings, TrainingOptions
from methods.localizers.cam import Cam, CamOptions
from methods.localizers.coattention import CoAttention, CoAttentionOptions
from settings.records import WeakSet

TITLE, LIMIT_S = "voc12-animals fine-tuned at 256 pixels", 175
SUITE = Path(__file__).parent / "animals.yaml"
FOR_EPOCHS_S = 40.0
"""Of each of the two: what is left of three minutes goes for features, maps and scores."""


def measures(place: Place) -> Iterator[Measure]:
    """Seconds an epoch, how many there is time for, and the mIoU that they come to."""
    batch = place.size(TrainingOptions().batch, 2)
    epochs = {}
    for name, localizer in _localizers(batch).items():
        second = _seconds_of_second_epoch(place, localizer)
        epochs[name] = place.size(max(1, int(FOR_EPOCHS_S / second)), 1)
        yield Measure(f"{name}: an epoch", round(second, 2), "s")
        yield Measure(f"{name}: epochs", epochs[name])
    overrides = [
        f"recipes.{name}.localizer={{name: {name}, training: {{epochs: {count}, batch: {batch}}}}}"
        for name, count in epochs.items()
    ]
    overrides.append(f"compute.device={place.device}")
    if place.animals_root() is None:
        sizes = place.size("train: 437, dev: 1000, val: 2", "train: 6, dev: 2, val: 2")
        overrides += [f"dataset={{name: scenes, {sizes}}}", f"backbone.size={place.size(256, 64)}"]
        if place.tiny:
            overrides += ["backbone.name=test_efficientnet", "backbone.weights=random"]
    start = time.perf_counter()
    finished = harness.run(SUITE, place.folder / "store", "serial", overrides)
    yield Measure("the whole run", round(time.perf_counter() - start, 1), "s")
    yield complete("the run", finished)
    for row in finished.board.rows:
        yield Measure(f"{row.recipe}, {row.stage}, threshold by {row.policy}", round(100 * row.miou, 1), "mIoU")


def _localizers(batch: int) -> Mapping[str, Localizer]:
    training = TrainingOptions(epochs=2, batch=batch)
    return {
        "cam": Cam(CamOptions(training=training)),
        "coattention": CoAttention(CoAttentionOptions(training=training)),
    }


def _seconds_of_second_epoch(place: Place, localizer: Localizer) -> float:
    """In the first, photos are decoded and kernels chosen."""
    dataset = place.animals()
    weak = WeakSet(tuple(map(dataset.photo, dataset.training_ids)), dataset.label_space)
    backbone = BackboneOptions(size=256)
    if place.tiny:
        backbone = BackboneOptions(name="test_efficientnet", weights="random", size=64)
    ends: list[float] = []

    def report(done: int, total: int, unit: str, values: Mapping[str, float]) -> None:
        place.wait()
        ends.append(time.perf_counter())

    localizer.fit(weak, Surroundings(weak.label_space, backbone=backbone, device=place.device, report=report))
    half = len(ends) // 2
    return ends[-1] - ends[half - 1]
