"""Attention between the positions of two photos, unscaled, in three kernels that agree.

`dense` keeps the L×S affinities. `fused` is torch's scaled_dot_product_attention: it keeps none, but makes them once a
direction. `chunked` keeps none either, and makes them for both directions at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, cast

import torch
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad, scaled_dot_product_attention

from methods.networks.chunked_attention import ChunkedCoAttention, chunks

Kernel = Literal["dense", "fused", "chunked"]

DENSE_ENTRIES = 2**19
"""Up to so many affinities a pair of photos, keeping them is faster on a CPU than making them twice."""


class Mixed(NamedTuple):
    """For each position of a photo, the other photo's values, weighted by attention."""

    m_BLV: torch.Tensor
    n_BSV: torch.Tensor


def kernel_for(positions_m: int, positions_n: int, device_type: str) -> Kernel:
    """The kernel for a pair of photos; measured on 1 and 2 CPU cores by benchmarks/coattention_head.py.

    On CPUs the fused kernel loses at every size: it makes the affinities once a direction, with values as wide as keys.
    """
    if device_type == "cuda":
        return "fused"
    return "dense" if positions_m * positions_n <= DENSE_ENTRIES else "chunked"


def attend(
    query_BLC: torch.Tensor, key_BSC: torch.Tensor, value_BSV: torch.Tensor, kernel: Kernel | None = None
) -> torch.Tensor:
    """softmax(Q Kᵀ) V → (B, L, V), softmax over the S keys, no scaling; `kernel` None: the rule's.

    Float32 at least, as in `co_attend`. For inference: under autograd the chunked kernel would keep all its chunks.
    """
    kernel = kernel or _rule(query_BLC, key_BSC)
    with torch.autocast(query_BLC.device.type, enabled=False):
        query_BLC, key_BSC, value_BSV = wide(query_BLC), wide(key_BSC), wide(value_BSV)
        if kernel == "fused":
            return _fused(query_BLC, key_BSC, value_BSV)
        parts = chunks(query_BLC.shape[1], key_BSC) if kernel == "chunked" else [slice(None)]
        key_BCS = key_BSC.transpose(1, 2)
        return torch.cat([(query_BLC[:, rows] @ key_BCS).softmax(2) @ value_BSV for rows in parts], 1)


def co_attend(
    query_BLC: torch.Tensor,
    key_BSC: torch.Tensor,
    value_m_BLV: torch.Tensor,
    value_n_BSV: torch.Tensor,
    kernel: Kernel | None = None,
) -> Mixed:
    """Both directions of one affinity P = Q Kᵀ: softmax over n's positions times V_n, and over m's times V_m.

    `kernel` None: the rule's. Affinities are unscaled sums over all channels, for which bfloat16 would be too coarse:
    they are float32 at least by every kernel, also under autocast.
    """
    kernel = kernel or _rule(query_BLC, key_BSC)
    with torch.autocast(query_BLC.device.type, enabled=False):
        query_BLC, key_BSC = wide(query_BLC), wide(key_BSC)
        value_m_BLV, value_n_BSV = wide(value_m_BLV), wide(value_n_BSV)
        if kernel == "fused":
            return Mixed(_fused(query_BLC, key_BSC, value_n_BSV), _fused(key_BSC, query_BLC, value_m_BLV))
        both = _chunked if kernel == "chunked" else _dense
        return Mixed(*both(query_BLC, key_BSC, value_m_BLV, value_n_BSV))


@torch.no_grad()
def entropy(query_BLC: torch.Tensor, key_BSC: torch.Tensor) -> torch.Tensor:
    """Mean over the L positions of the entropy of softmax(Q Kᵀ), (B,) in nats: 0 to log S."""
    parts = [torch.special.entr(rows.softmax(2)).sum(2) for rows in _affinity_rows(query_BLC, key_BSC)]
    return torch.cat(parts, 1).mean(1)


@torch.no_grad()
def log_sum_exp(query_BLC: torch.Tensor, key_BSC: torch.Tensor) -> torch.Tensor:
    """log Σ exp(Q Kᵀ) over the S keys, (B, L): a soft maximum of each position's affinities; no gradient."""
    return torch.cat([rows.logsumexp(2) for rows in _affinity_rows(query_BLC, key_BSC)], 1)


def _affinity_rows(query_BLC: torch.Tensor, key_BSC: torch.Tensor) -> Iterator[torch.Tensor]:
    """Q Kᵀ in float32 at least, some of its L rows at a time: (B, rows, S)."""
    query_BLC, key_BCS = wide(query_BLC), wide(key_BSC).transpose(1, 2)
    for rows in chunks(query_BLC.shape[1], key_BSC):
        with torch.autocast(query_BLC.device.type, enabled=False):
            rows_BRS = query_BLC[:, rows] @ key_BCS
        yield rows_BRS


def _rule(query_BLC: torch.Tensor, key_BSC: torch.Tensor) -> Kernel:
    return kernel_for(query_BLC.shape[1], key_BSC.shape[1], query_BLC.device.type)


def wide(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in float32, or as it is where that is wider."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _fused(query_BLC: torch.Tensor, key_BSC: torch.Tensor, value_BSV: torch.Tensor) -> torch.Tensor:
    width = value_BSV.shape[2]
    # torch would keep the affinities of strided rows, and of values that are not as wide as keys (CPU), or multiples
    # of 8 (CUDA).
    wanted = -(-width // 8) * 8 if value_BSV.is_cuda else max(width, key_BSC.shape[2])
    rows = query_BLC, key_BSC, pad(value_BSV, (0, wanted - width))
    query, key, value = (tensor.contiguous()[:, None] for tensor in rows)
    return scaled_dot_product_attention(query, key, value, scale=1.0)[:, 0, :, :width]


def _dense(
    query_BLC: torch.Tensor, key_BSC: torch.Tensor, value_m_BLV: torch.Tensor, value_n_BSV: torch.Tensor
) -> Mixed:
    affinity_BLS = cast(torch.Tensor, _Affinities.apply(query_BLC, key_BSC))
    return Mixed(affinity_BLS.softmax(2) @ value_n_BSV, affinity_BLS.softmax(1).transpose(1, 2) @ value_m_BLV)


class _Affinities(torch.autograd.Function):
    """Q Kᵀ, (B, L, S), whose gradients have the layout of Q and K.

    torch makes K's transposed, and every sum with another gradient of the same features is then a slow one.
    """

    @staticmethod
    def forward(ctx: Any, query_BLC: torch.Tensor, key_BSC: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(query_BLC, key_BSC)
        return query_BLC @ key_BSC.transpose(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope_BLS: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Neither is made where it is not asked for, as of frozen features."""
        query_BLC, key_BSC = ctx.saved_tensors
        to_query = to_key = None
        with torch.autocast(slope_BLS.device.type, enabled=False):
            if ctx.needs_input_grad[0]:
                to_query = slope_BLS @ key_BSC
            if ctx.needs_input_grad[1]:
                to_key = slope_BLS.transpose(1, 2) @ query_BLC
        return to_query, to_key


_chunked = cast(Callable[..., tuple[torch.Tensor, torch.Tensor]], ChunkedCoAttention.apply)
