"""Order losses and votes by hand."""

import torch

from methods.networks.ranking import ObjectRanker, order_loss, votes


def test_a_pair_in_order_by_the_margin_costs_nothing() -> None:
    differences, order = torch.tensor([2.0, 0.25, -1.0, -3.0]), torch.tensor([1.0, 1, 1, 0])
    assert order_loss(differences, order, 0.5).item() == (0 + 0.25 + 1.5 + 0) / 4


def test_votes_are_wins_less_losses() -> None:
    found = votes(torch.tensor([0.5, 2.0]), torch.tensor([0.0, 0.5, 1.0]))
    assert found.tolist() == [1 - 2, 3]
    assert votes(torch.tensor([0.5]), torch.zeros(0)).tolist() == [0]


def test_a_ranker_comes_back_from_its_state() -> None:
    torch.manual_seed(0)
    ranker, objects = ObjectRanker(6, 4), torch.randn(5, 6)
    assert torch.equal(ObjectRanker.of_state(ranker.state_dict())(objects), ranker(objects))
