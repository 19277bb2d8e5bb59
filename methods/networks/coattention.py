"""The co-attention classifier: Sun, Wang, Dai & Van Gool, "Mining Cross-Image Semantics", ECCV 2020 (MCIS).

Its heads are 1×1 convolutions without bias, so they may change places with attention: scores of a mixture of features
are the mixture of the scores. Here attention mixes K + 1 scores a position (class maps and gate), not C features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import linear, multilabel_soft_margin_loss, pad

from methods.networks.attention import Kernel, attend, co_attend, entropy, log_sum_exp, wide
from methods.networks.pointwise import mixed
from methods.sharing import ALONE, Share


class PairMaps(NamedTuple):
    """Raw class maps of a pair of photos, (B, K, h, w) each at its photo's own grid."""

    basic_m: torch.Tensor
    basic_n: torch.Tensor
    common_m: torch.Tensor
    common_n: torch.Tensor
    contrastive_m: torch.Tensor
    contrastive_n: torch.Tensor


class Side(NamedTuple):
    """One photo of a pair: its features, a row a position, and the heads' scores of them."""

    rows_BLC: torch.Tensor
    own_BLV: torch.Tensor
    """The common head's, and the gate's last: what attention mixes."""
    basic_BLK: torch.Tensor
    grid: tuple[int, ...]


class PairLoss(NamedTuple):
    """The terms of a pair's loss, and their sum."""

    basic: torch.Tensor
    common: torch.Tensor
    contrastive_m: torch.Tensor
    contrastive_n: torch.Tensor
    total: torch.Tensor


