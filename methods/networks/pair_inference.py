"""The maps that a trained pair classifier gives for a photo: alone, beside copies of itself, beside references."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

import torch
from torch.nn.functional import interpolate

from methods.base import FeatureBank, FeatureRequest
from methods.networks.pair_classifier import PairClassifier

MEMORY_LIMIT = 1 << 30
"""Bytes of features that are kept after the hidden layers; what was used longest ago is computed again."""
TOGETHER = 16
"""Photos a pass through the hidden layers."""
REFERENCES_TOGETHER = 8
"""References a pass through the head."""
PLAIN, MIRRORED = FeatureRequest(), FeatureRequest(flip=True)


class PairInference:
    """Maps of single photos, raw (K, h, w); each photo's features are computed once a scale, however often used."""

    def __init__(self, network: PairClassifier, bank: FeatureBank, device: str, *, one_grid: bool = True) -> None:
        """`one_grid` False: photos of the bank have grids of their own, so that each goes by itself."""
        self._network = network.to(device).eval().requires_grad_(False)
        self._bank, self._device = bank, device
        self._together = TOGETHER if one_grid else 1
        self._references_together = REFERENCES_TOGETHER if one_grid else 1
        self._kept: OrderedDict[tuple[str, FeatureRequest], torch.Tensor] = OrderedDict()
        self._bytes = 0

    def basic(self, photo_id: str) -> torch.Tensor:
        """CAM's maps: ReLU of plain and mirrored summed."""
        return self._alone(photo_id, self._network.head.basic_maps)

    def own(self, photo_id: str) -> torch.Tensor:
        """The same through `common_head`, on the photo's own features."""
        return self._alone(photo_id, self._network.head.own_maps)

    def scores(self, photo_id: str) -> torch.Tensor:
        """The classifier's logits, (K,): means of the basic maps over plain and mirrored."""
        maps = (self._network.head.basic_maps(self._features(photo_id, request)) for request in (PLAIN, MIRRORED))
        return torch.stack([maps_BKHW.mean((0, 2, 3)) for maps_BKHW in maps]).mean(0)

    def mirrored_pair(self, photo_id: str) -> tuple[torch.Tensor, torch.Tensor]:
        """The photo's common maps beside its mirror image, and the mirror image's, turned back."""
        pair = self._network.head(self._features(photo_id, PLAIN), self._features(photo_id, MIRRORED))
        return pair.common_m[0], pair.common_n[0].flip(2)

    def scaled_pair(self, photo_id: str, scale: float) -> torch.Tensor:
        """The common maps of a scaled copy beside the photo, on the photo's grid (bicubic)."""
        plain_BCHW = self._features(photo_id, PLAIN)
        pair = self._network.head(plain_BCHW, self._features(photo_id, FeatureRequest(scale)))
        resized = interpolate(pair.common_n, size=plain_BCHW.shape[2:], mode="bicubic", align_corners=False)
        return resized[0]

    def with_references(self, photo_id: str, references: Sequence[str]) -> torch.Tensor:
        """The photo's common maps beside each reference, (R, K, h, w)."""
        return self._beside(photo_id, references, self._network.head.common_maps)

    def affinities(self, photo_id: str, references: Sequence[str]) -> torch.Tensor:
        """How much of each reference is at the photo's positions, (R, h, w): log Σ exp of their affinities."""
        return self._beside(photo_id, references, self._network.head.affinity_maps)

    def _beside(
        self, photo_id: str, references: Sequence[str], maps_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """What `maps_of` gives of the photo and each reference, in their order; a few references at a time."""
        self.prepare(references, [PLAIN])
        plain_BCHW = self._features(photo_id, PLAIN)
        parts = []
        for start in range(0, len(references), self._references_together):
            ids = references[start : start + self._references_together]
            others_BCHW = torch.cat([self._features(other, PLAIN) for other in ids])
            parts.append(maps_of(plain_BCHW, others_BCHW))
        return torch.cat(parts)

    def entropy(self, photo_id: str, reference: str) -> float:
        """How widely the photo attends to a reference: nats, the mean over its positions."""
        pair = self._features(photo_id, PLAIN), self._features(reference, PLAIN)
        return float(self._network.head.attention_entropy(*pair).mean())

    def grid(self, photo_id: str) -> tuple[int, int]:
        """Height and width of a photo's grid."""
        height, width = self._features(photo_id, PLAIN).shape[2:]
        return height, width

    def prepare(self, ids: Iterable[str], requests: Iterable[FeatureRequest]) -> None:
        """Take photos through the hidden layers, several a pass, where they have not been: each alone takes longer."""
        ids, requests = tuple(dict.fromkeys(ids)), tuple(requests)
        for start in range(0, len(ids), self._together):
            for request in requests:
                batch = ids[start : start + self._together]
                missing = [photo_id for photo_id in batch if (photo_id, request) not in self._kept]
                if missing:
                    self._compute(missing, request)

    def _alone(self, photo_id: str, maps_of: object) -> torch.Tensor:
        assert callable(maps_of)
        plain_KHW = maps_of(self._features(photo_id, PLAIN))[0].relu()
        mirrored_KHW = maps_of(self._features(photo_id, MIRRORED))[0].relu().flip(2)
        total_KHW: torch.Tensor = plain_KHW + mirrored_KHW
        return total_KHW

    def _features(self, photo_id: str, request: FeatureRequest) -> torch.Tensor:
        """Features after the hidden layers, (1, C, h, w)."""
        if (photo_id, request) not in self._kept:
            self._compute([photo_id], request)
        self._kept.move_to_end((photo_id, request))
        return self._kept[photo_id, request]

    def _compute(self, ids: Sequence[str], request: FeatureRequest) -> None:
        stored_BCHW = self._bank.features_BCHW(ids, [request] * len(ids)).to(self._device)
        for photo_id, features_BCHW in zip(ids, self._network(stored_BCHW).split(1), strict=True):
            self._kept[photo_id, request] = features_BCHW
            self._bytes += features_BCHW.nbytes
        # What was just computed stays, however large.
        while self._bytes > MEMORY_LIMIT and len(self._kept) > len(ids):
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
