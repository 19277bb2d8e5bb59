"""Clustering by information maximisation with virtual adversarial training: IMSAT (Hu et al., ICML 2017).

A network tells clusters whose sizes are alike (high entropy of the mean answer) and of which it is sure (low entropy of
each answer), and shall answer the same for the input that is perturbed in the direction that changes its answer most.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import nn
from torch.nn.functional import normalize

__all__ = ["ClusterNet", "Perturbed", "adversarial", "best_matching", "information_loss", "neighbour_distance"]

SMALL = 1e-8
"""Added to probabilities before their logarithm, as released."""
EPS = 2e-5
"""Of batch norm, as released."""
NEIGHBOUR = 11
"""The nearest other input whose distance is the radius of a perturbation, as released."""


class ClusterNet(nn.Module):
    """Two hidden layers, each with batch norm and ReLU, and a linear layer on top."""

    def __init__(self, channels: int, hidden: tuple[int, int], clusters: int) -> None:
        super().__init__()
        first, second = hidden
        self.l1, self.bn1 = nn.Linear(channels, first), nn.BatchNorm1d(first, eps=EPS)
        self.l2, self.bn2 = nn.Linear(first, second), nn.BatchNorm1d(second, eps=EPS)
        self.l3 = nn.Linear(second, clusters)

    def forward(self, vectors_NC: torch.Tensor) -> torch.Tensor:
        """Logits (N, clusters). In training, batch norm takes the statistics of these N vectors."""
        hidden_NC = self.bn1(self.l1(vectors_NC)).relu()
        hidden_NC = self.bn2(self.l2(hidden_NC)).relu()
        logits_NK: torch.Tensor = self.l3(hidden_NC)
        return logits_NK


class Information(NamedTuple):
    """Entropies of a batch's answers, in nats, and the loss of them."""

    conditional: torch.Tensor
    """Mean entropy of an answer, H(Y|X)."""
    marginal: torch.Tensor
    """Entropy of the mean answer, H(Y)."""
    loss: torch.Tensor
    """H(Y|X) − μ H(Y)."""


def information_loss(logits_NK: torch.Tensor, mu: float) -> Information:
    """What is lost of the information that clusters give about inputs, H(Y) weighted by μ."""
    share_NK = logits_NK.softmax(dim=1)
    conditional = _entropy(share_NK).mean()
    marginal = _entropy(share_NK.mean(dim=0))
    return Information(conditional, marginal, conditional - mu * marginal)


def _entropy(share_K: torch.Tensor) -> torch.Tensor:
    return -(share_K * (share_K + SMALL).log()).sum(dim=-1)


class Perturbed(NamedTuple):
    """What a virtual adversarial step found."""

    perturbation_NC: torch.Tensor
    probe_NK: torch.Tensor
    """Logits of the inputs moved by noise, from which the direction is learnt."""
    probe_distance: torch.Tensor
    logits_NK: torch.Tensor
    """Logits of the inputs moved in that direction."""
    loss: torch.Tensor
    """Mean divergence of these answers from the clean ones, which are constant to gradients."""


def adversarial(
    net: Callable[[torch.Tensor], torch.Tensor],
    vectors_NC: torch.Tensor,
    clean_NK: torch.Tensor,
    noise_NC: torch.Tensor,
    radius_N: torch.Tensor,
    xi: float = 10.0,
) -> Perturbed:
    """One power iteration (Miyato et al., 2018): noise of length ξ, then a step of `radius_N` along the gradient.

    `clean_NK` are the logits of the inputs as they are. Gradients of the loss reach the network through the last pass
    alone.
    """
    clean_NK = clean_NK.detach()
    probe_NC = (xi * normalize(noise_NC, dim=1)).requires_grad_()
    with torch.enable_grad():
        probe_NK = net(vectors_NC + probe_NC)
        probe_distance = _divergence(clean_NK, probe_NK)
        (gradient_NC,) = torch.autograd.grad(probe_distance, probe_NC)
    # A gradient of a mean over many inputs is tiny: scaled by its largest value first, no length underflows.
    largest_N1 = gradient_NC.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(gradient_NC.dtype).tiny)
    step_NC = radius_N[:, None] * normalize(gradient_NC / largest_N1, dim=1)
    logits_NK = net(vectors_NC + step_NC)
    return Perturbed(step_NC, probe_NK, probe_distance, logits_NK, _divergence(clean_NK, logits_NK))


def _divergence(clean_NK: torch.Tensor, other_NK: torch.Tensor) -> torch.Tensor:
    clean_NK, other_NK = clean_NK.softmax(dim=1), other_NK.softmax(dim=1)
    return (clean_NK * ((clean_NK + SMALL) / (other_NK + SMALL)).log()).sum(dim=1).mean()


def neighbour_distance(vectors_NC: torch.Tensor) -> torch.Tensor:
    """Euclidean distance of each input to the `NEIGHBOUR`-th nearest other one, to the last where there are fewer."""
    distance_NN = torch.cdist(vectors_NC, vectors_NC, compute_mode="donot_use_mm_for_euclid_dist")
    distance_NN.fill_diagonal_(torch.inf)
    nearest = min(NEIGHBOUR, len(vectors_NC) - 1)
    return distance_NN.kthvalue(nearest, dim=1).values


def best_matching(counts_KL: NDArray[np.int64] | NDArray[np.float64]) -> dict[int, int]:
    """The label of each cluster, one to one, with which the most inputs (clusters, labels) agree: Hungarian method."""
    clusters, labels = linear_sum_assignment(counts_KL, maximize=True)
    return dict(zip(clusters.tolist(), labels.tolist(), strict=True))
