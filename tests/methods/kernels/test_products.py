"""Products in bfloat16: factors rounded to it, sums in float32; forward and backward; full precision elsewhere."""

import torch
from torch.nn.functional import linear

from methods.kernels.products import are_rounded, product, rounded, rounded_if


def test_only_the_factors_are_rounded() -> None:
    torch.manual_seed(0)
    rows, weight = torch.randn(4, 64, 96, requires_grad=True), torch.randn(32, 96, requires_grad=True)
    slope = torch.randn(4, 64, 32)
    with rounded():
        found = product(rows, weight)
    # Decided forward, and so backward too, where nothing says it any more.
    to_rows, to_weight = torch.autograd.grad(found, (rows, weight), slope)
    short_rows, short_weight, short_slope = (one.detach().bfloat16().double() for one in (rows, weight, slope))
    rounds = torch.backends.mkldnn.is_available() and torch.cpu._is_avx512_bf16_supported()
    exact = found.double(), to_rows.double(), to_weight.double()
    if not rounds:
        short_rows, short_weight, short_slope = (one.detach().double() for one in (rows, weight, slope))
    expected = (
        short_rows @ short_weight.t(),
        short_slope @ short_weight,
        short_slope.flatten(0, 1).t() @ short_rows.flatten(0, 1),
    )
    for one, other in zip(exact, expected, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


def test_nothing_is_rounded_unasked() -> None:
    rows, weight = torch.randn(64, 96), torch.randn(32, 96)
    assert not are_rounded()
    assert torch.equal(product(rows, weight), linear(rows, weight))
    with rounded(), rounded(on=False):
        assert torch.equal(product(rows, weight), linear(rows, weight))
    with rounded_if(True):
        pass
    assert torch.equal(rows @ weight.t(), linear(rows, weight))
