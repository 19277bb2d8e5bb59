"""Batch norm and gathering over the processes of a group, with gradients, on CPU and GPU alike.

`torch.nn.SyncBatchNorm` wants a GPU and its own class of layer. Here the function under every batch norm is replaced
while a network is trained, so that layers keep their classes (timm's has its activation within) and their names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from methods.reducing import reduced

if TYPE_CHECKING:
    from methods.sharing import Share


class SynchronisedBatchNorm(TorchFunctionMode):
    """While it is entered, batch norms in training mode take the statistics of the batches of all processes.

    Those that use their stored statistics stay as they are. All processes run the same layers in the same order.
    """

    def __init__(self, share: Share) -> None:
        super().__init__()
        self._share = share

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Every function of torch passes here; all but batch norm goes on its way."""
        if func is functional.batch_norm:
            return _batch_norm(self._share, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _batch_norm(
    share: Share,
    input: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor:
    """`torch.nn.functional.batch_norm`, whose parameters these are."""
    if not training:
        return functional.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    mean_C, variance_C, count = statistics(share, input.detach())
    if count < 2:
        raise ValueError(f"one value a channel in all processes together: batch norm needs company ({input.shape})")
    if running_mean is not None and running_var is not None:
        running_mean.lerp_(mean_C.to(running_mean.dtype), momentum)
        running_var.lerp_((variance_C * (count / (count - 1))).to(running_var.dtype), momentum)
    scale_C = (variance_C + eps).rsqrt().float()
    normalised: torch.Tensor = _Normalised.apply(input, mean_C.float(), scale_C, count)
    if weight is not None:
        normalised = normalised * _per_channel(weight, input)
    if bias is not None:
        normalised = normalised + _per_channel(bias, input)
    return normalised.to(input.dtype)


def statistics(share: Share, values_BC: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Mean and (biased) variance of each channel over all processes in float64, and how many values that is.

    Each process's mean and squared deviations are joined (Chan, Golub & LeVeque 1979), which squares of large values
    do not spoil.
    """
    channels, here = values_BC.shape[1], values_BC.numel() / values_BC.shape[1]
    variance_C, mean_C = torch.var_mean(values_BC.float(), _others(values_BC), correction=0)
    row = torch.cat([mean_C.double(), variance_C.double() * here, mean_C.new_tensor([here], dtype=torch.float64)])
    rows_R = row.new_zeros(share.size, 2 * channels + 1)
    rows_R[share.rank] = row
    rows_R = share.total(rows_R)
    means_RC, deviations_RC, counts_R1 = rows_R[:, :channels], rows_R[:, channels:-1], rows_R[:, -1:]
    count = float(counts_R1.sum())
    joined_C = (means_RC * counts_R1).sum(0) / count
    variance_C = (deviations_RC + counts_R1 * (means_RC - joined_C) ** 2).sum(0) / count
    return joined_C, variance_C, count


class _Normalised(Function):
    """(x − mean) · scale in float32, where mean and scale come from x itself on all processes."""

    @staticmethod
    def forward(
        ctx: Any, values_BC: torch.Tensor, mean_C: torch.Tensor, scale_C: torch.Tensor, count: float
    ) -> torch.Tensor:
        normalised = (values_BC.float() - _per_channel(mean_C, values_BC)) * _per_channel(scale_C, values_BC)
        ctx.save_for_backward(normalised, scale_C)
        ctx.count, ctx.dtype = count, values_BC.dtype
        return normalised

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope_BC: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """scale · (slope − its mean − x̂ · the mean of slope · x̂), means over all processes."""
        normalised, scale_C = ctx.saved_tensors
        others = _others(slope_BC)
        sums = torch.stack([slope_BC.sum(others), (slope_BC * normalised).sum(others)])
        mean_C, along_C = reduced(sums) / ctx.count
        slope_BC = slope_BC - _per_channel(mean_C, slope_BC) - normalised * _per_channel(along_C, slope_BC)
        return (slope_BC * _per_channel(scale_C, slope_BC)).to(ctx.dtype), None, None, None


class _Gathered(Function):
    """Slices of all processes, one after the other; a slice's gradient is the sum over the processes."""

    @staticmethod
    def forward(ctx: Any, values_BX: torch.Tensor, here: slice, items: int) -> torch.Tensor:
        ctx.here = here
        whole = values_BX.new_zeros(items, *values_BX.shape[1:])
        whole[here] = values_BX
        return reduced(whole)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return reduced(slope)[ctx.here], None, None


def gathered(values_BX: torch.Tensor, here: slice, items: int) -> torch.Tensor:
    """The first axis of the whole batch, whose items `here` are this process's; see `Share.gathered`."""
    whole: torch.Tensor = _Gathered.apply(values_BX, here, items)
    return whole


def _others(values_BC: torch.Tensor) -> tuple[int, ...]:
    """All axes but the channels'."""
    return (0, *range(2, values_BC.ndim))


def _per_channel(values_C: torch.Tensor, like_BC: torch.Tensor) -> torch.Tensor:
    return values_C.view(1, -1, *[1] * (like_BC.ndim - 2))
