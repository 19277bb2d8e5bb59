"""Every component on the CPU and on the GPU: losses of the first epoch, maps, masks and features beside each other.

Both run one suite, `components.yaml`, through the same door. float16 is offered by no component.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import harness
from benchmarks._gpu.place import Place, complete
from benchmarks._gpu.report import Measure, at_most
from harness.reports.leaderboard import Finished
from harness.store.layout import FeatureFiles, FitFiles, MapFiles, MaskFiles, Ref
from harness.store.store import Store
from methods.localization import read_maps
from settings.masks import read_mask

TITLE, LIMIT_S = "CPU and GPU agree, component by component", 70
SUITE = Path(__file__).parent / "components.yaml"
# Losses of the first epoch, relative: later ones, and what comes of them, part as any two roundings do.
LOSS = {"float32": 0.02, "bfloat16": 0.1}
FEATURES = 0.02
PRECISIONS = ("float32", "bfloat16")


def measures(place: Place) -> Iterator[Measure]:
    """Beside the CPU in float32: the device in float32, then in bfloat16."""
    reference = _run(place, "cpu", "float32")
    yield complete("the CPU in float32", reference)
    for precision in PRECISIONS:
        found = _run(place, place.device, precision)
        yield complete(f"{precision} on the device", found)
        yield from _compared(reference, found, precision)


def _run(place: Place, device: str, precision: str) -> Finished:
    store = place.folder / f"{device}-{precision}"
    return harness.run(SUITE, store, "serial", [f"compute.device={device}", f"compute.precision={precision}"])


def _compared(reference: Finished, found: Finished, precision: str) -> Iterator[Measure]:
    """Stage by stage what both made of the same; of losses and features the largest difference."""
    one, other = Store(reference.run.store_folder), Store(found.run.store_folder)
    # Both are planned from one suite, in one order; labels alone do not tell all stages apart.
    pairs = zip(reference.run.plan.graph.values(), found.run.plan.graph.values(), strict=True)
    losses: dict[str, float] = {}
    features = 0.0
    for stage, partner in pairs:
        if stage.label != partner.label:
            raise RuntimeError(f"{stage.label} beside {partner.label}: the plans differ")
        name = stage.group
        # What failed is told already.
        if not (one.has(stage.ref) and other.has(partner.ref)):
            continue
        if stage.kind.writes is FitFiles:
            apart = _losses(one, stage.ref, other, partner.ref)
            losses[name] = max(losses.get(name, 0), apart)
        # Of a backbone that was trained, the losses tell.
        elif stage.kind.writes is FeatureFiles and "backbone" not in stage.inputs:
            features = max(features, _features(one, stage.ref, other, partner.ref))
        elif stage.kind.writes is MapFiles:
            mean = _maps(one, stage.ref, other, partner.ref)
            yield Measure(f"{precision}: {name}, mean difference in [0, 1]", float(f"{mean:.2g}"))
        elif stage.kind.writes is MaskFiles:
            share = _masks(one, stage.ref, other, partner.ref)
            yield Measure(f"{precision}: {name}, pixels that differ", float(f"{100 * share:.2g}"), "%")
    yield at_most(f"{precision}: features, largest difference", features, FEATURES, "of the largest value")
    for name, apart in losses.items():
        yield at_most(f"{precision}: {name}, loss of the first epoch", apart, LOSS[precision], "apart")


def _losses(one: Store, ref: Ref, other: Store, partner: Ref) -> float:
    logs = [
        json.loads(FitFiles(store.open(each).folder).log.read_text()) for store, each in ((one, ref), (other, partner))
    ]
    if not logs[0]:
        return 0.0
    first, second = (log[0] for log in logs)
    names = [name for name in first if name != "learning_rate"]
    return max(abs(first[name] - second[name]) / max(abs(first[name]), 1e-3) for name in names)


def _features(one: Store, ref: Ref, other: Store, partner: Ref) -> float:
    from safetensors.numpy import load_file

    first, second = (
        load_file(FeatureFiles(store.open(each).folder).features)["features_NCHW"].astype(np.float32)
        for store, each in ((one, ref), (other, partner))
    )
    return float(np.abs(first - second).max() / max(float(np.abs(first).max()), 1e-8))


def _maps(one: Store, ref: Ref, other: Store, partner: Ref) -> float:
    first, second = (
        read_maps(MapFiles(store.open(each).folder).maps) for store, each in ((one, ref), (other, partner))
    )
    pairs = zip(first, second, strict=True)
    return float(np.mean([np.abs(a.maps_CHW - b.maps_CHW).mean() for a, b in pairs if a.maps_CHW.size]))


def _masks(one: Store, ref: Ref, other: Store, partner: Ref) -> float:
    first, second = (MaskFiles(store.open(each).folder).by_photo() for store, each in ((one, ref), (other, partner)))
    return float(np.mean([(read_mask(path) != read_mask(second[photo_id])).mean() for photo_id, path in first.items()]))
