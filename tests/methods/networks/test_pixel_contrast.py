"""Contrast between pixels and edges of labels, against naive code over pixels."""

import numpy as np
import pytest
import torch

from methods.networks.pixel_contrast import (
    PixelProjection,
    agreed,
    edge_loss,
    edges_of,
    pixel_contrast,
    sampled_pixels,
)


def test_pixels_of_each_known_class_are_sampled_up_to_a_number() -> None:
    labels = np.array([0, 1, 255, 1, 0, 1, 2, 255, 1])
    chosen = sampled_pixels(labels, 2, np.random.default_rng(0))
    assert len(set(chosen)) == len(chosen) == 5
    assert sorted(labels[chosen]) == [0, 0, 1, 1, 2]
    assert len(sampled_pixels(np.full(4, 255), 2, np.random.default_rng(0))) == 0


def test_a_block_has_a_label_where_all_of_it_agrees() -> None:
    labels = torch.tensor([[[1, 1, 0, 2], [1, 1, 0, 0], [255, 3, 2, 2], [3, 3, 2, 2]]])
    assert agreed(labels, 2).tolist() == [[[1, 255], [255, 2]]]
    assert agreed(labels, 1) is labels


def test_the_loss_is_that_of_a_loop_over_pixels_of_both_scales() -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 4, 2, 2)
    labels = torch.tensor([[[0, 0], [0, 0]], [[1, 1], [1, 255]]])
    projection = PixelProjection(4, 3)
    found = pixel_contrast(projection, features, labels, 100, (1, 2), 0.5, np.random.default_rng(0))
    fine = projection(features).permute(0, 2, 3, 1).reshape(-1, 3)
    coarse = projection(features.mean(dim=(2, 3), keepdim=True))[0, :, 0, 0]
    vectors = [*fine[:4], *fine[4:7], coarse]
    classes = [0] * 4 + [1] * 3 + [0]
    terms = []
    for i, one in enumerate(vectors):
        others = [j for j in range(len(vectors)) if j != i]
        whole = torch.logsumexp(torch.stack([one @ vectors[j] / 0.5 for j in others]), 0)
        same = [one @ vectors[j] / 0.5 - whole for j in others if classes[j] == classes[i]]
        terms.append(-torch.stack(same).mean() * 0.5 / 0.07)
    assert found.item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-5)


def test_without_known_pixels_there_is_nothing_to_contrast() -> None:
    features = torch.randn(1, 4, 2, 2, requires_grad=True)
    loss = pixel_contrast(
        PixelProjection(4, 3), features, torch.full((1, 2, 2), 255), 8, (1,), 0.1, np.random.default_rng(0)
    )
    loss.backward()
    assert loss.item() == 0


def test_edges_lie_on_both_sides_of_a_border_and_none_towards_the_unknown() -> None:
    labels = torch.tensor([[[0, 0, 1], [0, 255, 1], [2, 2, 1]]])
    assert edges_of(labels).tolist() == [[[0, 1, 1], [1, 255, 0], [1, 1, 1]]]


def test_the_edge_loss_weighs_edges_and_others_alike() -> None:
    logits = torch.tensor([[[0.3, -0.2, 1.0, 0.5]]])
    edges = torch.tensor([[[1, 0, 0, 255]]])
    cost = -torch.nn.functional.logsigmoid(torch.tensor([0.3, 0.2, -1.0]))
    assert edge_loss(logits, edges).item() == pytest.approx(
        (0.5 * cost[0] + 0.25 * (cost[1] + cost[2])).item(), rel=1e-6
    )
    assert edge_loss(logits, torch.tensor([[[0, 0, 0, 255]]])).item() == 0
