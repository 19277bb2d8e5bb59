"""DeepLab-LargeFOV's head (Chen et al., ICLR 2015; TPAMI 2018), and backbones whose batch norms stand still.

As MCIS's program has it (Sun et al., ECCV 2020): two pyramid convolutions and a score layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn.functional import interpolate, pad
from torch.nn.modules.batchnorm import _BatchNorm

DILATION = 12
STRIDE = 8
"""Pixels from one cell of the logits to the next."""


class LargeFovHead(nn.Sequential):
    """3×3 convolution of dilation 12 → ReLU → 1×1 convolution → ReLU → 1×1 classifier, which alone has a bias.

    (B, C, h, w) features → logits (B, classes, h, w). Weights begin with a deviation of √(1 / inputs) in the first two,
    evenly distributed (Xavier's by inputs), and √(2 / inputs) in the last, normally (He's); the bias with 0.
    """

    def __init__(self, channels: int, classes: int, width: int) -> None:
        wide_view = nn.Conv2d(channels, width, 3, padding=DILATION, dilation=DILATION, bias=False)
        point, score = nn.Conv2d(width, width, 1, bias=False), nn.Conv2d(width, classes, 1)
        super().__init__(wide_view, nn.ReLU(inplace=True), point, nn.ReLU(inplace=True), score)
        for convolution in (wide_view, point):
            nn.init.kaiming_uniform_(convolution.weight, nonlinearity="linear")
        nn.init.kaiming_normal_(score.weight, nonlinearity="relu")
        assert score.bias is not None
        nn.init.zeros_(score.bias)

    @classmethod
    def of_state(cls, state: Mapping[str, torch.Tensor]) -> LargeFovHead:
        """The head whose state this is; its sizes are read off the tensors."""
        width, channels = state["0.weight"].shape[:2]
        head = cls(channels, state["4.weight"].shape[0], width)
        head.load_state_dict(dict(state))
        return head


def enlarged(logits_BCHW: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """The logits at `size` (height, width), bilinear with aligned corners: cell i lies at pixel 8 · i.

    Pixels beyond the last cell, fewer than 8 where the network pads as the paper's, have what is nearest to them.
    """
    between = [STRIDE * (cells - 1) + 1 for cells in logits_BCHW.shape[2:]]
    large_BCHW = interpolate(logits_BCHW, between, mode="bilinear", align_corners=True)
    cut_BCHW = large_BCHW[:, :, : size[0], : size[1]]
    below, right = (wanted - there for wanted, there in zip(size, cut_BCHW.shape[2:], strict=True))
    return pad(cut_BCHW, (0, right, 0, below), mode="replicate")


class FixedBatchNorm(nn.Module):
    """A network whose batch norms use their stored statistics in training too, and learn no scale and shift."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        for norm in self._norms():
            norm.requires_grad_(False)

    def train(self, mode: bool = True) -> FixedBatchNorm:
        """Everything but the batch norms changes its mode."""
        super().train(mode)
        for norm in self._norms():
            norm.eval()
        return self

    def _norms(self) -> list[_BatchNorm]:
        return [module for module in self.network.modules() if isinstance(module, _BatchNorm)]
