"""DeepLab's fine level and its loss in one function, photo by photo, for training on a CPU with one thread.

Between two batch norms nothing links the photos of a batch. What one photo needs there fits in a core's cache, where a
whole batch goes through memory at every layer: 8 photos at 56×56 take a third of the time. The layers and formulas are
those of methods/networks/deeplab.py, written out forward and backward. The shallow level's batch norm comes before
anything is known of its outputs, by the moments of its inputs: x → Wx has mean W·mean and covariance W·cov·Wᵀ.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.autograd.function import once_differentiable

from methods.kernels.compiled import inlined, jit
from methods.kernels.products import are_rounded, rounded_if

__all__ = ["FineLevel", "fine_level_loss"]

Values = NDArray[np.float32]
Sums = NDArray[np.float64]


class FineLevel(NamedTuple):
    """The layers between the enlarged coarse level and the loss, in their order.

    Norms are `nn.BatchNorm2d`. Weights: `reduce` (S, L, 1, 1) of the shallow level's L channels, `each`
    (W + S, 1, 3, 3) and `across` (O, W + S, 1, 1) of the separable convolution, the classifier's (K, O, 1, 1) and
    bias (K,).
    """

    reduce: torch.Tensor
    reduce_norm: nn.Module
    each: torch.Tensor
    across: torch.Tensor
    fused_norm: nn.Module
    classify: torch.Tensor
    classify_bias: torch.Tensor


def fine_level_loss(
    coarse_BCHW: torch.Tensor,
    low_BCHW: torch.Tensor,
    truth_BHW: torch.Tensor,
    layers: FineLevel,
    known: torch.Tensor,
    unknown: int,
) -> torch.Tensor:
    """The cross-entropy summed over pixels whose label is not `unknown`, divided by `known`; float32.

    Coarse features (B, W, h, w) after their ReLU and shallow ones (B, L, H, W), both channels_last; labels (B, H, W).
    Gradients go to all parameters and to the coarse features, none to the shallow ones. The batch norms are in training
    mode: their running statistics move.
    """
    reduce_norm, fused_norm = layers.reduce_norm, layers.fused_norm
    assert isinstance(reduce_norm, nn.BatchNorm2d)
    assert isinstance(fused_norm, nn.BatchNorm2d)
    loss: torch.Tensor = _FineLevelLoss.apply(
        coarse_BCHW,
        low_BCHW,
        truth_BHW,
        known,
        unknown,
        layers.reduce,
        reduce_norm.weight,
        reduce_norm.bias,
        layers.each,
        layers.across,
        fused_norm.weight,
        fused_norm.bias,
        layers.classify,
        layers.classify_bias,
        reduce_norm,
        fused_norm,
    )
    return loss


class _FineLevelLoss(torch.autograd.Function):
    """Forward keeps what came out of the separable convolution's two halves; the rest is made again backward."""

    @staticmethod
    def forward(
        ctx: Any,
        coarse_BCHW: torch.Tensor,
        low_BCHW: torch.Tensor,
        truth_BHW: torch.Tensor,
        known: torch.Tensor,
        unknown: int,
        reduce: torch.Tensor,
        reduce_gain: torch.Tensor,
        reduce_bias: torch.Tensor,
        each: torch.Tensor,
        across: torch.Tensor,
        fused_gain: torch.Tensor,
        fused_bias: torch.Tensor,
        classify: torch.Tensor,
        classify_bias: torch.Tensor,
        reduce_norm: nn.BatchNorm2d,
        fused_norm: nn.BatchNorm2d,
    ) -> torch.Tensor:
        ctx.are_rounded = are_rounded()
        coarse, low = _rows_first(coarse_BCHW), _rows_first(low_BCHW)
        batch, height, width, _ = low.shape
        grids = _Between.of(coarse.shape[1], height), _Between.of(coarse.shape[2], width)
        taps_9C = each.detach().flatten(1).t().contiguous().numpy()
        folded = _Folded.of(low, reduce, reduce_gain, reduce_bias, reduce_norm)
        across_CO = across.detach().flatten(1).t()
        reduced = torch.empty(batch, height * width, len(reduce))
        convolved = torch.empty(batch, height * width, taps_9C.shape[1])
        fused = torch.empty(batch, height * width, across.shape[0])
        moments_2O = np.zeros((2, across.shape[0]))
        ring = _ring(width, taps_9C.shape[1])
        for image in range(batch):
            torch.mm(low[image].view(height * width, -1), folded.weight_LS, out=reduced[image])
            _convolve(
                coarse[image].numpy(),
                reduced[image].view(height, width, -1).numpy(),
                folded.bias_S,
                *grids,
                taps_9C,
                ring,
                convolved[image].view(height, width, -1).numpy(),
            )
            # The large products alone: rounding the others takes longer than it saves.
            with rounded_if(ctx.are_rounded):
                torch.mm(convolved[image], across_CO, out=fused[image])
            _add_moments(fused[image].numpy(), width, moments_2O)
        normed = _Normed.of(moments_2O, batch * height * width, fused_gain, fused_bias, fused_norm)
        # The slope of the loss for what the second batch norm gives, where its ReLU lets it through.
        slope, sums_2O = torch.empty_like(fused), np.zeros_like(moments_2O)
        labels, weight_KO = truth_BHW.flatten(1).numpy(), classify.detach().flatten(1).contiguous()
        to_weight_KO, to_bias_K = torch.zeros_like(weight_KO), torch.zeros(len(weight_KO))
        normed_PO, share, loss = torch.empty_like(fused[0]), 1 / max(float(known), 1.0), 0.0
        for image in range(batch):
            _normed_relu(fused[image].numpy(), normed.gain_shift_mean_3O, normed_PO.numpy())
            # Classes first: a softmax over an axis of seven is slow where it is the last one.
            logs_KP = torch.addmm(classify_bias.detach()[:, None], weight_KO, normed_PO.t()).log_softmax(0)
            shares_KP = logs_KP.exp()
            loss += _cross_entropy(logs_KP.numpy(), shares_KP.numpy(), labels[image], unknown, share)
            to_weight_KO.addmm_(shares_KP, normed_PO)
            to_bias_K += shares_KP.sum(1)
            photo = fused[image].numpy(), normed.gain_shift_mean_3O, width
            _let_through(*photo, shares_KP.numpy(), weight_KO.numpy(), slope[image].numpy(), sums_2O)
        ctx.save_for_backward(coarse_BCHW, low_BCHW, reduce, across)
        ctx.kept = reduced, convolved, fused, slope, folded, normed, grids, taps_9C, ring
        ctx.classifier = to_weight_KO, to_bias_K, sums_2O
        return torch.tensor(loss * share, dtype=torch.float32)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        coarse_BCHW, low_BCHW, reduce, across = ctx.saved_tensors
        reduced, convolved, fused, slope, folded, normed, grids, taps_9C, ring = ctx.kept
        to_classify_KO, to_classify_bias_K, sums_2O = ctx.classifier
        coarse, low = _rows_first(coarse_BCHW), _rows_first(low_BCHW)
        batch, height, width, _ = low.shape
        along, across_values, constant = normed.slope_terms(sums_2O)
        rows, columns = grids
        across_OC = across.detach().flatten(1)
        to_across, to_folded = torch.zeros_like(across_OC), torch.zeros(reduced.shape[2], low.shape[3])
        to_fused, to_convolved = torch.empty_like(fused[0]), torch.empty_like(convolved[0])
        to_reduced, to_coarse = torch.empty_like(reduced[0]), torch.zeros_like(coarse)
        to_each_9C, to_bias_S, turned_9C = np.zeros(taps_9C.shape), np.zeros(reduced.shape[2]), taps_9C[::-1].copy()
        for image in range(batch):
            _unnormed(fused[image].numpy(), slope[image].numpy(), along, across_values, constant, to_fused.numpy())
            with rounded_if(ctx.are_rounded):
                to_across.addmm_(to_fused.t(), convolved[image])
                torch.mm(to_fused, across_OC, out=to_convolved)
            _unconvolve(
                coarse[image].numpy(),
                reduced[image].view(height, width, -1).numpy(),
                folded.bias_S,
                rows,
                columns,
                turned_9C,
                ring,
                to_convolved.view(height, width, -1).numpy(),
                to_coarse[image].numpy(),
                to_reduced.view(height, width, -1).numpy(),
                to_each_9C,
                to_bias_S,
            )
            to_folded.addmm_(to_reduced.t(), low[image].view(height * width, -1))
        to_reduce, to_gain, to_bias = folded.slopes(to_folded.double().numpy(), to_bias_S)
        # In the order of the layers; all of them as if the loss were the last word.
        found = (
            _tensor(to_reduce).view_as(reduce),
            _tensor(to_gain),
            _tensor(to_bias),
            _tensor(to_each_9C.T).view(-1, 1, 3, 3),
            to_across.view_as(across),
            _tensor(sums_2O[1] * normed.scale_O),
            _tensor(sums_2O[0]),
            to_classify_KO[..., None, None],
            to_classify_bias_K,
        )
        scaled = [one.mul_(scale) for one in (to_coarse, *found)]
        return scaled[0].permute(0, 3, 1, 2), None, None, None, None, *scaled[1:], None, None


