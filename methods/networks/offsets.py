"""Where the cells of a backbone's levels lie: measured, and features moved to where they are taken to lie.

Whoever lays maps, masks, colours or another level over features takes a square's n cells to divide its side evenly.
Networks do not keep to that. A strided convolution sees the pixels around the middle of a cell only where its padding
is even on both sides, which no 3×3 or 5×5 kernel has on an even grid; trained weights make up for it. Where dilation
takes the place of a stride they go on making up for what is gone: level 4 of the default backbone lies about a quarter
of a cell before its place at output stride 16, and in its place at 32. No rule gives that, so it is measured. Plain
transformers alone are known beforehand: their cells are the patches that tile the photo.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    # Whatever reads stored features comes by here: timm, which takes seconds, is for those who compute them.
    from methods.networks.backbones import Backbone

__all__ = ["moved", "offsets"]

PICTURES = 2
SIDE = 224
"""The least side (pixels) of the pictures: 7 cells at stride 32."""
LEAST = 2.0
"""Pixels; a level that is displaced by less stays as it is. So do strides up to 4, whose offset is never more."""


def offsets(backbone: Backbone, side: int) -> tuple[float, ...]:
    """By how many cells each level of a square of `side` pixels lies behind its place, to the right and down alike.

    `backbone` is in evaluation mode. What is measured is half the shift between the features of noise pictures and
    those of their mirror images, mirrored back, which lie as far before their place: the slope of the phase of their
    cross spectrum. Less than LEAST pixels count as 0, and so does more than a cell: there the two are not alike. A
    plain transformer is not measured: what it adds for a cell's position is not mirrored with a picture. Nor are the
    networks of papers whose programs move nothing (ResNet-38, IRN's ResNet-50).
    """
    if backbone.cells_stay:
        return (0.0,) * len(backbone.channels)
    # Where cells lie depends on which grids on the way have odd sides, not on how large they are.
    pictures_BCHW = _pictures(SIDE + side % 32).to(next(backbone.parameters()).device)
    with torch.inference_mode():
        plain = backbone(pictures_BCHW)
        down, right = ([level.flip(axis) for level in backbone(pictures_BCHW.flip(axis))] for axis in (2, 3))
        found = [_offset(*levels) for levels in zip(plain, down, right, strict=True)]
    strides = [pictures_BCHW.shape[3] / level.shape[3] for level in plain]
    return tuple(
        offset if LEAST <= abs(offset) * stride <= stride else 0.0
        for offset, stride in zip(found, strides, strict=True)
    )


def moved(features_BCHW: torch.Tensor, offset: float) -> torch.Tensor:
    """Features whose cells lie `offset` cells (−1 to 1) behind their place, at it: bilinear, edges repeated."""
    if offset == 0:
        return features_BCHW
    for axis in (2, 3):
        cells = features_BCHW.shape[axis]
        if offset > 0:
            neighbours = features_BCHW.narrow(axis, 0, 1), features_BCHW.narrow(axis, 0, cells - 1)
        else:
            neighbours = features_BCHW.narrow(axis, 1, cells - 1), features_BCHW.narrow(axis, cells - 1, 1)
        features_BCHW = torch.lerp(features_BCHW, torch.cat(neighbours, axis), abs(offset))
    return features_BCHW


def _pictures(side: int) -> torch.Tensor:
    """Noise whose amplitude falls with frequency as in photos, (B, 3, side, side), deviation 1 as normalised photos."""
    frequencies = torch.fft.fftfreq(side)
    radius_HW = torch.hypot(frequencies[:, None], frequencies[None])
    radius_HW[0, 0] = math.inf
    noise_BCHW = torch.randn(PICTURES, 3, side, side, generator=torch.Generator().manual_seed(0))
    pictures_BCHW: torch.Tensor = torch.fft.ifft2(torch.fft.fft2(noise_BCHW) / radius_HW**1.5).real
    pictures_BCHW /= pictures_BCHW.std()
    return pictures_BCHW.contiguous(memory_format=torch.channels_last)


def _offset(plain_BCHW: torch.Tensor, down_BCHW: torch.Tensor, right_BCHW: torch.Tensor) -> float:
    """In cells, from features and those of the pictures mirrored downwards and to the right, mirrored back."""
    steps = plain_BCHW.shape[3] - 1
    cross_F = _cross_spectrum(plain_BCHW, right_BCHW) + _cross_spectrum(plain_BCHW.mT, down_BCHW.mT)
    frequencies_F = 2 * math.pi * torch.arange(1, len(cross_F) + 1, device=cross_F.device) / steps
    slope = (cross_F.abs() * frequencies_F * cross_F.angle()).sum() / (cross_F.abs() * frequencies_F**2).sum()
    return float(-slope / 2)


def _cross_spectrum(one_BCHW: torch.Tensor, other_BCHW: torch.Tensor) -> torch.Tensor:
    """Of the rows' steps from cell to cell, summed over all rows, at frequencies up to a quarter of the cells: (F,)."""
    # Steps, since low frequencies are much the strongest, and the taper pulls their shift to 0.
    steps_BCHW, other_steps_BCHW = one_BCHW.float().diff(dim=3), other_BCHW.float().diff(dim=3)
    steps = steps_BCHW.shape[3]
    # Rows fade out towards their ends, where paddings are seen.
    taper_W = torch.sin(math.pi * (torch.arange(steps, device=one_BCHW.device) + 0.5) / steps) ** 2
    one_BCHF, other_BCHF = torch.fft.rfft(steps_BCHW * taper_W), torch.fft.rfft(other_steps_BCHW * taper_W)
    cross_F: torch.Tensor = (one_BCHF.conj() * other_BCHF).sum((0, 1, 2))
    # Higher frequencies are folded into lower ones by strides, which hides the shift.
    return cross_F[1 : max(1, steps // 4) + 1]
