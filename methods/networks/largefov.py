"""DeepLab-LargeFOV's head (Chen et al., ICLR 2015; TPAMI 2018), and backbones whose batch norms stand still."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from methods.networks.heads import he_normal_

DILATION = 12


class LargeFovHead(nn.Sequential):
    """3×3 convolution of dilation 12 → ReLU → 1×1 convolution → ReLU → 1×1 classifier.

    (B, C, h, w) features → logits (B, classes, h, w).
    """

    def __init__(self, channels: int, classes: int, width: int) -> None:
        wide_view = nn.Conv2d(channels, width, 3, padding=DILATION, dilation=DILATION)
        super().__init__(
            he_normal_(wide_view),
            nn.ReLU(inplace=True),
            he_normal_(nn.Conv2d(width, width, 1)),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, classes, 1),
        )

    @classmethod
    def of_state(cls, state: Mapping[str, torch.Tensor]) -> LargeFovHead:
        """The head whose state this is; its sizes are read off the tensors."""
        width, channels = state["0.weight"].shape[:2]
        head = cls(channels, state["4.weight"].shape[0], width)
        head.load_state_dict(dict(state))
        return head


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