def _rows_first(values_BCHW: torch.Tensor) -> torch.Tensor:
    return values_BCHW.detach().permute(0, 2, 3, 1).contiguous()


def _tensor(values: Values | Sums) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))


def _ring(width: int, channels: int) -> Values:
    """Room for three rows, with a column of zeros at both ends, and a row of zeros."""
    return np.zeros((4, width + 2, channels), np.float32)


class _Between(NamedTuple):
    """Where each position of the fine axis lies between two of the coarse one, corners aligned."""

    before: NDArray[np.int64]
    after: NDArray[np.int64]
    share: Values
    """Of the one after."""

    @classmethod
    def of(cls, coarse: int, fine: int) -> _Between:
        places = np.arange(fine) * ((coarse - 1) / (fine - 1) if fine > 1 else 0.0)
        before = np.minimum(places.astype(np.int64), coarse - 1)
        return cls(before, np.minimum(before + 1, coarse - 1), (places - before).astype(np.float32))


class _Folded(NamedTuple):
    """A 1×1 convolution and the batch norm behind it as one: x → x · weight + bias."""

    weight_LS: torch.Tensor
    bias_S: Values
    parts: tuple[Sums, ...]
    """Inputs' mean (L,) and covariance (L, L), the convolution (S, L), its outputs' mean, γ and 1 / deviation (S,)."""

    @classmethod
    def of(
        cls, low: torch.Tensor, reduce: torch.Tensor, gain: torch.Tensor, bias: torch.Tensor, norm: nn.BatchNorm2d
    ) -> _Folded:
        rows_PL = low.view(-1, low.shape[3])
        mean_L = rows_PL.mean(0)
        centred_PL = rows_PL - mean_L
        covariance_LL = (centred_PL.t() @ centred_PL).double().numpy() / len(rows_PL)
        weight_SL = reduce.detach().flatten(1).double().numpy()
        means_S = weight_SL @ mean_L.double().numpy()
        variance_S = ((weight_SL @ covariance_LL) * weight_SL).sum(1)
        _move_statistics(norm, means_S, variance_S, len(rows_PL))
        gain_S, scale_S = gain.detach().double().numpy(), 1 / np.sqrt(variance_S + norm.eps)
        folded_SL = weight_SL * (gain_S * scale_S)[:, None]
        bias_S = bias.detach().double().numpy() - means_S * gain_S * scale_S
        parts = (mean_L.double().numpy(), covariance_LL, weight_SL, means_S, gain_S, scale_S)
        return cls(_tensor(folded_SL.T), bias_S.astype(np.float32), parts)

    def slopes(self, to_folded_SL: Sums, to_bias_S: Sums) -> tuple[Sums, Sums, Sums]:
        """Of the convolution (S, L), of γ and of β (S,), from those of the two as one."""
        mean_L, covariance_LL, weight_SL, means_S, gain_S, scale_S = self.parts
        to_product_S = (to_folded_SL * weight_SL).sum(1) - to_bias_S * means_S
        to_variance_S = -0.5 * to_product_S * gain_S * scale_S**3
        product_S1 = (gain_S * scale_S)[:, None]
        to_weight_SL = product_S1 * (to_folded_SL - to_bias_S[:, None] * mean_L)
        to_weight_SL += 2 * to_variance_S[:, None] * (weight_SL @ covariance_LL)
        return to_weight_SL, to_product_S * scale_S, to_bias_S


