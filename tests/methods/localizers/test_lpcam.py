"""LPCAM: clusters by cosine, which of them count, and maps that are like the class and unlike its context."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from methods.base import TrainingOptions
from methods.localizers.lpcam import Lpcam, LpcamOptions, k_means, mean_cosine
from methods.networks.heads import ClassMaps
from tests.methods.conftest import Toy

TRAINING = TrainingOptions(epochs=3, batch=8, learning_rate=0.1)


def test_k_means_finds_directions_whatever_the_lengths() -> None:
    rng = np.random.default_rng(0)
    angles = np.concatenate([rng.normal(0.2, 0.02, 40), rng.normal(1.3, 0.02, 40)])
    lengths = rng.uniform(0.5, 5, 80)
    values = torch.tensor(np.stack([np.cos(angles), np.sin(angles)], 1) * lengths[:, None])
    centres = k_means(values, 2, np.random.default_rng(1))
    found = sorted(torch.atan2(centres[:, 1], centres[:, 0]).tolist())
    assert found == pytest.approx([0.2, 1.3], abs=0.03)
    of_first = values[:40].mean(0)
    assert torch.allclose(centres[centres[:, 0].argmax()], of_first) or torch.allclose(
        centres[centres[:, 0].argmin()], of_first
    )


def test_fewer_values_than_clusters_are_their_own_centres() -> None:
    values = torch.eye(3)
    assert torch.equal(k_means(values, 5, np.random.default_rng(0)), values)
    assert k_means(torch.zeros(0, 4), 5, np.random.default_rng(0)).shape == (0, 4)


def test_mean_cosine_is_that_of_every_centre() -> None:
    read_DHW = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0))
    centres = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    expected = torch.stack([torch.nn.functional.cosine_similarity(read_DHW, c[:, None, None], dim=0) for c in centres])
    assert torch.allclose(mean_cosine(read_DHW, centres), expected.mean(0), atol=1e-6)
    assert not mean_cosine(read_DHW, torch.zeros(0, 4)).any()


def test_clusters_count_by_their_probability() -> None:
    """Centres along a classifier whose logits are the features: their softmax is known."""
    head = ClassMaps(2, 2, 0)
    with torch.no_grad():
        head.classifier.weight.copy_(torch.eye(2)[:, :, None, None])
        head.classifier.bias.zero_()
    logits = torch.tensor([[3.0, 0.0], [0.0, 0.0], [-4.0, 0.0], [2.0, 0.0]])
    part = Lpcam(LpcamOptions())
    own, context = part._chosen(head, 0, logits, logits)
    assert own.tolist() == [[3.0, 0.0]]
    assert context.tolist() == [[0.0, 0.0], [2.0, 0.0]]
    (likeliest, _) = part._chosen(head, 0, logits[1:3], logits[1:3])
    assert likeliest.tolist() == [[0.0, 0.0]]


def test_maps_lie_on_their_objects(toy: Toy, surroundings: Callable[..., Any]) -> None:
    part = Lpcam(LpcamOptions(hidden=0, clusters=4, foreground=0.5, training=TRAINING))
    weights = part.fit(toy.weak, surroundings(bank=toy.bank)).weights
    inside, outside = [], []
    for photo, record in zip(
        toy.weak.photos, part.apply(toy.weak.photos, surroundings(weights=weights, bank=toy.bank)), strict=True
    ):
        for label, map_HW in zip(record.class_ids, record.maps_CHW, strict=True):
            assert map_HW.max() == pytest.approx(1)
            inside.append(map_HW[toy.small[photo.id] == label + 1].mean())
            outside.append(map_HW[toy.small[photo.id] == 0].mean())
    assert np.mean(inside) > 2 * np.mean(outside)


def test_a_range_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="context_low below context_high"):
        LpcamOptions(context_low=0.9)