class CoAttentionHead(nn.Module):
    """Class maps of a photo by itself (basic), of what it shares with another (common), and of the rest (contrastive).

    `learned_affinity` False: W is the identity, and has no parameter. `separate_heads` False: there is no basic head;
    the common head, which has no bias, gives the basic maps too (the paper's figure). `kernel` None: the rule's.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        learned_affinity: bool = True,
        separate_heads: bool = True,
        kernel: Kernel | None = None,
    ) -> None:
        super().__init__()
        self.affinity = nn.Linear(channels, channels, bias=False) if learned_affinity else nn.Identity()
        self.common_head = nn.Conv2d(channels, classes, 1, bias=False)
        self.gate = nn.Conv2d(channels, 1, 1, bias=False)
        self.basic_head = nn.Conv2d(channels, classes, 1) if separate_heads else None
        self.kernel = kernel

    def forward(self, feature_m_BCHW: torch.Tensor, feature_n_BCHW: torch.Tensor) -> PairMaps:
        """Features (B, C, h, w) of both photos, whose grids may differ → all six raw maps."""
        return self.pair(self.side(feature_m_BCHW), self.side(feature_n_BCHW), self.query(feature_m_BCHW))

    def side(self, feature_BCHW: torch.Tensor) -> Side:
        """What a photo brings into each pair that it is in: to be made once where there are several."""
        rows_BLC = _rows(feature_BCHW)
        weights, biases = self._weights_and_biases()
        with torch.autocast(rows_BLC.device.type, enabled=False):
            scores_BLV = linear(rows_BLC, weights, biases)
        values = self.common_head.out_channels + 1
        own_BLV, basic_BLK = scores_BLV[..., :values], scores_BLV[..., values:]
        if self.basic_head is None:
            basic_BLK = own_BLV[..., :-1]
        return Side(rows_BLC, own_BLV, basic_BLK, feature_BCHW.shape[2:])

    def query(self, feature_BCHW: torch.Tensor) -> torch.Tensor:
        """What a pair's first photo asks of the second, (B, positions, C): to be made once for several pairs."""
        rows_BLC = _rows(feature_BCHW)
        with torch.autocast(rows_BLC.device.type, enabled=False):
            query_BLC: torch.Tensor = self.affinity(rows_BLC)
        return query_BLC

    def pair(self, m: Side, n: Side, query_BLC: torch.Tensor) -> PairMaps:
        """All six raw maps of two photos, of which `query_BLC` is the first one's query."""
        mixed = co_attend(query_BLC, n.rows_BLC, m.own_BLV, n.own_BLV, self.kernel)
        rows_and_grids = [
            (m.basic_BLK, m.grid),
            (n.basic_BLK, n.grid),
            (mixed.m_BLV[..., :-1], m.grid),
            (mixed.n_BSV[..., :-1], n.grid),
            (_ungated(m.own_BLV, mixed.m_BLV), m.grid),
            (_ungated(n.own_BLV, mixed.n_BSV), n.grid),
        ]
        return PairMaps(*(_grid(rows_BLV, grid) for rows_BLV, grid in rows_and_grids))

    def _weights_and_biases(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Those of all heads: one product instead of three reads the features once."""
        heads = (
            [self.common_head, self.gate] if self.basic_head is None else [self.common_head, self.gate, self.basic_head]
        )
        weights = torch.cat([head.weight.flatten(1) for head in heads])
        if self.basic_head is None:
            return weights, None
        assert self.basic_head.bias is not None
        return weights, pad(self.basic_head.bias, (len(weights) - len(self.basic_head.bias), 0))

    def basic_maps(self, feature_BCHW: torch.Tensor) -> torch.Tensor:
        """Raw maps (B, K, h, w) of a photo by itself."""
        head = self.basic_head or self.common_head
        return mixed(feature_BCHW, head.weight, head.bias)

    def own_maps(self, feature_BCHW: torch.Tensor) -> torch.Tensor:
        """The common head's raw maps (B, K, h, w) on a photo's own features."""
        return mixed(feature_BCHW, self.common_head.weight)

    def common_maps(self, feature_m_BCHW: torch.Tensor, feature_n_BCHW: torch.Tensor) -> torch.Tensor:
        """m's raw common maps (B, K, h_m, w_m), for inference; a single m is paired with every n of the batch."""
        value_BSK = _rows(self.own_maps(feature_n_BCHW))
        mixed_BLK = attend(*self._query_and_key(feature_m_BCHW, feature_n_BCHW), value_BSK, self.kernel)
        return _grid(mixed_BLK, feature_m_BCHW.shape[2:])

    def affinity_maps(self, feature_m_BCHW: torch.Tensor, feature_n_BCHW: torch.Tensor) -> torch.Tensor:
        """How much at m's positions is like n: log Σ exp of their affinities to all of n's, (B, h_m, w_m), no gradient.

        Affinities as they are before the softmax; a single m is held against every n of the batch.
        """
        sums_BL = log_sum_exp(*self._query_and_key(feature_m_BCHW, feature_n_BCHW))
        return sums_BL.reshape(-1, *feature_m_BCHW.shape[2:])

    def attention_entropy(self, feature_m_BCHW: torch.Tensor, feature_n_BCHW: torch.Tensor) -> torch.Tensor:
        """How widely m looks at n: the mean over m's positions of the attention's entropy, (B,) nats, no gradient."""
        with torch.no_grad():
            return entropy(*self._query_and_key(feature_m_BCHW, feature_n_BCHW))

    def _query_and_key(self, feature_m: torch.Tensor, feature_n: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.query(feature_m).expand(len(feature_n), -1, -1), _rows(feature_n)

    @classmethod
    def of_state(cls, state: Mapping[str, torch.Tensor]) -> CoAttentionHead:
        """The network whose state this is; sizes and switches are read off the tensors."""
        classes, channels = state["common_head.weight"].shape[:2]
        learned, separate = "affinity.weight" in state, "basic_head.weight" in state
        head = cls(channels, classes, learned_affinity=learned, separate_heads=separate)
        head.load_state_dict(dict(state))
        return head


def _rows(feature_BCHW: torch.Tensor) -> torch.Tensor:
    # Low precision ends here: affinities are sums over all channels.
    return wide(feature_BCHW).flatten(2).transpose(1, 2)


def _grid(rows_BLV: torch.Tensor, grid: tuple[int, ...]) -> torch.Tensor:
    return rows_BLV.transpose(1, 2).reshape(*rows_BLV.shape[::2], *grid)


def _ungated(own_BLV: torch.Tensor, common_BLV: torch.Tensor) -> torch.Tensor:
    # 1 − σ(x) = σ(−x); the gate is one number a position, so it may be applied after the head.
    return torch.sigmoid(-common_BLV[..., -1:]) * own_BLV[..., :-1]


def pair_loss(
    maps: PairMaps,
    labels_m_BK: torch.Tensor,
    labels_n_BK: torch.Tensor,
    contrastive: bool = True,
    share: Share = ALONE,
) -> PairLoss:
    """Multi-label soft-margin losses on the means of the maps; labels are multi-hot, of a floating type.

    Targets: own labels (basic), shared ones (common), the photo's unshared ones (contrastive). Basic and common are
    one mean over both photos' rows. A contrastive term is 0 where no photo of its side has an unshared class, in the
    whole batch that these pairs are this process's share of.
    """
    shared_BK = labels_m_BK * labels_n_BK
    basic = _soft_margin((maps.basic_m, maps.basic_n), (labels_m_BK, labels_n_BK))
    common = _soft_margin((maps.common_m, maps.common_n), (shared_BK, shared_BK))
    contrastive_m = contrastive_n = torch.zeros_like(basic)
    if contrastive:
        unshared_m_BK, unshared_n_BK = labels_m_BK - shared_BK, labels_n_BK - shared_BK
        contrastive_m = _soft_margin((maps.contrastive_m,), (unshared_m_BK,)) * share.any(unshared_m_BK.any())
        contrastive_n = _soft_margin((maps.contrastive_n,), (unshared_n_BK,)) * share.any(unshared_n_BK.any())
    return PairLoss(basic, common, contrastive_m, contrastive_n, basic + common + contrastive_m + contrastive_n)


def _soft_margin(maps: Sequence[torch.Tensor], labels: Sequence[torch.Tensor]) -> torch.Tensor:
    # Low precision ends here: the mean over positions is float32 at least.
    scores = [raw.mean((2, 3), dtype=torch.promote_types(raw.dtype, torch.float32)) for raw in maps]
    return multilabel_soft_margin_loss(torch.cat(scores), torch.cat(list(labels)))


ABSENT_BELOW = -math.log(9)
"""The logit of 0.1: a later map of smaller mean says that the class is not there."""


def five_map_mean(maps_RHW: NDArray[np.float32], fuse: Literal["mean", "max"] = "mean") -> NDArray[np.uint8]:
    """Fuse one class's raw maps, five in MCIS, into a map of 0 to 255 (released program's rule).

    Each counts as ReLU / (its maximum + 1e-8); a later one than the first only if σ(mean) > 0.1. `mean` divides by the
    number of maps, those left out too; `max` takes each position's largest.
    """
    counted_RHW = [raw for i, raw in enumerate(maps_RHW) if i == 0 or raw.mean() > ABSENT_BELOW]
    positive_RHW = np.maximum(counted_RHW, 0)
    scaled_RHW = positive_RHW / (positive_RHW.max((1, 2), keepdims=True) + 1e-8) * 255
    fused_HW: NDArray[np.float32] = scaled_RHW.max(0) if fuse == "max" else scaled_RHW.sum(0) / len(maps_RHW)
    return fused_HW.astype(np.uint8)
