"""Sums and maxima over the processes that train one network together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

__all__ = ["PeerLost", "reduced"]


class PeerLost(RuntimeError):
    """Another process of the group ended, or failed: the reason is told there."""


def reduced(values: torch.Tensor, how: Literal["sum", "max"] = "sum") -> torch.Tensor:
    """A new tensor: the sum or maximum over all processes of torch's default group, without a gradient.

    Raises PeerLost where another process is gone.
    """
    import torch
    from torch import distributed

    result = values.detach().clone(memory_format=torch.contiguous_format)
    try:
        distributed.all_reduce(result, distributed.ReduceOp.MAX if how == "max" else distributed.ReduceOp.SUM)
    except RuntimeError as error:
        raise PeerLost(str(error)) from error
    return result
