"""The branches of an atrous pyramid in one function, photo by photo, for training on a CPU with one thread.

Each branch is a convolution of the same frozen features: a 1×1 one, or a depthwise 3×3 one with gaps and a 1×1 one
behind it. A photo's 320 channels at 14×14 fit in a core's cache, those of a batch do not, and nothing between is kept:
what a depthwise convolution gave is made again for the gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.function import once_differentiable

from methods.kernels.depthwise import convolve_photo, correlate_photo, taps_of

__all__ = ["branches"]


def branches(
    values_BCHW: torch.Tensor,
    plain: torch.Tensor,
    apart: Sequence[tuple[torch.Tensor, torch.Tensor, int]],
) -> tuple[torch.Tensor, ...]:
    """Of frozen features (B, C, H, W): the plain branch, then each of `apart`, (B, O, H, W) all.

    `plain` is a 1×1 convolution's weight (O, C, 1, 1); a branch apart has a depthwise one's (C, 1, 3, 3), a 1×1 one's,
    and the distance of its taps. Float32, channels_last; gradients go to the weights alone.
    """
    weights = [weight for each, across, _ in apart for weight in (each, across)]
    found: tuple[torch.Tensor, ...] = _Branches.apply(values_BCHW, [gap for *_, gap in apart], plain, *weights)
    return found


class _Branches(torch.autograd.Function):
    """Weights after the plain one alternate: depthwise, 1×1."""

    @staticmethod
    def forward(
        ctx: Any, values_BCHW: torch.Tensor, gaps: list[int], plain: torch.Tensor, *weights: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        ctx.save_for_backward(values_BCHW, plain, *weights)
        ctx.gaps = gaps
        photos_BHWC = values_BCHW.permute(0, 2, 3, 1).contiguous()
        batch, height, width, channels = photos_BHWC.shape
        taps, matrices = (
            [taps_of(each) for each in weights[::2]],
            [one.detach().flatten(1).t() for one in weights[1::2]],
        )
        found = [photos_BHWC.new_empty(batch, height * width, len(plain)) for _ in range(1 + len(gaps))]
        convolved_PC = photos_BHWC.new_empty(height * width, channels)
        convolved_HWC = convolved_PC.view(height, width, channels).numpy()
        for image in range(batch):
            photo = photos_BHWC[image]
            torch.mm(photo.view(-1, channels), plain.detach().flatten(1).t(), out=found[0][image])
            for gap, taps_9C, matrix_CO, out in zip(gaps, taps, matrices, found[1:], strict=True):
                convolve_photo(photo.numpy(), taps_9C, gap, convolved_HWC)
                torch.mm(convolved_PC, matrix_CO, out=out[image])
        return tuple(out.view(batch, height, width, -1).permute(0, 3, 1, 2) for out in found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes_BOHW: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        values_BCHW, plain, *weights = ctx.saved_tensors
        photos_BHWC = values_BCHW.permute(0, 2, 3, 1).contiguous()
        batch, height, width, channels = photos_BHWC.shape
        slopes = [slope.permute(0, 2, 3, 1).reshape(batch, height * width, -1) for slope in slopes_BOHW]
        taps, matrices = [taps_of(each) for each in weights[::2]], [one.flatten(1) for one in weights[1::2]]
        to_plain = torch.zeros_like(plain.flatten(1))
        to_matrices = [torch.zeros_like(matrix_OC) for matrix_OC in matrices]
        to_taps: list[NDArray[np.float32]] = [np.zeros_like(taps_9C) for taps_9C in taps]
        convolved_PC, to_convolved_PC = (photos_BHWC.new_empty(height * width, channels) for _ in range(2))
        convolved_HWC, to_convolved_HWC = (
            one.view(height, width, channels).numpy() for one in (convolved_PC, to_convolved_PC)
        )
        for image in range(batch):
            photo = photos_BHWC[image]
            to_plain.addmm_(slopes[0][image].t(), photo.view(-1, channels))
            for index, gap in enumerate(ctx.gaps):
                slope_PO = slopes[1 + index][image]
                convolve_photo(photo.numpy(), taps[index], gap, convolved_HWC)
                to_matrices[index].addmm_(slope_PO.t(), convolved_PC)
                torch.mm(slope_PO, matrices[index], out=to_convolved_PC)
                correlate_photo(photo.numpy(), to_convolved_HWC, gap, to_taps[index])
        to_weights: list[torch.Tensor] = []
        for to_taps_9C, to_matrix_OC in zip(to_taps, to_matrices, strict=True):
            to_each = torch.from_numpy(np.ascontiguousarray(to_taps_9C.T)).view(-1, 1, 3, 3)
            to_weights += [to_each, to_matrix_OC[..., None, None]]
        return None, None, to_plain[..., None, None], *to_weights
