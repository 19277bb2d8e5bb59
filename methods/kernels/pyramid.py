"""The branches of an atrous pyramid in one function, few photos at a time, for training on a CPU with one thread.

Each branch is a convolution of the same frozen features: a 1×1 one, or a depthwise 3×3 one with gaps and a 1×1 one
behind it. Four photos' 320 channels at 14×14 fit in a core's cache, those of a batch do not, and nothing between is
kept: what a depthwise convolution gave is made again for the gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.function import once_differentiable

from methods.kernels.depthwise import convolve_photos, correlate_photos, taps_of
from methods.kernels.products import are_rounded, rounded_if

__all__ = ["branches"]

TOGETHER = 4
"""Photos at a time: of 1, 2, 4 and 8, four are fastest."""


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
        ctx.gaps, ctx.are_rounded = gaps, are_rounded()
        photos_BHWC = values_BCHW.permute(0, 2, 3, 1).contiguous()
        batch, height, width, _ = photos_BHWC.shape
        taps, matrices = [taps_of(each) for each in weights[::2]], [_matrix(one) for one in weights[1::2]]
        found = [photos_BHWC.new_empty(batch, height * width, len(plain)) for _ in range(1 + len(gaps))]
        convolved_BHWC = torch.empty_like(photos_BHWC[:TOGETHER])
        with rounded_if(ctx.are_rounded):
            for few in _few(batch):
                photos = photos_BHWC[few]
                convolved = convolved_BHWC[: len(photos)]
                torch.mm(_rows(photos), _matrix(plain).t(), out=_rows(found[0][few]))
                for gap, taps_9C, matrix_OC, out in zip(gaps, taps, matrices, found[1:], strict=True):
                    convolve_photos(photos.numpy(), taps_9C, gap, convolved.numpy())
                    torch.mm(_rows(convolved), matrix_OC.t(), out=_rows(out[few]))
        return tuple(out.view(batch, height, width, -1).permute(0, 3, 1, 2) for out in found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes_BOHW: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        values_BCHW, plain, *weights = ctx.saved_tensors
        photos_BHWC = values_BCHW.permute(0, 2, 3, 1).contiguous()
        slopes = [slope.permute(0, 2, 3, 1).contiguous() for slope in slopes_BOHW]
        taps, matrices = [taps_of(each) for each in weights[::2]], [_matrix(one) for one in weights[1::2]]
        to_plain, to_matrices = torch.zeros_like(_matrix(plain)), [torch.zeros_like(matrix) for matrix in matrices]
        to_taps: list[NDArray[np.float32]] = [np.zeros_like(taps_9C) for taps_9C in taps]
        convolved_BHWC, to_convolved_BHWC = (torch.empty_like(photos_BHWC[:TOGETHER]) for _ in range(2))
        with rounded_if(ctx.are_rounded):
            for few in _few(len(photos_BHWC)):
                photos = photos_BHWC[few]
                convolved, to_convolved = convolved_BHWC[: len(photos)], to_convolved_BHWC[: len(photos)]
                to_plain.addmm_(_rows(slopes[0][few]).t(), _rows(photos))
                for index, gap in enumerate(ctx.gaps):
                    slope_PO = _rows(slopes[1 + index][few])
                    convolve_photos(photos.numpy(), taps[index], gap, convolved.numpy())
                    to_matrices[index].addmm_(slope_PO.t(), _rows(convolved))
                    torch.mm(slope_PO, matrices[index], out=_rows(to_convolved))
                    correlate_photos(photos.numpy(), to_convolved.numpy(), gap, to_taps[index])
        to_weights: list[torch.Tensor] = []
        for to_taps_9C, to_matrix_OC in zip(to_taps, to_matrices, strict=True):
            to_each = torch.from_numpy(np.ascontiguousarray(to_taps_9C.T)).view(-1, 1, 3, 3)
            to_weights += [to_each, to_matrix_OC[..., None, None]]
        return None, None, to_plain[..., None, None], *to_weights


def _few(photos: int) -> Iterator[slice]:
    return (slice(start, start + TOGETHER) for start in range(0, photos, TOGETHER))


def _rows(values: torch.Tensor) -> torch.Tensor:
    return values.view(-1, values.shape[-1])


def _matrix(weight_OC11: torch.Tensor) -> torch.Tensor:
    return weight_OC11.detach().flatten(1)
