"""Attention kernels beside the formulas in double precision, position by position."""

import math
from itertools import product
from typing import get_args

import numpy as np
import pytest
import torch

from methods.networks import chunked_attention
from methods.networks.attention import Kernel, attend, co_attend, entropy, kernel_for, log_sum_exp

KERNELS = get_args(Kernel)
SIZES = [(2, 7, 5, 4, 3), (1, 1, 6, 3, 5), (3, 6, 1, 2, 2), (2, 9, 9, 8, 8)]  # B, L, S, C, V


@pytest.fixture(params=[1, 20, 2**20])
def _chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row a chunk, a few rows a chunk, one chunk."""
    monkeypatch.setattr(chunked_attention, "CHUNK_ENTRIES", request.param)


def operands(batch: int, positions_m: int, positions_n: int, channels: int, width: int) -> list[torch.Tensor]:
    """Query, key, value of m, value of n; affinities of a size at which softmaxes are neither flat nor one-hot."""
    torch.manual_seed(positions_m)
    shapes = [(positions_m, channels), (positions_n, channels), (positions_m, width), (positions_n, width)]
    return [torch.randn(batch, *shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def by_position(
    query: torch.Tensor, key: torch.Tensor, value_m: torch.Tensor, value_n: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each position's weights written out: exp(q·k) over their sum."""
    weight = (query[:, :, None] * key[:, None]).sum(3).exp()
    mixed_m = torch.einsum("bls,bsv->blv", weight / weight.sum(2, keepdim=True), value_n)
    mixed_n = torch.einsum("bls,blv->bsv", weight / weight.sum(1, keepdim=True), value_m)
    return mixed_m, mixed_n


@pytest.mark.usefixtures("_chunk")
@pytest.mark.parametrize(("size", "kernel"), list(product(SIZES, KERNELS)))
def test_both_directions_and_their_gradients(size: tuple[int, int, int, int, int], kernel: Kernel) -> None:
    inputs = operands(*size)
    mixed, expected = co_attend(*inputs, kernel), by_position(*inputs)
    slopes = [torch.randn_like(one) for one in expected]
    gradients = torch.autograd.grad(mixed, inputs, slopes)
    expected_gradients = torch.autograd.grad(expected, inputs, slopes)
    for found, wanted in zip((*mixed, *gradients), (*expected, *expected_gradients), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(attend(inputs[0], inputs[1], inputs[3], kernel), expected[0], rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("_chunk")
def test_chunks_leave_out_the_gradient_of_frozen_features() -> None:
    """Only queries want one, and theirs stays the same; affinities of ±200 do not overflow."""
    query, key, value_m, value_n = (one.detach() for one in operands(2, 7, 5, 4, 3))
    query = (query * 60).requires_grad_()
    gradients = []
    for kernel in KERNELS:
        mixed = co_attend(query, key, value_m, value_n, kernel)
        gradients.append(torch.autograd.grad(mixed.m_BLV.sum() + mixed.n_BSV.square().sum(), query)[0])
    assert gradients[0].abs().max() > 0
    for gradient in gradients[1:]:
        torch.testing.assert_close(gradient, gradients[0], rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("_chunk")
def test_entropy_of_even_of_sure_and_of_a_half() -> None:
    key = torch.tensor([[[1.0], [0.0], [0.0], [1.0]]]).expand(3, 4, 1)
    query = torch.tensor([[[0.0], [0.0]], [[500.0], [500.0]], [[0.0], [500.0]]])
    expected = torch.tensor([math.log(4), math.log(2), (math.log(4) + math.log(2)) / 2])
    torch.testing.assert_close(entropy(query, key), expected)


@pytest.mark.usefixtures("_chunk")
@pytest.mark.parametrize("size", SIZES)
def test_log_sum_exp_is_that_of_the_affinities(size: tuple[int, int, int, int, int]) -> None:
    query, key, *_ = (one.detach() for one in operands(*size))
    affinity = np.einsum("blc,bsc->bls", query.double().numpy(), key.double().numpy())
    expected = np.log(np.exp(affinity).sum(2))
    np.testing.assert_allclose(log_sum_exp(query, key).numpy(), expected, rtol=1e-5, atol=1e-5)
    # Affinities of hundreds, whose exponentials are beyond float32.
    large = log_sum_exp(query * 1000, key).numpy()
    np.testing.assert_allclose(large, np.logaddexp.reduce(affinity * 1000, 2), rtol=1e-5, atol=1e-3)


DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is here")]
    ),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kernel", [*KERNELS, None])
def test_attention_under_autocast_is_that_of_float32(kernel: Kernel | None, device: str) -> None:
    """Of operands in float32 and in bfloat16: both directions, what inference asks for, and the gradient."""
    query, key, value_m, value_n = (one.detach().float().to(device) for one in operands(2, 90, 80, 64, 3))
    low = [key.bfloat16(), value_m.bfloat16()]
    queries = [(query / 8).requires_grad_() for _ in range(2)]
    exact = co_attend(queries[0], low[0].float(), low[1].float(), value_n, kernel)
    with torch.autocast(device, torch.bfloat16):
        mixed = co_attend(queries[1], *low, value_n, kernel)
        one_way = attend(queries[1].detach(), low[0], value_n, kernel)
    gradients = [
        torch.autograd.grad(both.m_BLV.square().sum() + both.n_BSV.sum(), of)[0]
        for both, of in zip((exact, mixed), queries, strict=True)
    ]
    pairs = [*zip(mixed, exact, strict=True), (one_way, exact.m_BLV), (gradients[1], gradients[0])]
    for found, expected in pairs:
        assert found.dtype == torch.float32
        assert ((found - expected).abs().max() / expected.abs().max()).item() <= 1e-5


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kernel", [*KERNELS, None])
def test_affinities_are_float32_under_autocast(kernel: Kernel | None, device: str) -> None:
    """Two keys whose affinities, 300 and 301, are one number in bfloat16."""
    query, key = torch.tensor([[[300.0, 1.0]]]), torch.tensor([[[1.0, 0.0], [1.0, 1.0]]])
    values = torch.ones(1, 1, 1), torch.tensor([[[0.0], [1.0]]])
    with torch.autocast(device, torch.bfloat16):
        mixed = co_attend(query.to(device), key.to(device), *(value.to(device) for value in values), kernel)
    assert mixed.m_BLV.item() == pytest.approx(1 / (1 + math.exp(-1)), rel=1e-5)


def test_the_rule_by_positions_and_device() -> None:
    assert [kernel_for(side * side, side * side, "cpu") for side in (16, 32, 64)] == ["dense", "chunked", "chunked"]
    assert kernel_for(4096, 64, "cpu") == kernel_for(64, 4096, "cpu") == "dense"
    assert kernel_for(256, 256, "cuda") == "fused"
