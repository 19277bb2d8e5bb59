"""The loss of a training step: CAM's when all else is off, and the same whether features are shared or not."""

import numpy as np
import pytest
import torch
from torch.nn.functional import multilabel_soft_margin_loss

from methods.networks.coattention import pair_loss
from methods.networks.heads import ClassMaps
from methods.networks.pair_classifier import PairClassifier, Structure, Terms, anchor_loss

PLAIN = Structure(hidden=6, hidden_layers=2, norm="none", learned_affinity=True, separate_heads=True)


def photos(rng_seed: int, side: int = 6) -> torch.Tensor:
    return torch.randn(3, 4, side, side, generator=torch.Generator().manual_seed(rng_seed)).double()


def labels(rng_seed: int) -> torch.Tensor:
    rng = np.random.default_rng(rng_seed)
    return torch.from_numpy(rng.integers(0, 2, (3, 5)).astype(np.float64))


def gradients(module: torch.nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    module.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def test_with_all_else_off_a_step_is_cams() -> None:
    structure = PLAIN._replace(hidden_layers=1, norm="batch")
    torch.manual_seed(0)
    network, cam = PairClassifier(4, 5, structure).double(), ClassMaps(4, 5, 6).double()
    cam.hidden.load_state_dict(network.hidden.state_dict())
    cam.classifier.load_state_dict(network.head.basic_head.state_dict())
    both, targets = torch.cat([photos(0), photos(1)]), torch.cat([labels(0), labels(1)])
    anchor, partner = network(both).split(3)
    losses = anchor_loss(network.head, anchor, partner, [], *targets.split(3), Terms(common=False, contrastive=False))
    assert list(losses) == ["basic"]
    ours = gradients(network, losses["basic"])
    expected = multilabel_soft_margin_loss(cam(both).mean((2, 3)), targets)
    theirs = gradients(cam, expected)
    assert torch.allclose(losses["basic"], expected, rtol=1e-12)
    assert set(ours) == {name.replace("classifier", "head.basic_head") for name in theirs}
    for name, gradient in theirs.items():
        assert torch.allclose(ours[name.replace("classifier", "head.basic_head")], gradient, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("contrastive", [False, True])
def test_five_passes_give_the_loss_and_gradients_of_eight(contrastive: bool) -> None:
    """The anchor goes through the network once here, and once a pair in the released program."""
    torch.manual_seed(0)
    network = PairClassifier(4, 5, PLAIN).double()
    x_1, x_2, small, large = photos(0), photos(1), photos(2, 4), photos(3, 12)
    y_1, y_2 = labels(0), labels(1)
    copies = [network(x_1.flip(3)), network(small), network(large)]
    losses = anchor_loss(network.head, network(x_1), network(x_2), copies, y_1, y_2, Terms(True, contrastive))
    shared = torch.stack(list(losses.values())).sum()
    ours = gradients(network, shared)

    plain = pair_loss(network.head(network(x_1), network(x_2)), y_1, y_2, contrastive).total
    for other in (x_1.flip(3), small, large):
        plain = plain + pair_loss(network.head(network(x_1), network(other)), y_1, y_1, contrastive=False).total
    assert torch.allclose(shared, plain, rtol=1e-5)
    for name, gradient in gradients(network, plain).items():
        assert torch.allclose(ours[name], gradient, rtol=1e-5, atol=1e-8), name


@pytest.mark.parametrize(
    "change", [{}, {"hidden": 0}, {"norm": "batch"}, {"learned_affinity": False, "separate_heads": False}]
)
def test_a_network_is_built_again_from_its_state(change: dict) -> None:
    structure = PLAIN._replace(**change)
    network = PairClassifier(4, 5, structure).eval()
    again = PairClassifier.of_state(network.state_dict(), structure).eval()
    x = photos(0).float()
    for one, two in zip(network.head(network(x), network(x)), again.head(again(x), again(x)), strict=True):
        assert torch.equal(one, two)


def test_the_papers_network_begins_he_normal() -> None:
    torch.manual_seed(0)
    head = PairClassifier(512, 20, PLAIN._replace(hidden=512, hidden_layers=3)).head
    assert head.basic_head is not None
    assert float(head.basic_head.weight.detach().std()) == pytest.approx((2 / 20) ** 0.5, rel=0.02)
    assert not head.basic_head.bias.any()
