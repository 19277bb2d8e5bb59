"""DeepLab-LargeFOV's head by hand, and batch norms that stand still."""

import torch
from torch import nn

from methods.networks.largefov import FixedBatchNorm, LargeFovHead


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
    expected = nn.functional.conv2d(features, state["0.weight"], state["0.bias"], padding=12, dilation=12).relu()
    expected = torch.einsum("oc,bchw->bohw", state["2.weight"][:, :, 0, 0], expected) + state["2.bias"].view(1, 8, 1, 1)
    expected = torch.einsum("kc,bchw->bkhw", state["4.weight"][:, :, 0, 0], expected.relu())
    with torch.inference_mode():
        assert torch.allclose(head(features), expected + state["4.bias"].view(1, 4, 1, 1), atol=1e-5)
        assert torch.equal(LargeFovHead.of_state(state)(features), head(features))


def test_the_papers_head_has_its_size() -> None:
    with torch.device("meta"):
        head = LargeFovHead(2048, 21, 1024)
    count = sum(parameter.numel() for parameter in head.parameters())
    assert count == (2048 * 9 + 1) * 1024 + (1024 + 1) * 1024 + (1024 + 1) * 21


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
