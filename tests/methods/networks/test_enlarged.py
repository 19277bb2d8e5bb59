"""A separable convolution of an enlarged map, made on the small grid, against the layers one after the other."""

import pytest
import torch
from torch.nn.functional import conv2d, interpolate

from methods.networks.enlarged import add_of_enlarged, pays

SIZES = [((3, 2), (13, 9)), ((1, 5), (4, 20)), ((4, 4), (4, 4)), ((14, 14), (56, 56))]
Tensors = tuple[torch.Tensor, ...]


def tensors(small: tuple[int, int], large: tuple[int, int], dtype: torch.dtype) -> Tensors:
    torch.manual_seed(0)
    shapes = ((2, 6, *large), (2, 5, *small), (5, 1, 3, 3), (6, 5, 1, 1))
    return tuple(torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes)


def layers(total: torch.Tensor, small: torch.Tensor, each: torch.Tensor, across: torch.Tensor) -> torch.Tensor:
    large = interpolate(small, total.shape[2:], mode="bilinear", align_corners=True)
    return total + conv2d(conv2d(large, each, padding=1, groups=len(each)), across)


@pytest.mark.parametrize(("small", "large"), SIZES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-5)])
def test_values_and_gradients(
    small: tuple[int, int], large: tuple[int, int], dtype: torch.dtype, tolerance: float
) -> None:
    inputs = tensors(small, large, dtype)
    exact = tuple(one.detach().double().requires_grad_() for one in inputs)
    found, expected = add_of_enlarged(*inputs), layers(*exact)
    slope = torch.randn(expected.shape, dtype=torch.float64)
    pairs = [(found.detach(), expected.detach())]
    pairs += zip(
        torch.autograd.grad(found, inputs, slope.to(dtype)), torch.autograd.grad(expected, exact, slope), strict=True
    )
    for one, other in pairs:
        assert one.dtype == dtype
        torch.testing.assert_close(one.double(), other, atol=tolerance * float(other.abs().max()), rtol=0)


def test_the_total_stays_as_it_was() -> None:
    inputs = tensors((3, 2), (13, 9), torch.float32)
    before = inputs[0].detach().clone()
    add_of_enlarged(*inputs)
    assert torch.equal(inputs[0], before)


def test_it_pays_where_the_large_grid_has_more_than_nine_times_the_positions() -> None:
    small = torch.zeros(1, 5, 4, 4)
    assert pays(small, (16, 16))
    assert not pays(small, (12, 12))
    assert pays(small, (12, 13))
    assert not pays(small.to("meta"), (16, 16))
