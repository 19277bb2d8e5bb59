"""Training steps and localization of the papers' recipes at their sizes, beside the released formulas as they stand.

Photos are noise and weights random: neither changes what a step takes. A share of peak is that of the largest product
of matrices of the same type on this very GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import nn
from torch.nn.functional import interpolate, multilabel_soft_margin_loss
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import localization, random_walk, training_step
from benchmarks._gpu.place import Place, memory
from benchmarks._gpu.report import Measure, at_most
from methods.base import BackboneOptions
from methods.networks.backbones import Backbone, build
from methods.networks.heads import ClassMaps

TITLE, LIMIT_S = "Steps and localization at the papers' sizes", 60
CLASSES = 20
PHOTO = (375, 500)
SCALES = (0.5, 1.0, 1.5, 2.0)


def measures(place: Place) -> Iterator[Measure]:
    """MCIS (VGG16 at 256, 5 anchors), then CAM and IRN (ResNet-50, 16 crops of 512; photos of 375×500)."""
    peaks = {False: _peak(place, torch.float32), True: _peak(place, torch.bfloat16)}
    for is_low, flops in peaks.items():
        yield Measure(f"peak, {_type(is_low)}", round(flops / 1e12, 1), "TFLOP/s")
    yield from _mcis_training(place, peaks)
    yield from _mcis_localization(place)
    yield from _cam_training(place, peaks)
    yield from _cam_localization(place)
    yield from _walks(place)


def _mcis_training(place: Place, peaks: dict[bool, float]) -> Iterator[Measure]:
    size, anchors = place.size((256, 5), (32, 1))
    options = training_step.PAPER.model_copy(update={"size": size})
    modules, photos, labels = training_step.setup(options, anchors, place.device)
    ways = (("released formulas", training_step.plain), ("shared passes", training_step.shared))
    for name, loss in ways:
        for is_low in (False, True):
            layout = torch.contiguous_format if name == "released formulas" else torch.channels_last
            modules.to(memory_format=layout)
            laid = [photo.contiguous(memory_format=layout) for photo in photos]
            step = partial(training_step.step, loss, modules, laid, labels, is_low)
            yield from _told(place, f"mcis-paper, {name}, {_type(is_low)}", step, anchors, peaks[is_low])


def _mcis_localization(place: Place) -> Iterator[Measure]:
    count = place.size(16, 2)
    options = localization.VGG.model_copy(update={"size": place.size(256, 32)})
    setup = localization.made(options, count, place.device)
    for name, way in (("released formulas", localization.naive), ("stored features", localization.from_bank)):
        seconds = place.seconds(partial(way, setup, 3), rounds=3)
        yield Measure(f"mcis-paper localizes by 3 references, {name}", round(count / seconds, 2), "photos a second")


def _cam_training(place: Place, peaks: dict[bool, float]) -> Iterator[Measure]:
    size, crops = place.size((512, 16), (64, 2))
    backbone, head = _resnet(place, size)
    modules = nn.ModuleList([backbone, head])
    photos_BCHW = torch.randn(crops, 3, size, size).to(place.device)
    labels_BK = torch.zeros(crops, CLASSES, device=place.device)
    labels_BK[:, 3] = 1

    def step(inputs_BCHW: torch.Tensor, is_low: bool) -> None:
        modules.zero_grad()
        with torch.autocast(place.device, torch.bfloat16, enabled=is_low):
            maps_BKHW = head(backbone(inputs_BCHW)[-1])
        multilabel_soft_margin_loss(maps_BKHW.float().mean((2, 3)), labels_BK).backward()

    for name, layout in (("as released", torch.contiguous_format), ("channels_last", torch.channels_last)):
        modules.to(memory_format=layout)
        laid = photos_BCHW.contiguous(memory_format=layout)
        for is_low in (False, True):
            told = f"IRN's CAM, {name}, {_type(is_low)}"
            yield from _told(place, told, partial(step, laid, is_low), crops, peaks[is_low])


def _cam_localization(place: Place) -> Iterator[Measure]:
    """Four scales and mirrored, summed at stride 4; batch norms folded and channels_last beside the plain network."""
    plain, head = _resnet(place, 512)
    folded = plain.for_inference(place.device)
    photos = [torch.randn(1, 3, *_side(place, scale)).to(place.device) for scale in SCALES]
    grid = [-(-side // 4) for side in _side(place, 1.0)]

    @torch.inference_mode()
    def maps(backbone: Backbone, layout: torch.memory_format) -> torch.Tensor:
        total = torch.zeros(1, CLASSES, *grid, device=place.device)
        for photo in photos:
            both = torch.cat([photo, photo.flip(3)]).contiguous(memory_format=layout)
            pair = head(backbone(both)[-1]).relu()
            total += interpolate(pair[:1] + pair[1:].flip(3), grid, mode="bilinear", align_corners=False)
        return total / total.amax((2, 3), keepdim=True).clamp_min(1e-5)

    plain.eval()
    ways = {
        "as released": partial(maps, plain, torch.contiguous_format),
        "folded": partial(maps, folded, torch.channels_last),
    }
    for name, way in ways.items():
        yield Measure(f"IRN's CAM at 4 scales, {name}", round(1 / place.seconds(way), 2), "photos a second")
    apart = float((ways["folded"]() - ways["as released"]()).abs().max())
    yield at_most("IRN's CAM at 4 scales: largest difference of maps in [0, 1]", apart, 5e-2)


def _walks(place: Place) -> Iterator[Measure]:
    """The random walk on IRN's grid of a photo, and the dense matrix squared eight times, as released."""
    grid = place.size(random_walk.LARGE, (12, 10))
    inputs = random_walk.photo(grid, place.device)
    for name in ("irn", "affinity", "dense32"):
        way = partial(random_walk.WAYS[name], *inputs)
        told = f"{name} walk on {grid[0]}×{grid[1]}"
        yield Measure(told, round(place.seconds(way, rounds=3) * 1e3, 1), "ms a photo")
        yield memory(told, place.peak_bytes(way))
    walked, dense = (random_walk.WAYS[name](*inputs) for name in ("affinity", "dense32"))
    apart = float((walked - dense).abs().max() / dense.max())
    yield at_most("affinity walk: largest difference to the dense one", apart, 1e-2)


def _resnet(place: Place, size: int) -> tuple[Backbone, ClassMaps]:
    name = place.size("resnet50", "resnet10t")
    backbone = build(BackboneOptions(name=name, weights="random", output_stride=16, size=size), (4,))
    return backbone.to(place.device), ClassMaps(backbone.channels[-1], CLASSES, 0).to(place.device)


def _side(place: Place, scale: float) -> list[int]:
    return [round(side * scale) for side in place.size(PHOTO, (47, 62))]


def _told(place: Place, name: str, step: Callable[[], object], photos: int, peak: float) -> Iterator[Measure]:
    """What a training step takes, in photos a second, memory, and operations beside the peak."""
    with FlopCounterMode(display=False) as counter:
        step()
    seconds = place.seconds(step)
    yield Measure(f"{name}: step", round(photos / seconds, 1), "photos a second")
    yield Measure(f"{name}: share of peak", round(100 * counter.get_total_flops() / seconds / peak, 1), "%")
    yield memory(name, place.peak_bytes(step))


def _peak(place: Place, dtype: torch.dtype) -> float:
    """Operations a second of one large product."""
    side = place.size(8192, 128)
    one, other = (torch.randn(side, side, device=place.device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / place.seconds(lambda: one @ other)


def _type(is_low: bool) -> str:
    return "bfloat16" if is_low else "float32"
