"""Convolutions of a network for inference on a CPU, each with its bias and activation in one pass of oneDNN.

torch's own way makes another pass over memory for every activation, takes a slow path for 1×1 kernels (one thread,
fewer than 16 photos: `methods/networks/pointwise.py`), and copies what it pads on one side alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias, TypeGuard

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import get_same_padding, pad_same
from torch import nn
from torch.nn.functional import pad

__all__ = ["can_fuse", "fuse"]

Activation: TypeAlias = tuple[str, list[float], str]
"""Name, arguments and algorithm, as oneDNN has them."""
ACTIVATIONS: Mapping[type[nn.Module], Activation] = {
    nn.ReLU: ("relu", [], ""),
    nn.ReLU6: ("hardtanh", [0.0, 6.0], ""),
    nn.SiLU: ("swish", [], ""),
}
NONE: Activation = ("none", [], "")


def can_fuse(device: str) -> bool:
    """Whether this torch has the operations on this device that its own compiler puts in for such layers."""
    names = ("_convolution_pointwise", "_linear_pointwise")
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    has_them = has_onednn and all(hasattr(torch.ops.mkldnn, name) for name in names)
    return device == "cpu" and has_them


def fuse(module: nn.Module) -> None:
    """Replace every convolution in `module`, together with the activation listed right behind it, by one layer.

    The layers take float32 in channels_last and give no gradient. A network that does not run its activations where it
    lists them computes something else afterwards: whoever calls this compares.
    """
    children = list(module.named_children())
    for (name, child), (next_name, following) in zip(children, [*children[1:], ("", nn.Identity())], strict=False):
        if not _is_plain(child):
            fuse(child)
            continue
        activation = ACTIVATIONS.get(type(following), NONE)
        setattr(module, name, Fused(child, activation))
        if activation != NONE:
            setattr(module, next_name, nn.Identity())


def _is_plain(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether it is a convolution whose `forward` is known: no class derived from it, padded with a number of zeros."""
    if not isinstance(module, nn.Conv2d) or type(module) not in (nn.Conv2d, Conv2dSame):
        return False
    return module.padding_mode == "zeros" and not isinstance(module.padding, str)


class Fused(nn.Module):
    """activation(convolution + bias) of (B, C, H, W) in channels_last, padded as `convolution` pads."""

    def __init__(self, convolution: nn.Conv2d, activation: Activation) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias
        self._activation = activation
        self._stride, self._dilation = list(convolution.stride), list(convolution.dilation)
        self._groups = convolution.groups
        self._padding = [int(length) for length in convolution.padding]
        self._pads_as_tensorflow = isinstance(convolution, Conv2dSame)
        self._is_pointwise = self.weight[0, 0].numel() == 1 and self._stride == [1, 1] and convolution.groups == 1
        if self._pads_as_tensorflow:
            # A row and a column of zeros in front see the padding that is too much where both ends get as much.
            self._widened = pad(self.weight.detach(), (1, 0, 1, 0)).contiguous(memory_format=torch.channels_last)

    def forward(self, values_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) → (B, O, h, w)."""
        if self._is_pointwise and not any(self._padding):
            rows_BHWC, weight_OC = values_BCHW.permute(0, 2, 3, 1), self.weight.flatten(1)
            mixed_BHWO: torch.Tensor
            mixed_BHWO = torch.ops.mkldnn._linear_pointwise(rows_BHWC, weight_OC, self.bias, *self._activation)
            return mixed_BHWO.permute(0, 3, 1, 2)
        weight, padding = self.weight, self._padding
        if self._pads_as_tensorflow:
            values_BCHW, weight, padding = self._padded(values_BCHW)
        how = padding, self._stride, self._dilation, self._groups, *self._activation
        found_BCHW: torch.Tensor = torch.ops.mkldnn._convolution_pointwise(values_BCHW, weight, self.bias, *how)
        return found_BCHW

    def _padded(self, values_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
        """Values, weights and padding at both ends that make up for unequal ends, without a copy where that goes."""
        kernel, sides = list(self.weight.shape[2:]), list(values_BCHW.shape[2:])
        down, right = map(get_same_padding, sides, kernel, self._stride, self._dilation)
        if down == right and down % 2 == 0:
            return values_BCHW, self.weight, [down // 2] * 2
        if down == right and self._dilation == [1, 1]:
            return values_BCHW, self._widened, [down // 2 + 1] * 2
        return pad_same(values_BCHW, kernel, self._stride, self._dilation), self.weight, [0, 0]
