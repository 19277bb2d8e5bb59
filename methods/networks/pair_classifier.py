"""The classifier that co-attention trains on pairs of photos: hidden layers under the co-attention head, and its loss.

MCIS (Sun, Wang, Dai, Van Gool, ECCV 2020).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import multilabel_soft_margin_loss

from methods.networks.coattention import CoAttentionHead, PairMaps, pair_loss
from methods.networks.heads import Norm, he_normal_, hidden_layers
from methods.sharing import ALONE, Share


class Structure(NamedTuple):
    """What a pair classifier is made of; its numbers of channels and classes come from what it is used on."""

    hidden: int
    hidden_layers: int
    norm: Norm
    learned_affinity: bool
    separate_heads: bool


class PairClassifier(nn.Module):
    """Backbone features → features after the hidden layers, (B, C, h, w), which `head` puts side by side."""

    def __init__(self, channels: int, classes: int, structure: Structure) -> None:
        super().__init__()
        self.hidden = hidden_layers(channels, structure.hidden, structure.hidden_layers, structure.norm)
        has_hidden = structure.hidden and structure.hidden_layers
        self.head = CoAttentionHead(
            structure.hidden if has_hidden else channels,
            classes,
            learned_affinity=structure.learned_affinity,
            separate_heads=structure.separate_heads,
        )
        if structure.norm == "none" and self.head.basic_head is not None:
            he_normal_(self.head.basic_head)

    def forward(self, features_BCHW: torch.Tensor) -> torch.Tensor:
        """What the hidden layers make of backbone features."""
        hidden_BCHW: torch.Tensor = self.hidden(features_BCHW)
        return hidden_BCHW

    @classmethod
    def of_state(cls, state: Mapping[str, torch.Tensor], structure: Structure) -> PairClassifier:
        """The network whose state this is."""
        classes, channels = state["head.common_head.weight"].shape[:2]
        if "hidden.0.weight" in state:
            channels = state["hidden.0.weight"].shape[1]
        network = cls(channels, classes, structure)
        network.load_state_dict(dict(state))
        return network


class Terms(NamedTuple):
    """Which terms of the loss are on."""

    common: bool
    contrastive: bool


def anchor_loss(
    head: CoAttentionHead,
    anchor_BCHW: torch.Tensor,
    partner_BCHW: torch.Tensor,
    copies: Sequence[torch.Tensor],
    labels_anchor_BK: torch.Tensor,
    labels_partner_BK: torch.Tensor,
    terms: Terms,
    share: Share = ALONE,
) -> dict[str, torch.Tensor]:
    """The loss of anchors with a partner and with copies of themselves (mirrored, scaled), by term.

    What backbone and head make of the anchor serves all pairs: one pass instead of one a pair gives the same gradient
    where the backbone has no batch statistics. Contrastive terms are those of the partner's pair alone.
    """
    if not terms.common:
        return {"basic": _basic_alone(head, anchor_BCHW, partner_BCHW, copies, labels_anchor_BK, labels_partner_BK)}
    anchor, query_BLC = head.side(anchor_BCHW), head.query(anchor_BCHW)

    def maps_beside(other_BCHW: torch.Tensor) -> PairMaps:
        return head.pair(anchor, head.side(other_BCHW), query_BLC)

    first = pair_loss(maps_beside(partner_BCHW), labels_anchor_BK, labels_partner_BK, terms.contrastive, share)
    own = [
        pair_loss(maps_beside(copy_BCHW), labels_anchor_BK, labels_anchor_BK, contrastive=False) for copy_BCHW in copies
    ]
    losses = {
        "basic": first.basic + sum(pair.basic for pair in own),
        "common": first.common + sum(pair.common for pair in own),
    }
    if terms.contrastive:
        losses["contrastive"] = first.contrastive_m + first.contrastive_n
    return losses


def _basic_alone(
    head: CoAttentionHead,
    anchor_BCHW: torch.Tensor,
    partner_BCHW: torch.Tensor,
    copies: Sequence[torch.Tensor],
    labels_anchor_BK: torch.Tensor,
    labels_partner_BK: torch.Tensor,
) -> torch.Tensor:
    """CAM's loss on every pair: the mean over both photos' rows, summed over the pairs."""
    pairs = [(partner_BCHW, labels_partner_BK), *((copy_BCHW, labels_anchor_BK) for copy_BCHW in copies)]
    anchor_BK = head.basic_maps(anchor_BCHW).mean((2, 3))
    losses = (
        multilabel_soft_margin_loss(
            torch.cat([anchor_BK, head.basic_maps(other_BCHW).mean((2, 3))]), torch.cat([labels_anchor_BK, labels_BK])
        )
        for other_BCHW, labels_BK in pairs
    )
    return torch.stack(list(losses)).sum()
