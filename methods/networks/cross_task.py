"""AuxSegNet (Xu et al., ICCV 2021): saliency and segmentation learn together, and what each finds alike refines both.

Every dense branch holds each position of a photo against every other one; the two affinities are fused entry by entry.
N positions make N² entries, so that they are made some rows at a time, and again in the backward pass. `unary` is after
AuxSegNet+ (Xu et al., TNNLS 2025), of which the abstract alone could be read. Formulas in docs/methods.md §4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, dropout2d, pad
from torch.utils.checkpoint import checkpoint

from methods.networks.cross_entropy import mean_cross_entropy
from methods.networks.grids import resized
from settings.records import UNKNOWN

__all__ = [
    "Affinity",
    "Alike",
    "CrossTaskNetwork",
    "Predictions",
    "losses",
    "peaked",
    "refined_maps",
    "refined_saliency",
]

Affinity = Literal["cross", "segmentation", "saliency", "identity"]
"""Which positions count as alike: by both tasks, by one of them, or each to itself alone."""
CHUNK_ENTRIES = 2**19
"""Affinities of one task in one chunk over the whole batch (2 MB in float32)."""
LEAST_PEAK = 1e-5
"""Added to a map's maximum before it is divided by it, as released."""


class Predictions(NamedTuple):
    """Logits of both tasks before and after the affinity, and what the classifier says."""

    scores_BK: torch.Tensor
    """Logits of the photo's classes."""
    class_maps_BKHW: torch.Tensor
    """The classifier at every position, before a ReLU."""
    segmentation_BSHW: torch.Tensor
    """Background and K classes."""
    refined_segmentation_BSHW: torch.Tensor
    saliency_B1HW: torch.Tensor
    refined_saliency_B1HW: torch.Tensor


class Branch(nn.Module):
    """One dense task: two dilated convolutions, attention over the photo, a third one, and a classifier.

    With `unary`, what a position takes from others has a second part that is the same for all positions of a photo.
    """

    def __init__(self, channels: int, width: int, outputs: int, dilations: Sequence[int], unary: bool) -> None:
        super().__init__()
        first, second, third = dilations
        self.conv1 = nn.Conv2d(channels, width, 3, padding=first, dilation=first)
        self.conv2 = nn.Conv2d(width, width, 3, padding=second, dilation=second)
        self.conv3 = nn.Conv2d(width, width, 3, padding=third, dilation=third)
        self.conv4 = nn.Conv2d(width, outputs, 1, bias=False)
        for convolution in (self.conv1, self.conv2, self.conv3, self.conv4):
            nn.init.xavier_uniform_(convolution.weight)
        self.theta = nn.Conv2d(width, width, 1)
        self.phi = nn.Conv2d(width, width, 1)
        self.g = nn.Conv2d(width, width, 1)
        self.W = nn.Conv2d(width, width, 1)
        self.unary = nn.Conv2d(width, 1, 1, bias=False) if unary else None

    def dense(self, features_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) → (B, width, h, w), what the attention is made from."""
        dense_BDHW: torch.Tensor = self.conv2(self.conv1(features_BCHW).relu()).relu()
        return dense_BDHW

    def queries_and_keys(self, dense_BDHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """θ and φ of every position, (B, N, width) each."""
        return flat(self.theta(dense_BDHW)), flat(self.phi(dense_BDHW))

    def first(self, dense_BDHW: torch.Tensor, alike: Alike) -> torch.Tensor:
        """The branch's logits (B, outputs, h, w), before the affinity of both tasks."""
        values_BNC = flat(self.g(dense_BDHW))
        mixed_BNC = alike.times(values_BNC)
        if alike.unary_B1N is not None:
            mixed_BNC = mixed_BNC + alike.unary_B1N @ values_BNC
        attended_BDHW = dense_BDHW + self.W(on_grid(mixed_BNC, dense_BDHW))
        logits_BSHW: torch.Tensor = self.conv4(self.conv3(attended_BDHW).relu())
        return logits_BSHW

    def alike(self, dense_BDHW: torch.Tensor) -> Alike:
        """The affinity of this task alone."""
        unary_B1N = None
        if self.unary is not None:
            unary_B1N = flat(self.unary(dense_BDHW)).transpose(1, 2).softmax(2)
        query_BND, key_BND = self.queries_and_keys(dense_BDHW)
        return Alike([query_BND], [key_BND], softmax_rows, unary_B1N)


