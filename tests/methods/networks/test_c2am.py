"""C²AM's loss as the formulas write it, in loops; what its network cannot learn; how its polarity is told."""

import math

import numpy as np
import torch

from methods.networks.c2am import ALPHA, CLAMP, ForegroundHead, alike, border_mean, contrast_loss


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    value = float(one @ other) / math.sqrt(float(one @ one) * float(other @ other))
    return min(max(value, CLAMP[0]), CLAMP[1])


def naive_alike(vectors: list[np.ndarray]) -> float:
    total = 0.0
    for i, one in enumerate(vectors):
        others = sorted((j for j in range(len(vectors)) if j != i), key=lambda j: -cosine(one, vectors[j]))
        for j, other in enumerate(vectors):
            rank = -1 if j == i else others.index(j)
            total -= math.exp(-ALPHA * rank) * math.log(cosine(one, other))
    return total / len(vectors) ** 2


def test_the_loss_is_that_of_the_paper() -> None:
    rng = np.random.default_rng(0)
    features, foreground = rng.random((5, 3, 2, 4)), rng.random((5, 2, 4))
    front = [(features[i] * foreground[i]).mean((1, 2)) for i in range(5)]
    back = [(features[i] * (1 - foreground[i])).mean((1, 2)) for i in range(5)]
    between = -np.mean([math.log(1 - cosine(f, b)) for f in front for b in back])
    loss = contrast_loss(torch.from_numpy(features), torch.from_numpy(foreground))
    assert np.allclose(float(loss.between), between)
    assert np.allclose(float(loss.foreground), naive_alike(front))
    assert np.allclose(float(loss.background), naive_alike(back))
    assert np.allclose(float(loss.total), between + naive_alike(front) + naive_alike(back))


def test_ranks_are_constant_to_the_gradient_and_the_cosines_stay_as_they_are() -> None:
    cosines = torch.tensor([[0.9995, 0.5, 0.8], [0.5, 0.9995, 0.4], [0.8, 0.4, 0.9995]], requires_grad=True)
    alike(cosines).backward()
    ranks = torch.tensor([[-1.0, 1, 0], [0, -1, 1], [0, 1, -1]])
    assert torch.allclose(cosines.grad, -(-ALPHA * ranks).exp() / cosines.detach() / 9)
    assert cosines[0, 0].item() < 1


def test_the_norm_has_no_parameter_so_that_half_of_a_batch_is_foreground() -> None:
    head = ForegroundHead(3)
    assert [name for name, _ in head.named_parameters()] == ["activation.weight"]
    logits = head(torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(0)) + 5).detach()
    assert abs(float(logits.mean())) < 1e-4
    assert abs(float(logits.var(unbiased=False)) - 1) < 1e-3


def test_a_network_is_rebuilt_from_its_state() -> None:
    head = ForegroundHead(4)
    head(torch.randn(8, 4, 5, 5))
    features = torch.randn(2, 4, 5, 5)
    assert torch.equal(ForegroundHead.of_state(head.state_dict()).eval()(features), head.eval()(features))


def test_the_border_is_four_strips_of_four_positions() -> None:
    """A row of ones above lies in the strip above, and with 4 of its 10 positions in each of two others."""
    maps = torch.zeros(2, 12, 10)
    maps[:, 0], maps[:, 4:8, 4:6] = 1, 1
    expected = (10 / (4 * 10) + 4 / (12 * 4) + 4 / (12 * 4)) / 4
    assert math.isclose(border_mean(maps), expected, rel_tol=1e-6)
