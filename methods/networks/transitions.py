"""Many steps of a random walk on the pixel grid, by few products with one matrix: compiled loops, or a sparse one.

A walk of n steps is T^n · maps. T's eigenvalues lie in [−1, 1], since A is symmetric and T is A divided by its sums;
there x^n is within 1e-12 of a polynomial of degree ≈ 7√n: 256 steps take 112 products, not 256, and are as exact.
On CPUs it is compiled loops over shifted rows of the grid, where numba can be had. Else it is torch's CSR with 32-bit
indices: of it, 64-bit ones, scipy's CSR and torch's shifted slices it was the fastest at every size tried (1.2 to 1.8
times the next); torch has it on CUDA too (untried). T and iterates are float64.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch
from torch.nn.functional import pad

from methods.kernels import grid_walk
from methods.networks.pixel_pairs import Pairs, windows

TAIL = 1e-12
"""Weight of the polynomial's terms that are left out: the share of the maps' height by which a walk may be off."""
LANES = 4
"""Maps are walked in multiples of so many, the rest being 0: three alone take a CPU 1.7 times as long as four."""


def walk(maps_BCHW: torch.Tensor, affinity_BP: torch.Tensor, pairs: Sequence[Pairs], steps: int) -> torch.Tensor:
    """Maps (B, C, h, w) after so many steps along the affinities (B, P) of `pairs`, float64.

    T is the symmetric matrix of affinities with a diagonal of ones, divided by its column sums: each pixel becomes a
    mean of the pixels it is paired with, both ways, and of itself.
    """
    if grid_walk.walk_here(maps_BCHW, affinity_BP):
        return grid_walk.walked(maps_BCHW, affinity_BP, windows(pairs), chebyshev_weights(steps))
    images, channels, height, width = maps_BCHW.shape
    matrix = transition(affinity_BP, pairs, images, height, width)
    rows_NC = maps_BCHW.double().permute(0, 2, 3, 1).reshape(-1, channels)
    walked_NC = power(matrix, pad(rows_NC, (0, -channels % LANES)), steps)[:, :channels]
    return walked_NC.reshape(images, height, width, channels).permute(0, 3, 1, 2).contiguous()


def power(matrix: torch.Tensor, rows_NC: torch.Tensor, steps: int) -> torch.Tensor:
    """matrix^steps · rows by Chebyshev polynomials, for eigenvalues in [−1, 1] (Sachdeva & Vishnoi 2014, section 3)."""
    weights = chebyshev_weights(steps)
    before_NC, now_NC = rows_NC, matrix @ rows_NC
    total_NC = weights[0] * before_NC + weights[1] * now_NC
    for weight in weights[2:]:
        before_NC, now_NC = now_NC, torch.addmm(before_NC, matrix, now_NC, beta=-1, alpha=2)
        if weight:
            total_NC.add_(now_NC, alpha=weight)
    return total_NC


def chebyshev_weights(power: int) -> list[float]:
    """The numbers w with x^power = Σ_k w_k T_k(x), without those at the end that together weigh less than TAIL.

    w_k is the chance that a walk of so many steps ±1 ends at ±k, since x · T_k = ½ T_(k−1) + ½ T_(k+1).
    """
    weights = [0.0] * (max(power, 1) + 1)
    for k in range(power % 2, power + 1, 2):
        weights[k] = math.comb(power, (power - k) // 2) / 2**power * (2 if k else 1)
    left_out = 0.0
    while len(weights) > 2 and left_out + weights[-1] < TAIL:
        left_out += weights.pop()
    return weights


def transition(affinity_BP: torch.Tensor, pairs: Sequence[Pairs], images: int, height: int, width: int) -> torch.Tensor:
    """The images' matrices (h·w × h·w each) along the diagonal of one CSR matrix, float64, rows summing to 1.

    Every row has an entry for every offset, 0 where there is no pair: so no entry is searched for or sorted.
    """
    planes_KBHW = affinity_BP.new_zeros(2 * len(pairs) + 1, images, height, width)
    planes_KBHW[len(pairs)] = 1
    first = 0
    for k, one in enumerate(pairs, 1):
        plane_Bhw = planes_KBHW[len(pairs) + k][:, *one.source]
        size = plane_Bhw[0].numel()
        plane_Bhw[:] = affinity_BP[:, first : first + size].view_as(plane_Bhw)
        planes_KBHW[len(pairs) - k][:, *one.target] = plane_Bhw
        first += size
    planes_KBHW /= planes_KBHW.sum(0)
    shifts = [dy * width + dx for dy, dx in (one.offset for one in pairs)]
    shift_K = torch.tensor([-s for s in reversed(shifts)] + [0, *shifts], dtype=torch.int32, device=affinity_BP.device)
    return _csr(planes_KBHW.flatten(1).T.contiguous(), shift_K, images, height * width)


def _csr(values_NK: torch.Tensor, shift_K: torch.Tensor, images: int, pixels: int) -> torch.Tensor:
    pixel_L = torch.arange(pixels, dtype=torch.int32, device=values_NK.device)
    column_LK = (pixel_L[:, None] + shift_K).clamp_(0, pixels - 1)
    start_B = pixels * torch.arange(images, dtype=torch.int32, device=values_NK.device)
    column_BLK = column_LK + start_B[:, None, None]
    row_starts = torch.arange(0, values_NK.numel() + 1, len(shift_K), dtype=torch.int32, device=values_NK.device)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        return torch.sparse_csr_tensor(
            row_starts, column_BLK.flatten(), values_NK.flatten(), (len(values_NK),) * 2, check_invariants=False
        )