class Alike:
    """A matrix of affinities (B, N, N) that is never whole in memory: only some of its rows at a time."""

    def __init__(
        self,
        queries_BND: Sequence[torch.Tensor],
        keys_BND: Sequence[torch.Tensor],
        rows_of: Callable[[Sequence[torch.Tensor], Sequence[torch.Tensor], slice], torch.Tensor],
        unary_B1N: torch.Tensor | None = None,
    ) -> None:
        self.queries_BND, self.keys_BND, self._rows_of = queries_BND, keys_BND, rows_of
        self.unary_B1N = unary_B1N

    def rows(self, rows: slice) -> torch.Tensor:
        """Some rows of the matrix, (B, rows, N)."""
        return self._rows_of(self.queries_BND, self.keys_BND, rows)

    def times(self, values_BNC: torch.Tensor) -> torch.Tensor:
        """The matrix times values, (B, N, C)."""

        def product(rows: slice, values_BNC: torch.Tensor, *both_BND: torch.Tensor) -> torch.Tensor:
            middle = len(both_BND) // 2
            return self._rows_of(both_BND[:middle], both_BND[middle:], rows) @ values_BNC

        slices = list(row_slices(values_BNC))
        operands = (values_BNC, *self.queries_BND, *self.keys_BND)
        if len(slices) == 1 or not torch.is_grad_enabled():
            return torch.cat([product(rows, *operands) for rows in slices], 1)
        # Kept for the backward pass, the rows would be the whole matrix again.
        return torch.cat([checkpoint(product, rows, *operands, use_reentrant=False) for rows in slices], 1)


class Fusion(nn.Module):
    """The affinities of two tasks → one, by weights that a small network gives each entry; its rows do not sum to 1."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 2, 3, padding=(0, 1), bias=False)
        self.conv2 = nn.Conv2d(2, 2, 1)

    def forward(self, one: Alike, other: Alike) -> Alike:
        """The fused matrix of two tasks."""
        unary_B1N = None
        if one.unary_B1N is not None and other.unary_B1N is not None:
            unary_B1N = (one.unary_B1N + other.unary_B1N) / 2
        queries_BND = [*one.queries_BND, *other.queries_BND]
        keys_BND = [*one.keys_BND, *other.keys_BND]
        return Alike(queries_BND, keys_BND, self.rows, unary_B1N)

    def rows(self, queries_BND: Sequence[torch.Tensor], keys_BND: Sequence[torch.Tensor], rows: slice) -> torch.Tensor:
        """Some rows of the fused matrix, (B, rows, N)."""
        weights_B2RN, both_B2RN = self.weights(queries_BND, keys_BND, rows)
        return (weights_B2RN * both_B2RN).sum(1)

    def weights(
        self, queries_BND: Sequence[torch.Tensor], keys_BND: Sequence[torch.Tensor], rows: slice
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What weighs each entry of some rows, and the entries of both tasks, (B, 2, rows, N) each."""
        positions = queries_BND[0].shape[1]
        # The 3×3 convolution sees a row more on either side; beyond the matrix there are zeros.
        halo = slice(max(0, rows.start - 1), min(positions, rows.stop + 1))
        pairs = zip(queries_BND, keys_BND, strict=True)
        both_B2RN = torch.stack([softmax_rows([query], [key], halo) for query, key in pairs], 1)
        above, below = rows.start - 1 < 0, rows.stop + 1 > positions
        padded_B2RN = pad(both_B2RN, (0, 0, int(above), int(below)))
        weights_B2RN = self.conv2(self.conv1(padded_B2RN).relu()).softmax(1)
        inner = slice(rows.start - halo.start, rows.stop - halo.start)
        return weights_B2RN, both_B2RN[:, :, inner]


