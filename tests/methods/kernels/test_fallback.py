"""Compiled loops and the plain torch that runs where numba cannot be had come to the same."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from methods.kernels import compiled
from methods.networks.affinity_net import AffinityHead
from methods.networks.cross_entropy import mean_cross_entropy
from methods.networks.deeplab import DeepLabHead
from methods.networks.pamr import pamr
from methods.networks.pixel_pairs import Border
from methods.networks.random_walk import affinity_walk

UNKNOWN = 255


def plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "available", lambda: False)


def loss_and_gradients(network: nn.Module, loss: Callable[[], torch.Tensor]) -> dict[str, torch.Tensor]:
    network.zero_grad()
    torch.manual_seed(3)
    total = loss()
    total.backward()  # type: ignore[no-untyped-call]
    found = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
    return {name: gradient.clone() for name, gradient in found.items()} | {"loss": total.detach()}


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, atol=1e-4 * float(values.abs().max()), rtol=1e-3, msg=name)


@pytest.mark.parametrize("classes", [2, 7])
def test_the_decoder(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    head = DeepLabHead(6, 40, classes, 16, (1, 2, 9)).train()
    low, high = torch.randn(5, 6, 20, 12).relu(), torch.randn(5, 40, 5, 3)
    truth = torch.randint(0, classes, (5, 20, 12))
    truth[torch.rand(5, 20, 12) < 0.3] = UNKNOWN
    known, state = (truth != UNKNOWN).sum(), {name: value.clone() for name, value in head.state_dict().items()}
    found = loss_and_gradients(head, lambda: mean_cross_entropy(head(low, high), truth, known))
    moved = {name: value.clone() for name, value in head.state_dict().items()}
    head.load_state_dict(state)
    plainly(monkeypatch)
    same(found, loss_and_gradients(head, lambda: mean_cross_entropy(head(low, high), truth, known)))
    for name, value in head.state_dict().items():
        torch.testing.assert_close(moved[name], value, atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.parametrize("sizes", [(12, 12, 12), (12, 6, 6), (12, 6, 3)])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_affinity_loss(sizes: tuple[int, ...], threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    head = AffinityHead((5, 6, 7), (8, 16, 24)).train()
    levels = [torch.randn(3, channels, size, size) for channels, size in zip((5, 6, 7), sizes, strict=True)]
    labels = torch.randint(0, 3, (3, 12, 12), dtype=torch.uint8)
    labels[torch.rand(3, 12, 12) < 0.3] = UNKNOWN
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = loss_and_gradients(head, lambda: head.loss(levels, labels, 4, lambda pairs: pairs))
        plainly(monkeypatch)
        expected = loss_and_gradients(head, lambda: head.loss(levels, labels, 4, lambda pairs: pairs))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found["loss"], expected["loss"], atol=1e-6, rtol=1e-5)
    same(found, expected)


def test_pixel_adaptive_refinement(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    maps, images = torch.rand(2, 3, 30, 41), torch.rand(2, 3, 30, 41) * 255
    found = pamr(maps, images)
    plainly(monkeypatch)
    torch.testing.assert_close(found, pamr(maps, images), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("border", ["released", "all"])
@pytest.mark.parametrize("grid", [(9, 14), (3, 4), (40, 30)])
@pytest.mark.parametrize("log2_steps", [0, 1, 6])
def test_the_walk(grid: tuple[int, int], border: Border, log2_steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Grids with no pair, of one block of pixels, and of more than one."""
    torch.manual_seed(0)
    maps, features = torch.rand(2, 3, *grid), torch.randn(2, 19, *grid)
    found = affinity_walk(maps, features, 2.0, log2_steps, 5, border)
    plainly(monkeypatch)
    expected = affinity_walk(maps, features, 2.0, log2_steps, 5, border)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("where", ["low", "high", "decoder.block1.0.weight", "decoder.block2.0.1.weight"])
def test_what_is_no_number_shows_in_the_loss(where: str) -> None:
    """A ReLU that took it for 0 would hide a training that has diverged."""
    torch.manual_seed(0)
    head = DeepLabHead(6, 40, 3, 16, (1, 2, 9)).train()
    inputs = {"low": torch.randn(4, 6, 20, 12), "high": torch.randn(4, 40, 5, 3)}
    values = inputs[where] if where in inputs else head.get_parameter(where)
    with torch.no_grad():
        values.view(-1)[0] = torch.nan
    truth = torch.randint(0, 3, (4, 20, 12))
    assert bool(mean_cross_entropy(head(inputs["low"], inputs["high"]), truth).isnan())