class _Normed(NamedTuple):
    """A batch norm whose statistics are known: gain and shift a channel, and what its slope needs."""

    gain_shift_mean_3O: Values
    scale_O: Sums
    """1 / deviation."""
    values: int
    """How many there are a channel."""

    @classmethod
    def of(cls, sums_2O: Sums, count: int, gain: torch.Tensor, bias: torch.Tensor, norm: nn.BatchNorm2d) -> _Normed:
        mean_O, squares_O = sums_2O / count
        variance_O = np.maximum(squares_O - mean_O**2, 0)
        _move_statistics(norm, mean_O, variance_O, count)
        scale_O = 1 / np.sqrt(variance_O + norm.eps)
        gain_O = gain.detach().double().numpy() * scale_O
        shift_O = bias.detach().double().numpy() - mean_O * gain_O
        return cls(np.stack([gain_O, shift_O, mean_O]).astype(np.float32), scale_O, count)

    def slope_terms(self, sums_2O: Sums) -> tuple[Values, Values, Values]:
        """(a, b, c) with the input's slope a · g + b · x + c, from the sums of g and of g · (x − mean)."""
        gain_O, _, mean_O = self.gain_shift_mean_3O.astype(np.float64)
        along_O = gain_O * sums_2O[1] * self.scale_O**2 / self.values
        constant_O = -gain_O * sums_2O[0] / self.values + along_O * mean_O
        return gain_O.astype(np.float32), -along_O.astype(np.float32), constant_O.astype(np.float32)


