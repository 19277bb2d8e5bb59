"""The decoder of DeepLabV3+ (Chen et al., ECCV 2018) on two feature levels, its convolutions separable.

Layers, first values and names of tensors are those of segmentation-models-pytorch 0.5, with which networks of older
stores were made. On a CPU the layers run channels_last, and the two levels are not joined: the depthwise convolution of
joined channels is that of each part, and the product behind it is a sum of two.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from methods.kernels.compiled import photo_by_photo
from methods.kernels.depthwise import depthwise
from methods.kernels.fine_level import FineLevel, fine_level_loss
from methods.kernels.norm_relu import norm_relu
from methods.kernels.pyramid import branches
from methods.networks.cross_entropy import mean_cross_entropy
from methods.networks.grids import resized
from methods.networks.pointwise import Pointwise, sum_of_mixed
from settings.records import UNKNOWN

__all__ = ["DeepLabHead"]

LOW_WIDTH = 48
"""Channels that the shallow level is reduced to, as its authors propose."""
DROPOUT = 0.1
"""Behind the pyramid, in training."""


class DeepLabHead(nn.Module):
    """Class scores at stride 4 from features at stride 4 and at the backbone's output stride, whatever that is."""

    def __init__(self, low: int, high: int, classes: int, width: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.decoder = _Decoder(low, high, width, rates)
        self.classifier = Pointwise(width, classes)

    def forward(self, low_BCHW: torch.Tensor, high_BCHW: torch.Tensor) -> torch.Tensor:
        """→ logits (B, classes, H/4, W/4)."""
        logits_BCHW: torch.Tensor = self.classifier(self.decoder(low_BCHW, high_BCHW))
        return logits_BCHW

    def loss(
        self, low_BCHW: torch.Tensor, high_BCHW: torch.Tensor, truth_BHW: torch.Tensor, known: torch.Tensor
    ) -> torch.Tensor:
        """`mean_cross_entropy` of the logits, with labels (B, H/4, W/4).

        On a CPU with one thread the fine level and the loss are one function, which goes photo by photo.
        """
        if photo_by_photo(self, low_BCHW, high_BCHW):
            layers = self.decoder.fine_level(self.classifier)
            return fine_level_loss(self.decoder.coarse(high_BCHW), low_BCHW, truth_BHW, layers, known, UNKNOWN)
        return mean_cross_entropy(self(low_BCHW, high_BCHW).float(), truth_BHW, known)

    @classmethod
    def of_state(cls, state: Mapping[str, torch.Tensor], rates: tuple[int, ...]) -> DeepLabHead:
        """The network whose state this is; its widths are read off the tensors."""
        classes, width = state["classifier.weight"].shape[:2]
        low = state["decoder.block1.0.weight"].shape[1]
        high = state["decoder.aspp.0.convs.0.0.weight"].shape[1]
        head = cls(low, high, classes, width, rates)
        head.load_state_dict(dict(state))
        return head


class _Normed(nn.Sequential):
    """A 1×1 convolution, batch norm and ReLU."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(Pointwise(channels, width, bias=False), nn.BatchNorm2d(width), nn.ReLU())

    def forward(self, values_BCHW: torch.Tensor) -> torch.Tensor:
        return norm_relu(self[0](values_BCHW), self[1])

    def weight(self) -> torch.Tensor:
        """Of the convolution, (width, channels, 1, 1)."""
        weight_OC11, *_ = self.parameters()
        return weight_OC11


class _Separable(nn.Sequential):
    """A depthwise 3×3 convolution and a 1×1 one."""

    def __init__(self, channels: int, width: int, dilation: int = 1) -> None:
        each = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, groups=channels, bias=False)
        super().__init__(each, Pointwise(channels, width, bias=False))
        self.dilation = dilation

    def forward(self, *parts_BCHW: torch.Tensor) -> torch.Tensor:
        """Of the parts' channels, joined in this order."""
        widths = [part.shape[1] for part in parts_BCHW]
        each_C133, across_OC11 = self.weights()
        each, across = torch.split(each_C133, widths), torch.split(across_OC11, widths, 1)
        convolved = [depthwise(part, weight, self.dilation) for part, weight in zip(parts_BCHW, each, strict=True)]
        return sum_of_mixed(convolved, across)

    def weights(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the depthwise convolution, (channels, 1, 3, 3), and of the other, (width, channels, 1, 1)."""
        each_C133, across_OC11 = self.parameters()
        return each_C133, across_OC11


class _SeparableNormed(nn.Sequential):
    """A separable convolution, batch norm and ReLU."""

    def __init__(self, channels: int, width: int, dilation: int = 1) -> None:
        super().__init__(_Separable(channels, width, dilation), nn.BatchNorm2d(width), nn.ReLU())

    def forward(self, *parts_BCHW: torch.Tensor) -> torch.Tensor:
        return norm_relu(self.separable()(*parts_BCHW), self[1])

    def separable(self) -> _Separable:
        """The convolution."""
        convolution = self[0]
        assert isinstance(convolution, _Separable)
        return convolution


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
        joined_BCHW = torch.cat(self._parts(values_BCHW), 1)
        dropped_BCHW: torch.Tensor = dropout(norm_relu(convolution(joined_BCHW), norm))
        return dropped_BCHW

    def _parts(self, values_BCHW: torch.Tensor) -> list[torch.Tensor]:
        if not photo_by_photo(self, values_BCHW):
            return [part(values_BCHW) for part in self.convs]
        plain, *apart, pooled = self.convs
        assert isinstance(plain, _Normed)
        separable = [part.separable() for part in apart if isinstance(part, _SeparableNormed)]
        found = branches(values_BCHW, plain.weight(), [(*one.weights(), one.dilation) for one in separable])
        norms = [part[1] for part in (plain, *apart) if isinstance(part, nn.Sequential)]
        normed = [norm_relu(values, norm) for values, norm in zip(found, norms, strict=True)]
        return [*normed, pooled(values_BCHW)]


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
        enlarged_BCHW = resized(self.coarse(high_BCHW), low_BCHW.shape[2:], align_corners=True)
        fused_BCHW: torch.Tensor = self.block2(enlarged_BCHW, self.block1(low_BCHW))
        return fused_BCHW

    def coarse(self, high_BCHW: torch.Tensor) -> torch.Tensor:
        """The deep level's part, before it is enlarged."""
        pyramid, separable, norm, _ = self.aspp
        return norm_relu(separable(pyramid(high_BCHW)), norm)

    def fine_level(self, classifier: Pointwise) -> FineLevel:
        """What lies between `coarse` and the loss."""
        each, across = self.block2.separable().weights()
        assert classifier.bias is not None
        return FineLevel(
            self.block1.weight(), self.block1[1], each, across, self.block2[1], classifier.weight, classifier.bias
        )
