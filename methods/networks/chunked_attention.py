"""Attention in both directions of one affinity matrix, made a few rows at a time, and again in the backward pass.

The rows of a chunk are whole, so theirs is a plain softmax; the columns' one is gathered chunk by chunk with a running
maximum and sum (Milakov & Gimelshein 2018, arXiv 1805.02867).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.autograd.function import once_differentiable

CHUNK_ENTRIES = 2**20
"""Affinities in one chunk over the whole batch (4 MB in float32): what a core's cache holds."""


def chunks(positions: int, keys_BSC: torch.Tensor) -> Iterator[slice]:
    """Slices of `positions` rows, each with at most CHUNK_ENTRIES affinities, or one row, to all keys of the batch."""
    rows = max(1, CHUNK_ENTRIES // (keys_BSC.shape[0] * keys_BSC.shape[1]))
    return (slice(start, start + rows) for start in range(0, positions, rows))


class ChunkedCoAttention(torch.autograd.Function):
    """(query_BLC, key_BSC, value_m_BLV, value_n_BSV) → (mixed_m_BLV, mixed_n_BSV), all of one floating type."""

    @staticmethod
    def forward(
        ctx: Any,
        query_BLC: torch.Tensor,
        key_BSC: torch.Tensor,
        value_m_BLV: torch.Tensor,
        value_n_BSV: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Values of the other side; for the backward pass at most one chunk is kept beside them and the inputs."""
        mixed_m_BLV = torch.empty_like(value_m_BLV)
        counted_m = _with_column(value_m_BLV, value_m_BLV.new_ones(1, 1, 1))
        peak_B1S = query_BLC.new_full((key_BSC.shape[0], 1, key_BSC.shape[1]), -torch.inf)
        total = query_BLC.new_zeros(*key_BSC.shape[:2], counted_m.shape[2])
        parts = list(chunks(query_BLC.shape[1], key_BSC))
        for rows in parts:
            affinity = query_BLC[:, rows] @ key_BSC.transpose(1, 2)
            mixed_m_BLV[:, rows] = affinity.softmax(2) @ value_n_BSV
            higher_B1S = torch.maximum(peak_B1S, affinity.amax(1, keepdim=True))
            total *= (peak_B1S - higher_B1S).exp_().transpose(1, 2)
            peak_B1S = higher_B1S
            total += (affinity - peak_B1S).exp_().transpose(1, 2) @ counted_m[:, rows]
        sums_BS1 = total[..., -1:]
        mixed_n_BSV = total[..., :-1] / sums_BS1
        log_sums_B1S = peak_B1S + sums_BS1.log().transpose(1, 2)
        ctx.save_for_backward(query_BLC, key_BSC, value_m_BLV, value_n_BSV, mixed_m_BLV, mixed_n_BSV, log_sums_B1S)
        ctx.only_chunk = affinity if len(parts) == 1 else None
        return mixed_m_BLV, mixed_n_BSV

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope_m_BLV: torch.Tensor, slope_n_BSV: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """A softmax A takes dA to A ∘ (dA − Σ A ∘ dA); the sum is slope · mixed."""
        query_BLC, key_BSC, value_m_BLV, value_n_BSV, mixed_m_BLV, mixed_n_BSV, log_sums_B1S = ctx.saved_tensors
        # One more column makes the product below dA − Σ A ∘ dA, at no further pass over the chunk.
        one = query_BLC.new_ones(1, 1, 1)
        centred_m = _with_column(slope_m_BLV, -(slope_m_BLV * mixed_m_BLV).sum(2, keepdim=True))
        centred_n = _with_column(slope_n_BSV, -(slope_n_BSV * mixed_n_BSV).sum(2, keepdim=True))
        counted_m, counted_n = _with_column(value_m_BLV, one), _with_column(value_n_BSV, one)
        to_query, to_value_m = torch.empty_like(query_BLC), torch.empty_like(value_m_BLV)
        # A frozen backbone's features want no gradient; theirs would be a quarter of the work.
        to_key = torch.zeros_like(key_BSC) if ctx.needs_input_grad[1] else None
        to_value_n = torch.zeros_like(value_n_BSV)
        with torch.autocast(query_BLC.device.type, enabled=False):
            for rows in chunks(query_BLC.shape[1], key_BSC):
                affinity = ctx.only_chunk
                if affinity is None:
                    affinity = query_BLC[:, rows] @ key_BSC.transpose(1, 2)
                over_n = affinity.softmax(2)
                over_m = (affinity - log_sums_B1S).exp_()
                to_value_n += over_n.transpose(1, 2) @ slope_m_BLV[:, rows]
                to_value_m[:, rows] = over_m @ slope_n_BSV
                to_affinity = over_n.mul_(centred_m[:, rows] @ counted_n.transpose(1, 2))
                to_affinity.addcmul_(over_m, counted_m[:, rows] @ centred_n.transpose(1, 2))
                to_query[:, rows] = to_affinity @ key_BSC
                if to_key is not None:
                    to_key += to_affinity.transpose(1, 2) @ query_BLC[:, rows]
        return to_query, to_key, to_value_m, to_value_n


def _with_column(rows_BLV: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    return torch.cat([rows_BLV, column.expand(*rows_BLV.shape[:2], 1)], 2)