def _move_statistics(norm: nn.BatchNorm2d, mean_C: Sums, variance_C: Sums, count: int) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    with torch.no_grad():
        norm.running_mean.lerp_(_tensor(mean_C), norm.momentum)
        norm.running_var.lerp_(_tensor(variance_C * count / (count - 1)), norm.momentum)
        norm.num_batches_tracked += 1


@jit
def _fill(
    y: int,
    coarse_hwW: Values,
    reduced_HWS: Values,
    bias_S: Values,
    rows: _Between,
    columns: _Between,
    ring: Values,
    line_wW: Values,
) -> None:
    """Row y of the enlarged coarse level and of the reduced one, side by side, into its place of the ring."""
    _, small, wide = coarse_hwW.shape
    shares, narrow = rows.share[y], len(bias_S)
    above, below = coarse_hwW[rows.before[y]], coarse_hwW[rows.after[y]]
    for x in range(small):
        one, other, line = above[x], below[x], line_wW[x]
        for c in range(wide):
            line[c] = one[c] + shares * (other[c] - one[c])
    for x in range(len(columns.share)):
        share, out = columns.share[x], ring[y % 3, x + 1, :wide]
        left, right = line_wW[columns.before[x]], line_wW[columns.after[x]]
        for c in range(wide):
            out[c] = left[c] + share * (right[c] - left[c])
        out, values = ring[y % 3, x + 1, wide:], reduced_HWS[y, x]
        for c in range(narrow):
            value = values[c] + bias_S[c]
            out[c] = np.float32(0) if value <= 0 else value


@jit
def _convolve(
    coarse_hwW: Values,
    reduced_HWS: Values,
    bias_S: Values,
    rows: _Between,
    columns: _Between,
    taps_9C: Values,
    ring: Values,
    out_HWC: Values,
) -> None:
    """The depthwise convolution of both levels of one photo; three rows of them are there at a time."""
    height, width, _ = out_HWC.shape
    line_wW = np.empty(coarse_hwW.shape[1:], np.float32)
    _fill(0, coarse_hwW, reduced_HWS, bias_S, rows, columns, ring, line_wW)
    for y in range(height):
        if y + 1 < height:
            _fill(y + 1, coarse_hwW, reduced_HWS, bias_S, rows, columns, ring, line_wW)
        above, here, below = _place(y - 1, height), _place(y, height), _place(y + 1, height)
        for x in range(width):
            _nine(
                out_HWC[y, x],
                ring[above, x],
                ring[above, x + 1],
                ring[above, x + 2],
                ring[here, x],
                ring[here, x + 1],
                ring[here, x + 2],
                ring[below, x],
                ring[below, x + 1],
                ring[below, x + 2],
                taps_9C,
            )


