"""1×1 convolutions as what they are: a product of matrices, one row a position."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import conv2d

from methods.kernels.products import product

__all__ = ["Pointwise", "mixed", "sum_of_mixed"]


class Pointwise(nn.Conv2d):
    """A 1×1 convolution by `mixed`; parameters, their names and first values are `nn.Conv2d`'s."""

    def __init__(self, channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(channels, out_channels, 1, bias=bias)

    def forward(self, values_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) → (B, out_channels, H, W)."""
        return mixed(values_BCHW, self.weight, self.bias)


def mixed(values_BCHW: torch.Tensor, weight_OC11: torch.Tensor, bias_O: torch.Tensor | None = None) -> torch.Tensor:
    """The 1×1 convolution of (B, C, H, W) → (B, O, H, W).

    On a CPU the rows of channels_last tensors are multiplied: with one thread and fewer than 16 photos, torch's
    convolution takes a path that copies them first, and three times as long.
    """
    if values_BCHW.device.type != "cpu":
        return conv2d(values_BCHW, weight_OC11, bias_O)
    mixed_BHWO = product(values_BCHW.permute(0, 2, 3, 1), weight_OC11.flatten(1))
    return (mixed_BHWO if bias_O is None else mixed_BHWO + bias_O).permute(0, 3, 1, 2)


def sum_of_mixed(parts_BCHW: Sequence[torch.Tensor], weights_OC11: Sequence[torch.Tensor]) -> torch.Tensor:
    """The sum of the 1×1 convolutions of some tensors, (B, C, H, W) each with its own C → (B, O, H, W)."""
    if parts_BCHW[0].device.type != "cpu":
        return conv2d(torch.cat(list(parts_BCHW), 1), torch.cat(list(weights_OC11), 1))
    total_BOHW, *others = (mixed(part, weight) for part, weight in zip(parts_BCHW, weights_OC11, strict=True))
    for other_BOHW in others:
        total_BOHW = total_BOHW + other_BOHW
    return total_BOHW
