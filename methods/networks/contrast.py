"""Supervised contrastive loss (Khosla et al., NeurIPS 2020): vectors of one class attract, all others repel.

The positives of an anchor are the other vectors of its class; where classes are not used, its other views alone. A
further weight inside the logarithm's sum (the released DCC program's) says which negatives count how much.
"""

from __future__ import annotations

import torch

__all__ = ["BASE_TEMPERATURE", "contrastive_loss", "contrastive_loss_of_views", "same_class"]

BASE_TEMPERATURE = 0.07
"""Losses are multiplied by temperature / this, as released: gradients are then alike at all temperatures."""


def contrastive_loss(
    anchors_AD: torch.Tensor,
    vectors_ND: torch.Tensor,
    positive_AN: torch.Tensor,
    self_AN: torch.Tensor,
    temperature: float,
    weight_AN: torch.Tensor | None = None,
) -> torch.Tensor:
    """−(τ / 0.07) · mean over anchors of the mean over their positives p of s_p − log Σ_{a ≠ self} exp(w_a s_a).

    s are the products of an anchor with all vectors, divided by τ, less their maximum, which is constant to gradients.
    `positive_AN` (bool) marks the positives of each anchor, `self_AN` (bool) the anchor itself, which is neither
    positive nor negative. An anchor without positives adds 0. The weights act after the maximum is subtracted, in the
    sum alone. Vectors are of unit length.
    """
    products_AN = anchors_AD @ vectors_ND.T / temperature
    scores_AN = products_AN - products_AN.detach().max(dim=1, keepdim=True).values
    weighted_AN = scores_AN if weight_AN is None else scores_AN * weight_AN
    whole_A1 = weighted_AN.masked_fill(self_AN, -torch.inf).logsumexp(dim=1, keepdim=True)
    positive_AN = (positive_AN & ~self_AN).to(scores_AN.dtype)
    number_A = positive_AN.sum(dim=1)
    log_share_A = (positive_AN * (scores_AN - whole_A1)).sum(dim=1) / number_A.clamp(min=1)
    return -(temperature / BASE_TEMPERATURE) * log_share_A.mean()


def contrastive_loss_of_views(
    views_BVD: torch.Tensor,
    positive_BB: torch.Tensor,
    temperature: float,
    *,
    weight_NN: torch.Tensor | None = None,
    one_anchor_view: bool = False,
) -> torch.Tensor:
    """The loss of V views of B photos: all first views stand before all second ones (N = V · B).

    `positive_BB` (bool) says which photos attract: `same_class` of their labels, or the identity, where each photo
    attracts its own other views alone. `one_anchor_view` takes first views alone as anchors.
    """
    photos, views, _ = views_BVD.shape
    vectors_ND = views_BVD.transpose(0, 1).flatten(0, 1)
    anchors = photos if one_anchor_view else views * photos
    positive_AN = positive_BB.repeat(views, views)[:anchors]
    self_AN = torch.eye(views * photos, dtype=torch.bool, device=views_BVD.device)[:anchors]
    weight_AN = None if weight_NN is None else weight_NN[:anchors]
    return contrastive_loss(vectors_ND[:anchors], vectors_ND, positive_AN, self_AN, temperature, weight_AN)


def same_class(labels_B: torch.Tensor) -> torch.Tensor:
    """Which photos are of one class, bool (B, B)."""
    return labels_B[:, None] == labels_B[None]
