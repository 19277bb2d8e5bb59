"""The decoder of DeepLabV3+ (Chen et al., ECCV 2018) on two feature levels, its convolutions separable.

Layers, first values and names of tensors are those of segmentation-models-pytorch 0.5, with which networks of older
stores were made. On a CPU the layers run channels_last, and the two levels are not joined: the depthwise convolution of
joined channels is that of each part, and the product behind it is a sum of two; that of the deep level, enlarged,
is made on its own grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn

from methods.kernels.depthwise import depthwise
from methods.kernels.norm_relu import norm_relu
from methods.networks.enlarged import add_of_enlarged, pays
from methods.networks.grids import resized
from methods.networks.pointwise import Pointwise, mixed, sum_of_mixed

__all__ = ["Decoded", "DeepLabHead"]

LOW_WIDTH = 48
"""Channels that the shallow level is reduced to, as its authors propose."""
DROPOUT = 0.1
"""Behind the pyramid, in training."""


class Decoded(NamedTuple):
    """What the decoder makes of two levels, at stride 4."""

    features_BCHW: torch.Tensor
    edges_BHW: torch.Tensor | None
    """Logits of edges; None without an edge branch."""


class DeepLabHead(nn.Module):
    """Class scores at stride 4 from features at stride 4 and at the backbone's output stride, whatever that is."""

    def __init__(
        self, low: int, high: int, classes: int, width: int, rates: tuple[int, ...], edges: bool = False
    ) -> None:
        super().__init__()
        self.decoder = _Decoder(low, high, width, rates)
        self.classifier = Pointwise(width, classes)
        self.edges = _Edges(width) if edges else None

    def decoded(self, low_BCHW: torch.Tensor, high_BCHW: torch.Tensor) -> Decoded:
        """The features that classes are told from, gated by the edge branch where there is one."""
        features_BCHW: torch.Tensor = self.decoder(low_BCHW, high_BCHW)
        if self.edges is None:
            return Decoded(features_BCHW, None)
        return Decoded(*self.edges(features_BCHW))

    def forward(self, low_BCHW: torch.Tensor, high_BCHW: torch.Tensor) -> torch.Tensor:
        """→ logits (B, classes, H/4, W/4)."""
        logits_BCHW: torch.Tensor = self.classifier(self.decoded(low_BCHW, high_BCHW).features_BCHW)
        return logits_BCHW

    @classmethod
    def of_state(cls, state: Mapping[str, torch.Tensor], rates: tuple[int, ...]) -> DeepLabHead:
        """The network whose state this is; its widths are read off the tensors."""
        classes, width = state["classifier.weight"].shape[:2]
        low = state["decoder.block1.0.weight"].shape[1]
        high = state["decoder.aspp.0.convs.0.0.weight"].shape[1]
        head = cls(low, high, classes, width, rates, edges="edges.logit.weight" in state)
        head.load_state_dict(dict(state))
        return head


class _Edges(nn.Module):
    """A branch that tells edges, and whose features gate the others: f · (1 + σ(e)), as in ECGAN's generator."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch, self.logit = _Separable(width, width), Pointwise(width, 1)

    def forward(self, features_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        edge_BCHW = self.branch(features_BCHW)
        return features_BCHW * (1 + edge_BCHW.sigmoid()), self.logit(edge_BCHW.relu())[:, 0]


class _Normed(nn.Sequential):
    """A 1×1 convolution, batch norm and ReLU."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(Pointwise(channels, width, bias=False), nn.BatchNorm2d(width), nn.ReLU())

    def forward(self, values_BCHW: torch.Tensor) -> torch.Tensor:
        return norm_relu(self[0](values_BCHW), self[1])


class _Separable(nn.Sequential):
    """A depthwise 3×3 convolution and a 1×1 one."""

    def __init__(self, channels: int, width: int, dilation: int = 1) -> None:
        each = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, groups=channels, bias=False)
        super().__init__(each, Pointwise(channels, width, bias=False))
        self.dilation = dilation

    def forward(self, values_BCHW: torch.Tensor) -> torch.Tensor:
        each_C133, across_OC11 = self.parameters()
        return mixed(depthwise(values_BCHW, each_C133, self.dilation), across_OC11)

    def of_levels(self, small_BCHW: torch.Tensor, large_BCHW: torch.Tensor) -> torch.Tensor:
        """Of the small level, enlarged to the large one's grid, and the large one, their channels joined."""
        grid, widths = large_BCHW.shape[2:], [small_BCHW.shape[1], large_BCHW.shape[1]]
        each_C133, across_OC11 = self.parameters()
        each_small, each_large = torch.split(each_C133, widths)
        across_small, across_large = torch.split(across_OC11, widths, 1)
        large_BCHW = depthwise(large_BCHW, each_large, self.dilation)
        if pays(small_BCHW, grid):
            return add_of_enlarged(mixed(large_BCHW, across_large), small_BCHW, each_small, across_small)
        small_BCHW = depthwise(resized(small_BCHW, grid, align_corners=True), each_small, self.dilation)
        return sum_of_mixed([small_BCHW, large_BCHW], [across_small, across_large])


class _SeparableNormed(nn.Sequential):
    """A separable convolution, batch norm and ReLU."""

    def __init__(self, channels: int, width: int, dilation: int = 1) -> None:
        super().__init__(_Separable(channels, width, dilation), nn.BatchNorm2d(width), nn.ReLU())

    def forward(self, values_BCHW: torch.Tensor) -> torch.Tensor:
        return norm_relu(self[0](values_BCHW), self[1])


class _Pooled(nn.Sequential):
    """The photo's mean features through a 1×1 convolution, batch norm and ReLU, at every position again."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(
            nn.AdaptiveAvgPool2d(1), Pointwise(channels, width, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )

    def forward(self, values_BCHW: torch.Tensor) -> torch.Tensor:
        pool, convolution, norm, _ = self
        return norm_relu(convolution(pool(values_BCHW)), norm).expand(-1, -1, *values_BCHW.shape[2:])


class _Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: the same features at several rates of dilation, and their mean."""

    def __init__(self, channels: int, width: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.convs = nn.ModuleList([_Normed(channels, width)])
        self.convs.extend(_SeparableNormed(channels, width, rate) for rate in rates)
        self.convs.append(_Pooled(channels, width))
        self.project = nn.Sequential(
            Pointwise(len(self.convs) * width, width, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(DROPOUT)
        )

    def forward(self, values_BCHW: torch.Tensor) -> torch.Tensor:
        convolution, norm, _, dropout = self.project
        joined_BCHW = torch.cat([part(values_BCHW) for part in self.convs], 1)
        dropped_BCHW: torch.Tensor = dropout(norm_relu(convolution(joined_BCHW), norm))
        return dropped_BCHW


class _Decoder(nn.Module):
    """The pyramid of the deep level, enlarged, and the shallow level, fused by a separable convolution."""

    def __init__(self, low: int, high: int, width: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.aspp = nn.Sequential(
            _Pyramid(high, width, rates), _Separable(width, width), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.block1 = _Normed(low, LOW_WIDTH)
        self.block2 = _SeparableNormed(width + LOW_WIDTH, width)

    def forward(self, low_BCHW: torch.Tensor, high_BCHW: torch.Tensor) -> torch.Tensor:
        pyramid, separable, norm, _ = self.aspp
        coarse_BCHW = norm_relu(separable(pyramid(high_BCHW)), norm)
        separable, norm, _ = self.block2
        assert isinstance(separable, _Separable)
        return norm_relu(separable.of_levels(coarse_BCHW, self.block1(low_BCHW)), norm)
