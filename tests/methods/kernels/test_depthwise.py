"""Depthwise convolutions with gaps against torch: values and both gradients, odd sizes, several threads."""

import pytest
import torch
from torch.nn.functional import conv2d

from methods.kernels.depthwise import depthwise


@pytest.mark.parametrize(("shape", "gap"), [((3, 5, 7, 4), 2), ((2, 320, 14, 14), 9), ((2, 16, 6, 5), 6)])
@pytest.mark.parametrize("threads", [1, 2])
def test_values_and_gradients(shape: tuple[int, ...], gap: int, threads: int) -> None:
    torch.manual_seed(0)
    values, weight = torch.randn(shape, requires_grad=True), torch.randn(shape[1], 1, 3, 3, requires_grad=True)
    slope, before = torch.randn(shape), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = depthwise(values, weight, gap)
        gradients = torch.autograd.grad(found, (values, weight), slope)
    finally:
        torch.set_num_threads(before)
    expected = conv2d(values, weight, padding=gap, dilation=gap, groups=shape[1])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for one, other in zip(gradients, torch.autograd.grad(expected, (values, weight), slope), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
