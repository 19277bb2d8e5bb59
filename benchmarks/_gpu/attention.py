"""Co-attention: the fused kernel, which is taken on GPUs, beside chunks and the paper's formulas word by word."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from benchmarks import coattention_head
from benchmarks._gpu.place import Place, memory
from benchmarks._gpu.report import Measure, at_most
from methods.networks.attention import kernel_for
from methods.networks.coattention import pair_loss

TITLE, LIMIT_S = "Fused attention beside chunks", 20
WAYS = ("fused", "chunked", "dense", "plain")


def measures(place: Place) -> Iterator[Measure]:
    """Time, memory and difference to the plain formulas of a head with its loss, forward and backward."""
    ways = coattention_head.ways()
    for way in ways.values():
        (way.args[0] if isinstance(way, partial) else way).to(place.device)
    for side in place.size((16, 32, 64), (8,)):
        positions = side * side
        chosen = kernel_for(positions, positions, place.device)
        yield Measure(f"{positions} positions: the rule takes", chosen)
        feature_m, feature_n, labels_m, labels_n = coattention_head.photos(side, place.device)
        with torch.no_grad():
            expected = ways["plain"](feature_m, feature_n)
        for name in WAYS:
            step = partial(_step, ways[name], (feature_m, feature_n), (labels_m, labels_n))
            yield Measure(f"{positions} positions, {name}", round(place.seconds(step) * 1e3, 3), "ms a pair")
            yield memory(f"{positions} positions, {name}", place.peak_bytes(step))
            with torch.no_grad():
                found = ways[name](feature_m, feature_n)
            apart = max(
                float((one - other).abs().max() / other.abs().max()) for one, other in zip(found, expected, strict=True)
            )
            # The plain way's own products may be of tensor cores, whose factors are rounded to ten bits.
            yield at_most(f"{positions} positions, {name}: largest difference to the formulas", apart, 5e-3)


def _step(way: coattention_head.Step, features: tuple[torch.Tensor, ...], labels: tuple[torch.Tensor, ...]) -> None:
    pair_loss(way(*features), *labels).total.backward()
