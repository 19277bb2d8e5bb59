"""DeepLab-LargeFOV's head by hand, where its cells lie, and batch norms that stand still."""

import pytest
import torch
from torch import nn

from methods.networks.largefov import FixedBatchNorm, LargeFovHead, enlarged


def test_the_head_sees_twelve_cells_far() -> None:
    """One output position depends on the nine inputs at distance 0 and 12, and on no other."""
    torch.manual_seed(0)
    head = LargeFovHead(3, 4, 8)
    features = torch.rand(1, 3, 31, 31, requires_grad=True)
    head(features)[0, :, 15, 15].square().sum().backward()
    assert features.grad is not None
    touched = features.grad[0].abs().sum(0).nonzero().tolist()
    assert touched == [[y, x] for y in (3, 15, 27) for x in (3, 15, 27)]


def test_the_head_is_three_convolutions() -> None:
    torch.manual_seed(0)
    head, features = LargeFovHead(3, 4, 8), torch.randn(2, 3, 14, 15)
    state = head.state_dict()
    expected = nn.functional.conv2d(features, state["0.weight"], padding=12, dilation=12).relu()
    expected = torch.einsum("oc,bchw->bohw", state["2.weight"][:, :, 0, 0], expected)
    expected = torch.einsum("kc,bchw->bkhw", state["4.weight"][:, :, 0, 0], expected.relu())
    with torch.inference_mode():
        assert torch.allclose(head(features), expected + state["4.bias"].view(1, 4, 1, 1), atol=1e-5)
        assert torch.equal(LargeFovHead.of_state(state)(features), head(features))


def test_the_papers_head_has_its_size() -> None:
    with torch.device("meta"):
        head = LargeFovHead(2048, 21, 1024)
    count = sum(parameter.numel() for parameter in head.parameters())
    assert count == 2048 * 9 * 1024 + 1024 * 1024 + (1024 + 1) * 21


def test_weights_begin_as_in_the_released_program() -> None:
    """Its fillers count inputs: evenly within ±√(3 / inputs), for scores normally with √(2 / inputs)."""
    torch.manual_seed(0)
    head = LargeFovHead(64, 21, 512)
    for name, inputs in (("0.weight", 64 * 9), ("2.weight", 512)):
        weight, reach = head.state_dict()[name], (3 / inputs) ** 0.5
        assert 0.99 * reach < weight.abs().max().item() <= reach
        assert weight.std().item() == pytest.approx(inputs**-0.5, rel=0.01)
    score = head.state_dict()["4.weight"]
    assert score.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.05)
    assert score.abs().max() > 3 * (2 / 512) ** 0.5
    assert not head.state_dict()["4.bias"].any()


@pytest.mark.parametrize("size", [(17, 25), (20, 31), (24, 32), (16, 20)])
def test_cells_lie_at_every_eighth_pixel(size: tuple[int, int]) -> None:
    """Logits that rise by 1 a cell rise by ⅛ a pixel, up to the last cell, whose values go on to the border."""
    rows, columns = torch.meshgrid(torch.arange(3.0), torch.arange(4.0), indexing="ij")
    large = enlarged(torch.stack([rows, columns])[None], size)
    assert large.shape == (1, 2, *size)
    y = (torch.arange(size[0]) / 8).clamp(max=2)
    x = (torch.arange(size[1]) / 8).clamp(max=3)
    torch.testing.assert_close(large[0, 0], y[:, None].expand(size))
    torch.testing.assert_close(large[0, 1], x.expand(size))


def test_batch_norms_stand_still_in_training() -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5)))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fixed = nn.ModuleDict({"backbone": FixedBatchNorm(network)}).train()
    network(torch.rand(4, 2, 5, 5))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    modes = [module.training for module in (fixed, network[0], network[1], network[2][0], network[2][1])]
    assert modes == [True, True, False, False, True]
    assert [name for name, value in network.named_parameters() if value.requires_grad] == ["0.weight", "0.bias"]
    assert not any(module.training for module in fixed.eval().modules())