@jit
def _place(y: int, height: int) -> int:
    """Where row y lies in the ring: in the last place, which is zeros, outside the photo."""
    return y % 3 if 0 <= y < height else 3


@inlined
def _nine(
    out: Values,
    a: Values,
    b: Values,
    c: Values,
    d: Values,
    e: Values,
    f: Values,
    g: Values,
    h: Values,
    i: Values,
    taps_9C: Values,
) -> None:
    """The weighted sum of nine neighbours, row by row: one loop, which keeps the sum in a register."""
    for n in range(len(out)):
        out[n] = (
            a[n] * taps_9C[0, n]
            + b[n] * taps_9C[1, n]
            + c[n] * taps_9C[2, n]
            + d[n] * taps_9C[3, n]
            + e[n] * taps_9C[4, n]
            + f[n] * taps_9C[5, n]
            + g[n] * taps_9C[6, n]
            + h[n] * taps_9C[7, n]
            + i[n] * taps_9C[8, n]
        )


@jit
def _add_moments(values_PO: Values, width: int, sums_2O: Sums) -> None:
    """Sums of the values and of their squares: float32 along a row, float64 over rows."""
    positions, channels = values_PO.shape
    row, squares = np.zeros(channels, np.float32), np.zeros(channels, np.float32)
    sums, all_squares = sums_2O[0], sums_2O[1]
    for start in range(0, positions, width):
        row[:] = 0
        squares[:] = 0
        for p in range(start, start + width):
            values = values_PO[p]
            for c in range(channels):
                row[c] += values[c]
                squares[c] += values[c] * values[c]
        for c in range(channels):
            sums[c] += row[c]
            all_squares[c] += squares[c]


@jit
def _normed_relu(values_PO: Values, gain_shift_mean_3O: Values, out_PO: Values) -> None:
    positions, channels = values_PO.shape
    gain, shift = gain_shift_mean_3O[0], gain_shift_mean_3O[1]
    for p in range(positions):
        values, out = values_PO[p], out_PO[p]
        for o in range(channels):
            value = values[o] * gain[o] + shift[o]
            out[o] = np.float32(0) if value <= 0 else value


@jit
def _cross_entropy(
    logs_KP: Values, shares_KP: Values, labels_P: NDArray[np.integer], unknown: int, share: float
) -> float:
    """The loss of the known positions from log-probabilities; probabilities become slopes of the scores, in place."""
    classes, positions = logs_KP.shape
    loss, weight = 0.0, np.float32(share)
    for k in range(classes):
        shares = shares_KP[k]
        for p in range(positions):
            shares[p] *= weight if labels_P[p] != unknown else np.float32(0)
    for p in range(positions):
        if labels_P[p] != unknown:
            loss -= logs_KP[labels_P[p], p]
            shares_KP[labels_P[p], p] -= weight
    return loss


@jit
def _let_through(
    values_PO: Values,
    gain_shift_mean_3O: Values,
    width: int,
    shares_KP: Values,
    weight_KO: Values,
    slope_PO: Values,
    sums_2O: Sums,
) -> None:
    """Slopes of the scores taken through the classifier and the ReLU; sums of them and of slope · (x − mean)."""
    positions, channels = values_PO.shape
    gain, shift, mean = gain_shift_mean_3O[0], gain_shift_mean_3O[1], gain_shift_mean_3O[2]
    row, along = np.zeros(channels, np.float32), np.zeros(channels, np.float32)
    sums, all_along = sums_2O[0], sums_2O[1]
    for start in range(0, positions, width):
        row[:] = 0
        along[:] = 0
        for p in range(start, start + width):
            values, slope = values_PO[p], slope_PO[p]
            slope[:] = 0
            for k in range(len(weight_KO)):
                push, weight = shares_KP[k, p], weight_KO[k]
                for o in range(channels):
                    slope[o] += push * weight[o]
            for o in range(channels):
                value = values[o]
                through = slope[o] if value * gain[o] + shift[o] > 0 else np.float32(0)
                slope[o] = through
                row[o] += through
                along[o] += through * (value - mean[o])
        for o in range(channels):
            sums[o] += row[o]
            all_along[o] += along[o]


