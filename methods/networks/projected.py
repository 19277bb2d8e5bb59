"""A backbone with a projection on top, for contrastive learning of whole crops."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import normalize

from methods.networks.backbones import Backbone

__all__ = ["Projected"]


class Projected(nn.Module):
    """Crops with an attention map beside them → vectors of unit length.

    The map is a fourth channel of the input, mixed into the other three by a 1×1 convolution that begins at zero:
    without it the backbone is what it was.
    """

    def __init__(self, backbone: Backbone, width: int) -> None:
        super().__init__()
        self.backbone = backbone
        channels = backbone.channels[-1]
        self.attention = nn.Conv2d(1, 3, 1, bias=False)
        nn.init.zeros_(self.attention.weight)
        self.projection = nn.Sequential(nn.Linear(channels, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, images_BCHW: torch.Tensor, map_B1HW: torch.Tensor) -> torch.Tensor:
        """Normalised images and maps in [0, 1] → (B, width)."""
        features_BCHW = self.backbone(images_BCHW + self.attention(map_B1HW))[-1]
        vectors_BW: torch.Tensor = normalize(self.projection(features_BCHW.mean(dim=(2, 3))), dim=1)
        return vectors_BW
