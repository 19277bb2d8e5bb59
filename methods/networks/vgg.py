"""VGG16 as DeepLab-LargeFOV and the co-attention paper use it (Chen et al., ICLR 2015; Sun et al., ECCV 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import FeatureInfo
from torch import nn

from methods.networks.heads import he_normal_
from settings.errors import UserError

OUTPUT_STRIDE = 8
BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Output channels of the 3×3 convolutions between the poolings."""
LEVELS = ((8, 128, 2), (15, 256, 4), (22, 512, 8), (27, 512, 8), (29, 512, 8))
"""Per feature level, as timm counts them: (index of its ReLU in `features`, channels, stride).

They are conv2_2, conv3_3, conv4_3, conv5_2 and conv5_3.
"""


class Vgg16LargeFov(nn.Module):
    """VGG16's convolutions at output stride 8, without batch norm: pool4 3×3 at stride 1, conv5 dilated by 2, no pool5.

    Layers are numbered as in torchvision's and timm's `vgg16.features`, whose weights fit. Raises UserError for
    another output stride.
    """

    def __init__(self, levels: Sequence[int], output_stride: int) -> None:
        super().__init__()
        if output_stride != OUTPUT_STRIDE:
            raise UserError("backbone.output_stride", str(output_stride), f"{OUTPUT_STRIDE} for vgg16_largefov")
        self.features = nn.Sequential(*_layers())
        self._wanted = tuple(LEVELS[level][0] for level in levels)
        # What a backbone asks of timm's networks.
        self.feature_info = FeatureInfo(_levels_for_timm(), tuple(levels))
        self.pretrained_cfg: dict[str, Any] = {"mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD}

    def forward(self, images_BCHW: torch.Tensor) -> list[torch.Tensor]:
        """The wanted levels in ascending order, (B, C, h, w) each, after their ReLU."""
        found: list[torch.Tensor] = []
        for index in range(self._wanted[-1] + 1):
            images_BCHW = self.features[index](images_BCHW)
            if index in self._wanted:
                found.append(images_BCHW)
        return found


def _layers() -> list[nn.Module]:
    layers: list[nn.Module] = []
    channels = 3
    for block, widths in enumerate(BLOCKS):
        dilation = 2 if block == 4 else 1
        for width in widths:
            convolution = nn.Conv2d(channels, width, 3, padding=dilation, dilation=dilation)
            # Random weights by torch's default would fade to nothing over 13 layers without batch norm.
            layers += [he_normal_(convolution), nn.ReLU(inplace=True)]
            channels = width
        if block < 3:
            layers.append(nn.MaxPool2d(2, 2))
        elif block == 3:
            layers.append(nn.MaxPool2d(3, stride=1, padding=1))
    return layers


def _levels_for_timm() -> list[dict[str, Any]]:
    return [
        {"num_chs": channels, "reduction": stride, "module": f"features.{index}"} for index, channels, stride in LEVELS
    ]