@jit
def _unnormed(fused_PO: Values, slope_PO: Values, a: Values, b: Values, c: Values, out_PO: Values) -> None:
    """The slope before a batch norm: a · slope + b · value + c."""
    positions, channels = fused_PO.shape
    for p in range(positions):
        values, slope, out = fused_PO[p], slope_PO[p], out_PO[p]
        for o in range(channels):
            out[o] = a[o] * slope[o] + b[o] * values[o] + c[o]


@jit
def _unconvolve(
    coarse_hwW: Values,
    reduced_HWS: Values,
    bias_S: Values,
    rows: _Between,
    columns: _Between,
    turned_9C: Values,
    ring: Values,
    slope_HWC: Values,
    to_coarse_hwW: Values,
    to_reduced_HWS: Values,
    to_taps_9C: Sums,
    to_bias_S: Sums,
) -> None:
    """The slopes of one photo's levels and of the taps, from those of the depthwise convolution.

    The taps come turned round: a position's slope is gathered from those of its neighbours.
    """
    height, width, channels = slope_HWC.shape
    wide, narrow = coarse_hwW.shape[2], len(bias_S)
    line_wW = np.empty(coarse_hwW.shape[1:], np.float32)
    to_line_wW, to_row = np.empty_like(line_wW), np.empty(channels, np.float32)
    part_9C, part_S = np.empty_like(turned_9C), np.empty(narrow, np.float32)
    nothing_WC, nothing = np.zeros((width, channels), np.float32), np.zeros(channels, np.float32)
    _fill(0, coarse_hwW, reduced_HWS, bias_S, rows, columns, ring, line_wW)
    for y in range(height):
        if y + 1 < height:
            _fill(y + 1, coarse_hwW, reduced_HWS, bias_S, rows, columns, ring, line_wW)
        part_9C[:] = 0
        part_S[:] = 0
        to_line_wW[:] = 0
        for tap in range(9):
            values_WC, part = ring[_place(y + tap // 3 - 1, height)], part_9C[tap]
            for x in range(width):
                values, slope = values_WC[x + tap % 3], slope_HWC[y, x]
                for c in range(channels):
                    part[c] += values[c] * slope[c]
        here = slope_HWC[y]
        above = slope_HWC[y - 1] if y > 0 else nothing_WC
        below = slope_HWC[y + 1] if y + 1 < height else nothing_WC
        for x in range(width):
            _nine(
                to_row,
                above[x - 1] if x > 0 else nothing,
                above[x],
                above[x + 1] if x + 1 < width else nothing,
                here[x - 1] if x > 0 else nothing,
                here[x],
                here[x + 1] if x + 1 < width else nothing,
                below[x - 1] if x > 0 else nothing,
                below[x],
                below[x + 1] if x + 1 < width else nothing,
                turned_9C,
            )
            share = columns.share[x]
            to_left, to_right = to_line_wW[columns.before[x]], to_line_wW[columns.after[x]]
            for c in range(wide):
                pull = share * to_row[c]
                to_left[c] += to_row[c] - pull
                to_right[c] += pull
            to_reduced, there = to_reduced_HWS[y, x], ring[y % 3, x + 1, wide:]
            for c in range(narrow):
                through = to_row[wide + c] if there[c] > 0 else np.float32(0)
                to_reduced[c] = through
                part_S[c] += through
        share = rows.share[y]
        to_above, to_below = to_coarse_hwW[rows.before[y]], to_coarse_hwW[rows.after[y]]
        for x in range(len(to_line_wW)):
            one, to_one, to_other = to_line_wW[x], to_above[x], to_below[x]
            for c in range(wide):
                pull = share * one[c]
                to_one[c] += one[c] - pull
                to_other[c] += pull
        for tap in range(9):
            for c in range(channels):
                to_taps_9C[tap, c] += part_9C[tap, c]
        for c in range(narrow):
            to_bias_S[c] += part_S[c]
