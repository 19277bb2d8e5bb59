"""3×3 convolutions in fewer multiplications: Winograd's F(5×5, 3×3), after Lavin & Gray, CVPR 2016.

5×5 outputs need 7×7 inputs. Both, and the 3×3 weights, are read as polynomials and taken at seven points a side (one of
them infinity). There the convolution is a product, 49 multiplications instead of 225, and over all channels and tiles
it is 49 matrix products. The points ±3/8, ±7/8, ±2, ∞ have the least error of those tried: relative to float64 1.8e-6
in outputs and 1.3e-6 in gradients of weights, where the plain sum has 0.2e-6 and 0.5e-6 (128 channels). Larger tiles
lose more digits; smaller ones, of 4×4, take a third more products at 14×14 positions.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d

from methods.kernels.compiled import counts_for, images_first, jit, over_images
from methods.kernels.products import are_rounded

__all__ = ["convolution"]

Values = NDArray[np.float32]

TILE = 5
"""Side of the square of outputs that are made together."""
VALUES = TILE + 2
"""Side of the square of inputs that these outputs need, and points a side."""
POINTS = (3 / 8, -3 / 8, 7 / 8, -7 / 8, 2.0, -2.0)
"""Where polynomials are taken, beside infinity."""
TILES_TOGETHER = 144
"""Tiles whose values are in memory at a time, 9 MB at 320 channels: more is no faster."""
FEWEST_TILES, FEWEST_CHANNELS = 64, 32
"""With fewer tiles the weights' values cost more than they save; with fewer channels those of inputs or outputs do."""


def convolution(images_BCHW: torch.Tensor, layer: nn.Conv2d) -> torch.Tensor:
    """What `layer` makes of images (B, C, H, W), with gradients, by the fewer multiplications where that is faster.

    That is a 3×3 kernel with a border of zeros that keeps the size, in float32 on a CPU, and enough to do: measured on
    48 photos of 320 channels at 14×14, 256 outputs, one core, about twice as fast forward and in the weights'
    gradient. The layer's own code runs elsewhere, and without numba.
    """
    if are_rounded() and layer.bias is None and _is_plain(images_BCHW, layer):
        rounded_BOHW: torch.Tensor = _RoundedConvolution.apply(images_BCHW, layer.weight)
        return rounded_BOHW
    if not _pays(images_BCHW, layer):
        convolved_BOHW: torch.Tensor = layer(images_BCHW)
        return convolved_BOHW
    convolved_BOHW = _Convolution.apply(images_BCHW, layer.weight)
    if layer.bias is not None:
        convolved_BOHW = convolved_BOHW + layer.bias[:, None, None]
    return convolved_BOHW


class _RoundedConvolution(torch.autograd.Function):
    """torch's own convolution of factors in bfloat16, whose sums are float32: in hardware, where there is AMX.

    The values at Winograd's points would lose too many digits by that, and the plain sum is as fast there.
    """

    @staticmethod
    def forward(ctx: Any, images_BCHW: torch.Tensor, weight_OC33: torch.Tensor) -> torch.Tensor:
        images, weight = images_BCHW.bfloat16(), weight_OC33.bfloat16()
        ctx.save_for_backward(images, weight)
        return conv2d(images, weight, padding=1).float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slopes_BOHW: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        images, weight = ctx.saved_tensors
        wanted = [*ctx.needs_input_grad, False]
        how = (None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1)
        slopes = slopes_BOHW.bfloat16()
        to_images, to_weight, _ = torch.ops.aten.convolution_backward(slopes, images, weight, *how, wanted)
        return (to_images.float() if wanted[0] else None), (to_weight.float() if wanted[1] else None)


def _is_plain(images_BCHW: torch.Tensor, layer: nn.Conv2d) -> bool:
    shape = layer.kernel_size, layer.stride, layer.dilation, layer.groups, layer.padding, layer.padding_mode
    is_float32 = images_BCHW.dtype == torch.float32 and images_BCHW.device.type == "cpu"
    return is_float32 and shape == ((3, 3), (1, 1), (1, 1), 1, (1, 1), "zeros")


