"""ResNet-50 as IRN's program has it (Ahn, Cho & Kwak, CVPR 2019): output stride 16 without any dilation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import FeatureInfo
from torch import nn

from settings.errors import UserError

OUTPUT_STRIDE = 16
LEVELS = (("maxpool", 64, 4), ("layer1", 256, 4), ("layer2", 512, 8), ("layer3", 1024, 16), ("layer4", 2048, 16))
"""Per feature level: (the layer that gives it, channels, stride). Level 0 lies behind the pooling, as IRN reads it."""
LAYERS = ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3", "layer4")
NOT_TRAINED = ("conv1", "bn1", "layer1", "layer2")
"""Layers that keep their weights in training."""


class ResNet50Irn(nn.Module):
    """ResNet-50 whose last stage has stride 1 and no dilation in place of its stride.

    Layers are named as in torchvision's and timm's `resnet50`, whose weights fit. In training batch norms use their
    stored statistics, and those of the last two stages learn scale and shift; the stages before stay as they are.
    Raises UserError for another output stride.
    """

    cells_stay = True
    """Features are read as the published programs read them, wherever their cells lie."""

    def __init__(self, levels: Sequence[int], output_stride: int) -> None:
        super().__init__()
        if output_stride != OUTPUT_STRIDE:
            raise UserError("backbone.output_stride", str(output_stride), f"{OUTPUT_STRIDE} for resnet50_irn")
        network: Any = timm.create_model("resnet50")
        for name in LAYERS:
            self.add_module(name, getattr(network, name))
        first = network.layer4[0]
        first.conv2.stride = first.downsample[0].stride = (1, 1)
        for name in NOT_TRAINED:
            self.get_submodule(name).requires_grad_(False)
        self._wanted = tuple(LEVELS[level][0] for level in levels)
        # What a backbone asks of timm's networks.
        stages = [{"num_chs": channels, "reduction": stride, "module": name} for name, channels, stride in LEVELS]
        self.feature_info = FeatureInfo(stages, tuple(levels))
        self.pretrained_cfg: dict[str, Any] = {"mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD}

    def forward(self, images_BCHW: torch.Tensor) -> list[torch.Tensor]:
        """The wanted levels in ascending order, (B, C, h, w) each, after their ReLU."""
        found: list[torch.Tensor] = []
        for name in LAYERS:
            images_BCHW = self.get_submodule(name)(images_BCHW)
            if name in self._wanted:
                found.append(images_BCHW)
            if len(found) == len(self._wanted):
                break
        return found

    def train(self, mode: bool = True) -> ResNet50Irn:
        """Everything but the batch norms changes its mode."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self
