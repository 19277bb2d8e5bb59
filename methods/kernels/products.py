"""Products of matrices in bfloat16 with sums in float32, for processors that multiply bfloat16 in hardware (AMX).

Only the factors are rounded, to 8 bits of mantissa; what goes in and comes out is float32, and everything between
products stays as it was. Autocast on a CPU also stores layers' outputs in bfloat16, which makes all that is no product
slower. Whether products are rounded is decided forward, and holds for the gradient too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.autograd.function import once_differentiable

__all__ = ["are_rounded", "product", "rounded", "rounded_if"]

_rounded = False


@contextmanager
def rounded(on: bool = True) -> Iterator[None]:
    """While it is entered, functions that ask `are_rounded` multiply in bfloat16."""
    global _rounded
    before, _rounded = _rounded, on
    try:
        yield
    finally:
        _rounded = before


def are_rounded() -> bool:
    """Whether products are to be made in bfloat16."""
    return _rounded


@contextmanager
def rounded_if(on: bool) -> Iterator[None]:
    """torch's own products of float32 matrices on a CPU round their factors inside, where `on`."""
    how: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined] # the stubs lack it
    before, how.fp32_precision = how.fp32_precision, "bf16" if on else "ieee"
    try:
        yield
    finally:
        how.fp32_precision = before


def product(rows_PC: torch.Tensor, weight_OC: torch.Tensor) -> torch.Tensor:
    """`rows_PC @ weight_OC.t()`, rounded where products are to be, with a gradient made in the same way."""
    if not are_rounded():
        return torch.nn.functional.linear(rows_PC, weight_OC)
    found: torch.Tensor = _Product.apply(rows_PC, weight_OC)
    return found


class _Product(torch.autograd.Function):
    """Rows may have more than one axis in front of their channels."""

    @staticmethod
    def forward(ctx: Any, rows_PC: torch.Tensor, weight_OC: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(rows_PC, weight_OC)
        with rounded_if(True):
            return rows_PC @ weight_OC.t()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope_PO: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows_PC, weight_OC = ctx.saved_tensors
        to_rows = to_weight = None
        with rounded_if(True):
            if ctx.needs_input_grad[0]:
                to_rows = slope_PO @ weight_OC
            if ctx.needs_input_grad[1]:
                to_weight = slope_PO.flatten(0, -2).t() @ rows_PC.flatten(0, -2)
        return to_rows, to_weight