class CrossTaskNetwork(nn.Module):
    """Classifier, segmentation and saliency on backbone features, and the affinity that refines both dense tasks."""

    def __init__(
        self,
        channels: int,
        classes: int,
        width: int,
        dilations: Sequence[int],
        affinity: Affinity = "cross",
        unary: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.classifier = nn.Conv2d(channels, classes, 1, bias=False)
        nn.init.xavier_uniform_(self.classifier.weight)
        self.segmentation = Branch(channels, width, classes + 1, dilations, unary)
        self.saliency = Branch(channels, width, 1, dilations, unary)
        self.fusion = Fusion()
        self.affinity, self.dropout = affinity, dropout

    @classmethod
    def of_state(
        cls, state: Mapping[str, torch.Tensor], dilations: Sequence[int], affinity: Affinity
    ) -> CrossTaskNetwork:
        """The network whose state this is; its sizes are read off the tensors."""
        classes, channels = state["classifier.weight"].shape[:2]
        width = state["segmentation.conv1.weight"].shape[0]
        network = cls(channels, classes, width, dilations, affinity, "segmentation.unary.weight" in state)
        network.load_state_dict(dict(state))
        return network

    def forward(self, features_BCHW: torch.Tensor) -> Predictions:
        """Logits of all tasks at the grid of the features."""
        return self.predict(features_BCHW)[0]

    def predict(self, features_BCHW: torch.Tensor) -> tuple[Predictions, Alike | None]:
        """Logits of all tasks, and the affinity that refined them; None for the identity."""
        pooled_BC11 = dropout2d(features_BCHW, self.dropout, self.training).mean((2, 3), keepdim=True)
        scores_BK = self.classifier(pooled_BC11).flatten(1)
        dense = [branch.dense(features_BCHW) for branch in (self.segmentation, self.saliency)]
        alike = [self.segmentation.alike(dense[0]), self.saliency.alike(dense[1])]
        segmentation_BSHW = self.segmentation.first(dense[0], alike[0])
        saliency_B1HW = self.saliency.first(dense[1], alike[1])
        chosen = self._chosen(*alike)
        both_BXHW = torch.cat([segmentation_BSHW, saliency_B1HW], 1)
        refined_BXHW = _refined(both_BXHW, chosen)
        predictions = Predictions(
            scores_BK,
            self.classifier(features_BCHW),
            segmentation_BSHW,
            refined_BXHW[:, :-1],
            saliency_B1HW,
            refined_BXHW[:, -1:],
        )
        return predictions, chosen

    def _chosen(self, segmentation: Alike, saliency: Alike) -> Alike | None:
        if self.affinity == "identity":
            return None
        alone = {"segmentation": segmentation, "saliency": saliency}
        return alone.get(self.affinity) or self.fusion(segmentation, saliency)


def _refined(logits_BXHW: torch.Tensor, alike: Alike | None) -> torch.Tensor:
    """The affinity times the logits; with a unary part, what this adds to all positions alike."""
    if alike is None:
        return logits_BXHW
    logits_BNX = flat(logits_BXHW)
    refined_BNX = alike.times(logits_BNX)
    if alike.unary_B1N is not None:
        refined_BNX = refined_BNX + alike.unary_B1N @ logits_BNX
    return on_grid(refined_BNX, logits_BXHW)


def flat(values_BCHW: torch.Tensor) -> torch.Tensor:
    """(B, C, h, w) → (B, h·w, C)."""
    return values_BCHW.flatten(2).transpose(1, 2)


def on_grid(values_BNC: torch.Tensor, like_BXHW: torch.Tensor) -> torch.Tensor:
    """(B, h·w, C) → (B, C, h, w), at the grid of the second."""
    return values_BNC.transpose(1, 2).reshape(len(values_BNC), -1, *like_BXHW.shape[2:])


def softmax_rows(queries_BND: Sequence[torch.Tensor], keys_BND: Sequence[torch.Tensor], rows: slice) -> torch.Tensor:
    """Some rows of softmax(Q Kᵀ), (B, rows, N), over the last axis and without a scale."""
    return (queries_BND[0][:, rows] @ keys_BND[0].transpose(1, 2)).softmax(2)


def row_slices(values_BNC: torch.Tensor) -> Iterator[slice]:
    """Rows of the N×N affinities, at most CHUNK_ENTRIES entries a slice over the whole batch, or one row."""
    batch, positions = values_BNC.shape[:2]
    step = max(1, CHUNK_ENTRIES // (batch * positions))
    return (slice(start, min(start + step, positions)) for start in range(0, positions, step))


def losses(
    predictions: Predictions,
    labels_BK: torch.Tensor,
    saliency_BHW: torch.Tensor,
    segmentation_BHW: torch.Tensor,
    counted: Callable[[torch.Tensor], torch.Tensor] = lambda known: known,
) -> dict[str, torch.Tensor]:
    """The five terms, which are added: classes, and each dense task before and after the affinity.

    Targets are (B, H, W), saliency 0 or 1, segmentation 0..K, both 255 where unknown; logits are resized to them.
    `counted` makes of the known pixels of a slice what the mean over its batch divides by.
    """
    classes = nn.functional.multilabel_soft_margin_loss(predictions.scores_BK, labels_BK)
    grid = segmentation_BHW.shape[1:]
    known_saliency, known = (counted((truth != UNKNOWN).sum()) for truth in (saliency_BHW, segmentation_BHW))

    def of_saliency(logits_B1HW: torch.Tensor) -> torch.Tensor:
        return mean_binary_cross_entropy(resized(logits_B1HW, grid)[:, 0], saliency_BHW, known_saliency)

    def of_segmentation(logits_BSHW: torch.Tensor) -> torch.Tensor:
        return mean_cross_entropy(resized(logits_BSHW, grid), segmentation_BHW.long(), known)

    return {
        "classes": classes,
        "saliency": of_saliency(predictions.saliency_B1HW),
        "refined_saliency": of_saliency(predictions.refined_saliency_B1HW),
        "segmentation": of_segmentation(predictions.segmentation_BSHW),
        "refined_segmentation": of_segmentation(predictions.refined_segmentation_BSHW),
    }


def mean_binary_cross_entropy(logits_BHW: torch.Tensor, truth_BHW: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Sum over pixels whose truth (0 or 1) is not 255, divided by `known`; 0 where none is."""
    is_known_BHW = truth_BHW != UNKNOWN
    truth = truth_BHW.where(is_known_BHW, 0).to(logits_BHW.dtype)
    cost_BHW = binary_cross_entropy_with_logits(logits_BHW, truth, reduction="none")
    return (cost_BHW * is_known_BHW).sum() / known.clamp_min(1)


def refined_maps(maps_BCHW: torch.Tensor, alike: Alike | None) -> torch.Tensor:
    """The maps' positive part divided by its maximum, spread by the affinity, and not divided again: up to 2."""
    if alike is None:
        return peaked(maps_BCHW)
    return on_grid(alike.times(flat(peaked(maps_BCHW))), maps_BCHW)


def peaked(maps_BCHW: torch.Tensor) -> torch.Tensor:
    """The positive part of each map, divided by its maximum."""
    positive_BCHW = maps_BCHW.relu()
    return positive_BCHW / (positive_BCHW.amax((2, 3), keepdim=True) + LEAST_PEAK)


def refined_saliency(logits_B1HW: torch.Tensor, original_BHW: torch.Tensor) -> torch.Tensor:
    """The mean of the network's saliency, a sigmoid before it is resized, and the original one in [0, 1], (B, H, W)."""
    found_B1HW = resized(logits_B1HW.sigmoid(), original_BHW.shape[1:])
    return (found_B1HW[:, 0] + original_BHW) / 2
