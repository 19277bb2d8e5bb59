"""IMSAT's parts where a closed form is known; `tests/golden` holds the whole against the released program."""

import numpy as np
import pytest
import torch

from methods.networks.imsat import adversarial, best_matching, information_loss, neighbour_distance


def test_information_is_most_where_answers_are_sure_and_clusters_alike() -> None:
    sure = torch.tensor([[50.0, 0.0], [0.0, 50.0]])
    found = information_loss(sure, 4.0)
    assert found.conditional.item() == pytest.approx(0, abs=1e-6)
    assert found.marginal.item() == pytest.approx(np.log(2), rel=1e-5)
    assert found.loss.item() == pytest.approx(-4 * np.log(2), rel=1e-5)
    assert information_loss(torch.zeros(3, 2), 1.0).loss.item() == pytest.approx(0, abs=1e-6)


def test_a_perturbation_has_its_radius_and_points_where_the_answer_changes() -> None:
    """Of a linear network whose second input is not looked at, along the first."""
    weight = torch.tensor([[2.0, -2.0], [0.0, 0.0]])
    inputs = torch.zeros(3, 2)
    radius = torch.tensor([0.1, 0.2, 0.3])
    noise = torch.tensor([[1.0, 1.0], [-1.0, 2.0], [0.5, 0.1]])
    found = adversarial(lambda x: x @ weight, inputs, inputs @ weight, noise, radius)
    assert torch.allclose(found.perturbation_NC.abs(), torch.stack([radius, torch.zeros(3)], 1), atol=1e-6)
    assert torch.equal(found.perturbation_NC[:, 0].sign(), noise[:, 0].sign())
    assert found.loss.item() > 0


def test_the_radius_is_the_distance_to_the_eleventh_nearest_other_or_the_farthest() -> None:
    line = torch.arange(20.0)[:, None]
    assert neighbour_distance(line)[[0, 19]].tolist() == [11, 11]
    assert neighbour_distance(line[:3]).tolist() == [2, 1, 2]


def test_clusters_get_labels_one_to_one() -> None:
    assert best_matching(np.array([[5, 9, 0], [4, 8, 0], [0, 1, 2]])) in ({0: 1, 1: 0, 2: 2}, {0: 0, 1: 1, 2: 2})
