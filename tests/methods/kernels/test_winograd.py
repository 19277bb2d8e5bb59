"""Convolutions in fewer multiplications, beside torch's own in float64."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

from methods.kernels import winograd
from methods.kernels.winograd import convolution


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def layer(inputs: int, outputs: int, bias: bool = False, **changes: object) -> nn.Conv2d:
    torch.manual_seed(0)
    made = nn.Conv2d(inputs, outputs, 3, bias=bias, **({"padding": 1} | changes))  # type: ignore[arg-type]
    return made.to(memory_format=torch.channels_last)


def off(found: torch.Tensor | None, expected: torch.Tensor | None) -> float:
    assert found is not None
    assert expected is not None
    return float((found.detach() - expected.detach()).norm() / expected.detach().norm())


@pytest.mark.parametrize("shape", [(9, 32, 14, 14), (17, 40, 7, 13), (5, 33, 20, 16), (64, 32, 1, 3)])
@pytest.mark.parametrize("bias", [False, True])
def test_values_and_gradients_are_those_of_the_plain_sum(
    shape: tuple[int, ...], bias: bool, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At sides that tiles of 5 do not fill too; in parts of which the last is smaller than the others."""
    monkeypatch.setattr(winograd, "TILES_TOGETHER", 40)
    ours = layer(shape[1], 48, bias)
    images = torch.randn(shape).to(memory_format=torch.channels_last).requires_grad_()
    slope = torch.randn(shape[0], 48, *shape[2:])
    assert winograd._pays(images, ours)
    found = convolution(images, ours)
    found.backward(slope)
    exact_images = images.detach().double().requires_grad_()
    exact_weight = ours.weight.detach().double().requires_grad_()
    expected = conv2d(exact_images, exact_weight, padding=1)
    expected.backward(slope.double())
    if ours.bias is not None:
        expected = expected + ours.bias.double()[:, None, None]
        torch.testing.assert_close(ours.bias.grad, slope.sum((0, 2, 3)), rtol=1e-4, atol=1e-4)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert off(found, expected) < 5e-6
    assert off(ours.weight.grad, exact_weight.grad) < 5e-6
    assert off(images.grad, exact_images.grad) < 5e-6


def test_a_kernel_of_a_single_one_shifts_the_images() -> None:
    images = torch.randn(8, 32, 9, 11)
    moved = layer(32, 32)
    with torch.no_grad():
        moved.weight.zero_()
        moved.weight[range(32), range(32), 0, 2] = 1
        found = convolution(images, moved)
    expected = torch.zeros_like(images)
    expected[:, :, 1:, :-1] = images[:, :, :-1, 1:]
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


def test_two_runs_agree_bit_by_bit_whatever_lay_in_memory(threads: int) -> None:
    images, ours = torch.randn(12, 32, 14, 14), layer(32, 40)
    outcomes = []
    for _ in range(2):
        ours.weight.grad = None
        made = convolution(images, ours)
        made.square().sum().backward()  # type: ignore[no-untyped-call]
        outcomes.append((made.detach(), ours.weight.grad))
        with torch.no_grad():
            convolution(torch.full((12, 64, 15, 15), torch.nan), layer(64, 64))
    assert torch.equal(outcomes[0][0], outcomes[1][0])
    assert outcomes[0][1] is not None
    assert outcomes[1][1] is not None
    assert torch.equal(outcomes[0][1], outcomes[1][1])


@pytest.mark.parametrize(
    "changes",
    [{"stride": 2}, {"dilation": 2, "padding": 2}, {"groups": 2}, {"padding": 0}, {"padding_mode": "circular"}],
)
def test_other_layers_stay_torchs(changes: dict[str, object]) -> None:
    images, other = torch.randn(16, 32, 14, 14), layer(32, 32, **changes)
    assert torch.equal(convolution(images, other), other(images))


def test_little_work_and_other_types_stay_torchs() -> None:
    images, ours = torch.randn(16, 32, 14, 14), layer(32, 32)
    assert torch.equal(convolution(images[:2], ours), ours(images[:2]))
    assert convolution(images.double(), ours.double()).dtype == torch.float64
    ours.float()
    with torch.autocast("cpu", torch.bfloat16):
        assert convolution(images, ours).dtype == torch.bfloat16


def test_training_after_inference_and_inference_after_training() -> None:
    """In one process, as workers do it: nothing made in inference mode is kept for what trains later."""
    torch.manual_seed(0)
    layer, images = nn.Conv2d(40, 48, 3, padding=1, bias=False), torch.randn(16, 40, 14, 14)
    with torch.inference_mode():
        first = convolution(images, layer)
    (convolution(images, layer) * 2).sum().backward()
    with torch.no_grad():
        assert torch.equal(convolution(images, layer), first)
    assert layer.weight.grad is not None