def _pays(images_BCHW: torch.Tensor, layer: nn.Conv2d) -> bool:
    height, width = images_BCHW.shape[2:]
    tiles = len(images_BCHW) * -(-height // TILE) * -(-width // TILE)
    if tiles < FEWEST_TILES or min(layer.in_channels, layer.out_channels) < FEWEST_CHANNELS:
        return False
    # Under autocast the products would be in bfloat16.
    return (
        not torch.is_autocast_enabled("cpu") and _is_plain(images_BCHW, layer) and counts_for(images_BCHW, layer.weight)
    )


def _vandermonde(columns: int) -> NDArray[np.float64]:
    """Values of 1, x, x², … at the points, and at infinity: that of the highest power alone."""
    infinity = np.eye(columns)[-1:]
    return np.concatenate([np.vander(POINTS, columns, increasing=True), infinity])


_INPUTS = np.linalg.inv(_vandermonde(VALUES)).T
# Rows of size 1, which the weights' matrix makes up for: so neither side spoils the other's digits.
_SCALES = np.abs(_INPUTS).max(1, keepdims=True)
_OF_INPUTS = (_INPUTS / _SCALES).astype(np.float32)
"""Bᵀ of equation 8, (7, 7)."""
_OF_OUTPUTS = np.ascontiguousarray(_vandermonde(TILE).T, np.float32)
"""Aᵀ of equation 8, (5, 7)."""
_OF_SLOPES = np.pad(_vandermonde(TILE), ((0, 0), (0, VALUES - TILE))).astype(np.float32)
"""A, with columns of 0 for the inputs that a tile of slopes lacks, (7, 7)."""
_OF_WEIGHTS = _vandermonde(3) * _SCALES
"""G of equation 8, (7, 3)."""


@cache
@torch.inference_mode(False)
def _of_weight_squares() -> torch.Tensor:
    """What takes the nine weights of a kernel to their 49 values."""
    return torch.from_numpy(np.kron(_OF_WEIGHTS, _OF_WEIGHTS).astype(np.float32))


def _weight_values(weight_OC33: torch.Tensor) -> torch.Tensor:
    """The weights' values at all pairs of points, (49, O, C): what `_convolved` wants."""
    outputs, inputs = weight_OC33.shape[:2]
    flat = weight_OC33.permute(2, 3, 0, 1).reshape(9, outputs * inputs)
    values_VOC = torch.empty(VALUES**2, outputs, inputs)
    torch.mm(_of_weight_squares(), flat, out=values_VOC.view(-1, outputs * inputs))
    return values_VOC


def _convolved(images_BCHW: torch.Tensor, values_VOC: torch.Tensor) -> torch.Tensor:
    """The convolution with a border of zeros, (B, O, H, W) float32 in channels_last, without gradient.

    `values_VOC` are the weights' (`_weight_values`).
    """
    images_BHWC = images_first(images_BCHW)
    result_BHWO = np.empty((*images_BHWC.shape[:3], values_VOC.shape[1]), np.float32)
    for part in _parts(images_BHWC):
        images_VTC = _values(images_BHWC[part], _OF_INPUTS, 1, VALUES)
        products_VTO = torch.empty(VALUES**2, images_VTC.shape[1], values_VOC.shape[1])
        torch.bmm(images_VTC, values_VOC.transpose(1, 2), out=products_VTO)
        _write(products_VTO.numpy(), result_BHWO[part])
    return torch.from_numpy(result_BHWO).permute(0, 3, 1, 2)


def _weight_slopes(images_BCHW: torch.Tensor, slopes_BOHW: torch.Tensor) -> torch.Tensor:
    """The gradient of the weights, (O, C, 3, 3): equation 8 read backwards."""
    images_BHWC, slopes_BHWO = images_first(images_BCHW), images_first(slopes_BOHW)
    inputs, outputs = images_BHWC.shape[3], slopes_BHWO.shape[3]
    summed_VOC = torch.empty(VALUES**2, outputs, inputs)
    for part in _parts(images_BHWC):
        images_VTC = _values(images_BHWC[part], _OF_INPUTS, 1, VALUES)
        slopes_VTO = _values(slopes_BHWO[part], _OF_SLOPES, 0, TILE)
        summed_VOC.baddbmm_(slopes_VTO.transpose(1, 2), images_VTC, beta=float(part.start > 0))
    flat = _of_weight_squares().T @ summed_VOC.view(-1, outputs * inputs)
    return flat.view(3, 3, outputs, inputs).permute(2, 3, 0, 1)


class _Convolution(torch.autograd.Function):
    """(images_BCHW, weight_OC33) → the convolution with a border of zeros, all float32 on the CPU."""

    @staticmethod
    def forward(ctx: Any, images_BCHW: torch.Tensor, weight_OC33: torch.Tensor) -> torch.Tensor:
        """As many photos at a time as TILES_TOGETHER has room for."""
        ctx.save_for_backward(images_BCHW, weight_OC33)
        return _convolved(images_BCHW, _weight_values(weight_OC33))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slopes_BOHW: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """The images' gradient is the convolution of the slopes with the weights turned round."""
        images_BCHW, weight_OC33 = ctx.saved_tensors
        to_images = to_weight = None
        if ctx.needs_input_grad[0]:
            to_images = _convolved(slopes_BOHW, _weight_values(weight_OC33.flip(2, 3).transpose(0, 1)))
        if ctx.needs_input_grad[1]:
            to_weight = _weight_slopes(images_BCHW, slopes_BOHW)
        return to_images, to_weight


def _tiles(images_BHWC: Values) -> int:
    """Tiles of one image; those at the end of a row or column may reach beyond it."""
    height, width = images_BHWC.shape[1:3]
    tiles: int = -(-height // TILE) * -(-width // TILE)
    return tiles


def _parts(images_BHWC: Values) -> list[slice]:
    photos = max(1, TILES_TOGETHER // _tiles(images_BHWC))
    return [slice(start, start + photos) for start in range(0, len(images_BHWC), photos)]


def _values(images_BHWC: Values, matrix_VS: Values, border: int, side: int) -> torch.Tensor:
    """The values of all tiles at all pairs of points, (49, tiles, C)."""
    values_VTC = torch.empty(VALUES**2, len(images_BHWC) * _tiles(images_BHWC), images_BHWC.shape[3])
    values = values_VTC.numpy()

    def work(first: int, last: int) -> None:
        _to_values(images_BHWC, matrix_VS, border, side, values, first, last)

    over_images(work, len(images_BHWC))
    return values_VTC


def _write(products_VTO: Values, result_BHWO: Values) -> None:
    """Make the outputs of all tiles out of their values."""
    over_images(lambda first, last: _from_values(products_VTO, _OF_OUTPUTS, result_BHWO, first, last), len(result_BHWO))


@jit
def _weigh(
    out_C: Values,
    weights_S: Values,
    a_C: Values,
    b_C: Values,
    c_C: Values,
    d_C: Values,
    e_C: Values,
    f_C: Values,
    g_C: Values,
) -> None:
    a, b, c, d = weights_S[0], weights_S[1], weights_S[2], weights_S[3]
    e, f, g = weights_S[4], weights_S[5], weights_S[6]
    for i in range(len(out_C)):
        out_C[i] = a * a_C[i] + b * b_C[i] + c * c_C[i] + d * d_C[i] + e * e_C[i] + f * f_C[i] + g * g_C[i]


@jit
def _to_values(
    images_BHWC: Values, matrix_VS: Values, border: int, side: int, values_VTC: Values, first: int, last: int
) -> None:
    """M x Mᵀ of each tile x of `side` inputs a side, of which the first tile's begin `border` before the image."""
    _, height, width, channels = images_BHWC.shape
    down, across = (height + 4) // 5, (width + 4) // 5
    padded_YXC = np.zeros((5 * down + 2, 5 * across + 2, channels), np.float32)
    half_VSC = np.zeros((7, 7, channels), np.float32)
    tile = first * down * across
    for image in range(first, last):
        for y in range(height):
            for x in range(width):
                from_C, to_C = images_BHWC[image, y, x], padded_YXC[y + border, x + border]
                for c in range(channels):
                    to_C[c] = from_C[c]
        for top in range(0, 5 * down, 5):
            for left in range(0, 5 * across, 5):
                for s in range(side):
                    x = left + s
                    a_C, b_C, c_C = padded_YXC[top, x], padded_YXC[top + 1, x], padded_YXC[top + 2, x]
                    d_C, e_C, f_C = padded_YXC[top + 3, x], padded_YXC[top + 4, x], padded_YXC[top + 5, x]
                    g_C = padded_YXC[top + 6, x]
                    for v in range(7):
                        _weigh(half_VSC[v, s], matrix_VS[v], a_C, b_C, c_C, d_C, e_C, f_C, g_C)
                for v in range(7):
                    a_C, b_C, c_C, d_C = half_VSC[v, 0], half_VSC[v, 1], half_VSC[v, 2], half_VSC[v, 3]
                    e_C, f_C, g_C = half_VSC[v, 4], half_VSC[v, 5], half_VSC[v, 6]
                    for u in range(7):
                        _weigh(values_VTC[7 * v + u, tile], matrix_VS[u], a_C, b_C, c_C, d_C, e_C, f_C, g_C)
                tile += 1


@jit
def _from_values(products_VTO: Values, matrix_SV: Values, result_BHWO: Values, first: int, last: int) -> None:
    """M x Mᵀ of each tile's values x, as far as it lies within the image."""
    _, height, width, outputs = result_BHWO.shape
    half_SVO = np.empty((5, 7, outputs), np.float32)
    tile = first * ((height + 4) // 5) * ((width + 4) // 5)
    for image in range(first, last):
        for top in range(0, height, 5):
            for left in range(0, width, 5):
                for v in range(7):
                    a_O, b_O, c_O = products_VTO[v, tile], products_VTO[v + 7, tile], products_VTO[v + 14, tile]
                    d_O, e_O, f_O = products_VTO[v + 21, tile], products_VTO[v + 28, tile], products_VTO[v + 35, tile]
                    g_O = products_VTO[v + 42, tile]
                    for s in range(5):
                        _weigh(half_SVO[s, v], matrix_SV[s], a_O, b_O, c_O, d_O, e_O, f_O, g_O)
                for s in range(min(5, height - top)):
                    a_O, b_O, c_O, d_O = half_SVO[s, 0], half_SVO[s, 1], half_SVO[s, 2], half_SVO[s, 3]
                    e_O, f_O, g_O = half_SVO[s, 4], half_SVO[s, 5], half_SVO[s, 6]
                    for t in range(min(5, width - left)):
                        out_O = result_BHWO[image, top + s, left + t]
                        _weigh(out_O, matrix_SV[t], a_O, b_O, c_O, d_O, e_O, f_O, g_O)
                tile += 1
