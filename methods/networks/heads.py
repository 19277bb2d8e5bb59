"""Small heads on backbone features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import nn

from methods.kernels.norm_relu import norm_relu
from methods.kernels.winograd import convolution

Norm = Literal["batch", "none"]


def hidden_layer(channels: int, width: int) -> nn.Module:
    """A 3×3 convolution with batch norm and ReLU to `width` channels, or nothing when `width` is 0."""
    return hidden_layers(channels, width, 1, "batch")


def hidden_layers(channels: int, width: int, layers: int, norm: Norm) -> nn.Module:
    """So many 3×3 convolutions with ReLU to `width` channels; nothing when `width` or `layers` is 0.

    With batch norm they have no bias; without it a bias of 0 and He-normal weights to begin with.
    """
    parts: list[nn.Module] = []
    for _ in range(layers if width else 0):
        parts += _normed(channels, width) if norm == "batch" else _plain(channels, width)
        channels = width
    return HiddenLayers(*parts) if parts else nn.Identity()


class HiddenLayers(nn.Sequential):
    """3×3 convolutions, each with a ReLU and maybe a batch norm before it, by compiled kernels where those are faster.

    Names and values are those of the plain sequence, values but for last digits.
    """

    def forward(self, features_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) → (B, width, h, w)."""
        convolutions = [layer for layer in self if isinstance(layer, nn.Conv2d)]
        norms = [layer for layer in self if isinstance(layer, nn.BatchNorm2d)]
        for index, layer in enumerate(convolutions):
            features_BCHW = convolution(features_BCHW, layer)
            features_BCHW = norm_relu(features_BCHW, norms[index]) if norms else features_BCHW.relu()
        return features_BCHW


def _normed(channels: int, width: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]


def _plain(channels: int, width: int) -> list[nn.Module]:
    return [he_normal_(nn.Conv2d(channels, width, 3, padding=1)), nn.ReLU(inplace=True)]


def he_normal_(convolution: nn.Conv2d) -> nn.Conv2d:
    """Fill the weights with mean 0 and deviation √(2 / (k² · output channels)), the bias with 0; return the layer.

    He et al., ICCV 2015, counted by outputs.
    """
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


class ClassMaps(nn.Module):
    """Fully convolutional classifier: optional hidden layer, then a 1×1 convolution to K class maps.

    The class scores are the maps' means over positions (Zhou et al., CVPR 2016). In training, the classifier's whole
    input channels are dropped with probability `dropout`.
    """

    def __init__(self, channels: int, classes: int, hidden: int, dropout: float = 0, bias: bool = True) -> None:
        super().__init__()
        self.hidden = hidden_layer(channels, hidden)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(hidden or channels, classes, 1, bias=bias)

    def forward(self, features_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) → raw class maps (B, K, h, w)."""
        maps_BKHW: torch.Tensor = self.classifier(self.dropout(self.hidden(features_BCHW)))
        return maps_BKHW

    @classmethod
    def of_state(cls, state: Mapping[str, torch.Tensor]) -> ClassMaps:
        """The network whose state this is; its sizes are read off the tensors."""
        classes, width = state["classifier.weight"].shape[:2]
        convolution = state.get("hidden.0.weight")
        channels, hidden = (width, 0) if convolution is None else (convolution.shape[1], width)
        head = cls(channels, classes, hidden, bias="classifier.bias" in state)
        head.load_state_dict(dict(state))
        return head
