"""Small heads on backbone features."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn


def hidden_layer(channels: int, width: int) -> nn.Module:
    """A 3×3 convolution with batch norm and ReLU to `width` channels, or nothing when `width` is 0."""
    if width == 0:
        return nn.Identity()
    convolution = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True))


class ClassMaps(nn.Module):
    """Fully convolutional classifier: optional hidden layer, then a 1×1 convolution to K class maps.

    The class scores are the maps' means over positions (Zhou et al., CVPR 2016).
    """

    def __init__(self, channels: int, classes: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden_layer(channels, hidden)
        self.classifier = nn.Conv2d(hidden or channels, classes, 1)

    def forward(self, features_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) → raw class maps (B, K, h, w)."""
        maps_BKHW: torch.Tensor = self.classifier(self.hidden(features_BCHW))
        return maps_BKHW

    @classmethod
    def of_state(cls, state: Mapping[str, torch.Tensor]) -> ClassMaps:
        """The network whose state this is; its sizes are read off the tensors."""
        classes, width = state["classifier.weight"].shape[:2]
        convolution = state.get("hidden.0.weight")
        head = cls(width, classes, 0) if convolution is None else cls(convolution.shape[1], classes, width)
        head.load_state_dict(dict(state))
        return head
