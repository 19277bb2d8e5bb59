"""Batch norm with ReLU against the layer of torch in float64: values, gradients and running statistics."""

import pytest
import torch
from torch import nn

from methods.kernels.norm_relu import norm_relu


def layer(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    return norm


@pytest.mark.parametrize("shape", [(3, 5, 7, 4), (8, 64, 14, 14), (2, 17, 1, 1)])
@pytest.mark.parametrize("threads", [1, 2])
def test_values_gradients_and_statistics(shape: tuple[int, ...], threads: int) -> None:
    torch.manual_seed(0)
    norm, values = layer(shape[1]), (torch.randn(shape) * 2 + 3).to(memory_format=torch.channels_last)
    exact, slope = layer(shape[1]), torch.randn(shape)
    exact.load_state_dict(norm.state_dict())
    exact.double()
    inputs, exact_inputs = values.requires_grad_(), values.detach().double().requires_grad_()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = norm_relu(inputs, norm)
        (found * slope).sum().backward()
    finally:
        torch.set_num_threads(before)
    expected = exact(exact_inputs).relu()
    (expected * slope.double()).sum().backward()
    torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=1e-5)
    for one, other in zip(norm.parameters(), exact.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(one.grad.double(), other.grad, atol=1e-4, rtol=1e-4)
    assert inputs.grad is not None
    assert exact_inputs.grad is not None
    torch.testing.assert_close(inputs.grad.double(), exact_inputs.grad, atol=1e-4, rtol=1e-3)
    for name, buffer in norm.named_buffers():
        torch.testing.assert_close(buffer.double(), exact.get_buffer(name).double(), atol=1e-5, rtol=1e-5)


def test_the_layers_own_code_runs_where_a_gradient_is_wanted_of_a_trained_layer() -> None:
    norm, values = layer(6).eval(), torch.randn(2, 6, 3, 3)
    assert torch.equal(norm_relu(values, norm), norm(values).relu())


@pytest.mark.parametrize("threads", [1, 2])
def test_a_trained_layer_is_applied_by_its_running_statistics(threads: int) -> None:
    torch.manual_seed(0)
    norm, values = layer(6), torch.randn(3, 6, 5, 4) * 2 + 3
    norm(values)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            found = norm_relu(values, norm.eval())
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found, norm(values).relu().detach(), atol=1e-6, rtol=1e-6)


def test_a_single_value_a_channel_has_no_statistics() -> None:
    with pytest.raises(ValueError, match="more than 1 value"):
        norm_relu(torch.randn(1, 4, 1, 1), layer(4))


def test_what_is_no_number_stays_none() -> None:
    values = torch.randn(2, 4, 3, 3)
    values[1, 2, 0, 0] = torch.nan
    found = norm_relu(values, layer(4))
    assert bool(found[:, 2].isnan().all())
    assert not bool(found[:, 1].isnan().any())
