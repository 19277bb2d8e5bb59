"""One training step of co-attention at the paper's size: shared features beside the released program's eight passes.

An anchor with its four pairs (partner, mirrored, 0.75×, 2×), VGG16 at 256², forward and backward, on one core: in
float32, then channels_last, then under bfloat16 autocast, which is fast only on a processor that computes in bfloat16.

Run: python -m benchmarks.training_step
"""

from collections.abc import Callable
from functools import partial
from time import process_time

import torch
from torch import nn

from methods.base import BackboneOptions
from methods.networks.backbones import Backbone, build
from methods.networks.coattention import pair_loss
from methods.networks.pair_classifier import PairClassifier, Structure, Terms, anchor_loss

SIDE, CLASSES = 256, 20
PAPER = BackboneOptions(name="vgg16_largefov", weights="random", output_stride=8, size=SIDE)
STRUCTURE = Structure(hidden=512, hidden_layers=3, norm="none", learned_affinity=True, separate_heads=True)
REPETITIONS = 2
TARGETS = {"shared, float32": 1.3, "shared, channels_last, bfloat16": 5.0}

Photos = list[torch.Tensor]
"""Anchors, partners, and the anchors mirrored, at 0.75× and at 2×; (B, 3, h, w) each."""
Loss = Callable[[Backbone, PairClassifier, Photos, torch.Tensor, torch.Tensor], torch.Tensor]


def plain(
    backbone: Backbone, network: PairClassifier, photos: Photos, anchor_BK: torch.Tensor, partner_BK: torch.Tensor
) -> torch.Tensor:
    """Each pair by itself: both of its photos go through the network."""
    total = anchor_BK.new_zeros(())
    for index, other in enumerate(photos[1:]):
        pair = [network(backbone(photo)[-1]) for photo in (photos[0], other)]
        maps = network.head(pair[0], pair[1])
        labels_BK = anchor_BK if index else partner_BK
        total = total + pair_loss(maps, anchor_BK, labels_BK, contrastive=index == 0).total
    return total


def shared(
    backbone: Backbone, network: PairClassifier, photos: Photos, anchor_BK: torch.Tensor, partner_BK: torch.Tensor
) -> torch.Tensor:
    """Every photo goes through the network once; photos of one size together."""
    same = network(backbone(torch.cat(photos[:3]))[-1])
    anchor, partner, mirrored = same.chunk(3)
    copies = [mirrored, *(network(backbone(photo)[-1]) for photo in photos[3:])]
    losses = anchor_loss(network.head, anchor, partner, copies, anchor_BK, partner_BK, Terms(True, True))
    return torch.stack(list(losses.values())).sum()


def setup(options: BackboneOptions, anchors: int, device: str = "cpu") -> tuple[nn.ModuleList, Photos, Photos]:
    """Backbone and pair classifier, so many anchors with what stands beside them, and the labels of both of a pair."""
    backbone = build(options, (4,))
    modules = nn.ModuleList([backbone, PairClassifier(backbone.channels[-1], CLASSES, STRUCTURE)]).to(device)
    sides = [options.size] * 3 + [3 * options.size // 4, 2 * options.size]
    photos = [torch.randn(anchors, 3, side, side).to(device) for side in sides]
    labels = [torch.zeros(anchors, CLASSES).index_fill_(1, torch.tensor(shown), 1) for shown in ((3, 7), (3, 9))]
    return modules, photos, [labels_BK.to(device) for labels_BK in labels]


def step(loss: Loss, modules: nn.ModuleList, photos: Photos, labels: Photos, bfloat16: bool) -> None:
    """Forward and backward."""
    backbone, network = modules
    modules.zero_grad()
    with torch.autocast(photos[0].device.type, torch.bfloat16, enabled=bfloat16):
        total = loss(backbone, network, photos, *labels)
    total.backward()


def seconds(run: Callable[[], None]) -> float:
    """CPU time: the fastest of some repetitions."""
    times = []
    for _ in range(REPETITIONS):
        start = process_time()
        run()
        times.append(process_time() - start)
    return min(times)


def main() -> None:
    """Print seconds a step, and how many times faster than the plain one each way is."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    modules, photos, labels = setup(PAPER, 1)
    base = 0.0
    for name, loss, layout, bfloat16 in (
        ("plain, float32", plain, torch.contiguous_format, False),
        ("shared, float32", shared, torch.contiguous_format, False),
        ("shared, channels_last", shared, torch.channels_last, False),
        ("shared, channels_last, bfloat16", shared, torch.channels_last, True),
    ):
        modules.to(memory_format=layout)
        laid = [photo.contiguous(memory_format=layout) for photo in photos]
        took = seconds(partial(step, loss, modules, laid, labels, bfloat16))
        base = base or took
        target = f" (target ≥ {TARGETS[name]:g})" if name in TARGETS else ""
        print(f"{name:32} {took:7.2f} s a step {base / took:6.2f} × plain{target}", flush=True)
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    print(f"this processor computes in bfloat16: {'yes' if native else 'no, so its target does not count here'}")


if __name__ == "__main__":
    main()
