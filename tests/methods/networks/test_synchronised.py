"""Batch norm over several processes against torch's on the whole batch: outputs, gradients, running statistics."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from methods.networks.synchronised import SynchronisedBatchNorm, statistics
from methods.sharing import ALONE, Share

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "2d": lambda: nn.BatchNorm2d(4),
    "1d": lambda: nn.BatchNorm1d(4),
    "without parameters": lambda: nn.BatchNorm2d(4, affine=False),
    "without running statistics": lambda: nn.BatchNorm2d(4, track_running_stats=False),
    "cumulative": lambda: nn.BatchNorm2d(4, momentum=None),
    "timm's, with activation": lambda: BatchNormAct2d(4),
}


def made(name: str) -> nn.Module:
    """The layer with parameters that do something."""
    torch.manual_seed(0)
    layer = LAYERS[name]()
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    return layer


def result(layer: nn.Module, values: torch.Tensor, slopes: torch.Tensor) -> list[np.ndarray]:
    """Output, gradients of input and parameters, buffers, after two passes."""
    values = values.clone().requires_grad_()
    layer(values.detach() * 2)
    output = layer(values)
    (output * slopes).sum().backward()
    assert values.grad is not None
    grads = [parameter.grad for parameter in layer.parameters()]
    return [each.detach().numpy() for each in (output, values.grad, *grads, *layer.buffers())]


@pytest.mark.parametrize("name", list(LAYERS))
def test_as_torch_on_the_whole_batch(name: str, together: Callable[..., Any]) -> None:
    rng = torch.Generator().manual_seed(0)
    shape = (7, 4) if name == "1d" else (7, 4, 5, 3)
    values, slopes = torch.randn(shape, generator=rng) * 3 + 50, torch.randn(shape, generator=rng)
    expected = result(made(name), values, slopes)

    def work(share: Share) -> list[np.ndarray]:
        with SynchronisedBatchNorm(share):
            return result(made(name), share.of(values), share.of(slopes))

    first, second, third = together(3, work)
    parameters = len(list(made(name).parameters()))
    for index, whole in enumerate(expected):
        if index < 2:
            assert np.allclose(np.concatenate([first[index], second[index], third[index]]), whole, atol=1e-5)
        elif index < 2 + parameters:
            assert np.allclose(first[index] + second[index] + third[index], whole, atol=1e-5, rtol=1e-5)
        else:
            assert np.allclose(first[index], whole, rtol=1e-5) and (first[index] == third[index]).all()


def test_statistics_of_large_values() -> None:
    """A deviation of 1 around 10,000: a mean of squares in float32 would lose it."""
    values = 1e4 + torch.randn(64, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    mean_C, variance_C, count = statistics(ALONE, values)
    assert count == 64 * 64
    assert np.allclose(mean_C, values.double().mean((0, 2, 3)), rtol=1e-7)
    assert np.allclose(variance_C, values.double().var((0, 2, 3), correction=0), rtol=1e-3)


def test_layers_that_do_not_train_and_other_functions_are_left_alone() -> None:
    layer, values = nn.BatchNorm2d(3).eval(), torch.randn(2, 3, 4, 4)
    with SynchronisedBatchNorm(Share(0, 2)):
        assert torch.equal(layer(values), values / (1 + 1e-5) ** 0.5)
        assert torch.equal(torch.relu(values), values.clamp_min(0))


def test_low_precision_keeps_its_type_and_float32_statistics() -> None:
    layer, values = nn.BatchNorm2d(3), torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with SynchronisedBatchNorm(ALONE):
        output = layer(values.bfloat16())
    assert output.dtype == torch.bfloat16
    assert np.allclose(output.float().detach(), nn.BatchNorm2d(3)(values).detach(), atol=0.03)


def test_one_value_in_all_processes_is_refused() -> None:
    with SynchronisedBatchNorm(ALONE), pytest.raises(ValueError, match="batch norm needs company"):
        nn.BatchNorm1d(3)(torch.zeros(1, 3))
