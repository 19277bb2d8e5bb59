"""Self-supervised equivariant attention (SEAM): Wang et al., CVPR 2020; docs/methods.md §6.

A pixel correlation module (PCM) spreads class maps over positions that look alike. Classification and equivariance
(ER) train the classifier; consistency (ECR) and min-pooling train the PCM alone, since it refines detached maps of
detached features: as in the released program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import multilabel_soft_margin_loss

from methods.networks.grids import resized
from methods.networks.heads import ClassMaps, he_normal_

WIDTHS = (64, 128)
"""Channels to which the two levels are projected; their sum is that of the features compared."""
COMPARED = len(WIDTHS)
COLOURS = 3
HARDEST = 0.2
"""The share of entries that count in the consistency loss."""
LOWEST = 0.25
"""The share of positions that count in the min-pooling loss."""
FLOOR = 1e-5
"""Taken from maps before, and added to lengths and sums by which something is divided."""


class PixelCorrelation(nn.Module):
    """PCM: each position takes the mean of the maps over positions that are like it in colour and features.

    `channels` are those of the two levels, the shallower first. No layer has a bias.
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.projections = nn.ModuleList(
            he_normal_(nn.Conv2d(inputs, width, 1, bias=False)) for inputs, width in zip(channels, widths, strict=True)
        )
        self.mixing = nn.Conv2d(COLOURS + sum(widths), sum(widths), 1, bias=False)
        nn.init.xavier_uniform_(self.mixing.weight, gain=4)

    def forward(
        self, levels_BCHW: Sequence[torch.Tensor], image_B3HW: torch.Tensor, maps_BCHW: torch.Tensor
    ) -> torch.Tensor:
        """Maps refined, float32 (B, C, h, w): convex mixes of the values of `maps_BCHW`, a channel by itself."""
        affinity_BPQ = self.affinity(levels_BCHW, image_B3HW)
        with torch.autocast(affinity_BPQ.device.type, enabled=False):
            return (maps_BCHW.float().flatten(2) @ affinity_BPQ).reshape(maps_BCHW.shape)

    def affinity(self, levels_BCHW: Sequence[torch.Tensor], image_B3HW: torch.Tensor) -> torch.Tensor:
        """(B, P, P) over the P positions of the image's grid: what position q takes of p; columns have the sum 1.

        Cosines of the mixed features, negative ones 0, float32 also under autocast; no gradient reaches the levels. A
        level of another size is resized, bilinear; the image is RGB in [−1, 1].
        """
        projected = [
            resized(project(level.detach()).relu(), image_B3HW.shape[2:])
            for project, level in zip(self.projections, levels_BCHW, strict=True)
        ]
        mixed_BCP = self.mixing(torch.cat([image_B3HW, *projected], 1)).float().flatten(2)
        features_BCP = mixed_BCP / (torch.linalg.vector_norm(mixed_BCP, dim=1, keepdim=True) + FLOOR)
        with torch.autocast(features_BCP.device.type, enabled=False):
            alike_BPQ = (features_BCP.transpose(1, 2) @ features_BCP).relu()
        affinity_BPQ: torch.Tensor = alike_BPQ / (alike_BPQ.sum(1, keepdim=True) + FLOOR)
        return affinity_BPQ

    @classmethod
    def of_state(cls, state: Mapping[str, torch.Tensor]) -> PixelCorrelation:
        """The network whose state this is; its sizes are read off the tensors."""
        shapes = [state[f"projections.{index}.weight"].shape for index in range(2)]
        module = cls([inputs for _, inputs, *_ in shapes], [outputs for outputs, *_ in shapes])
        module.load_state_dict(dict(state))
        return module


class Branch(NamedTuple):
    """What the network makes of one copy of the photos: raw class maps (B, K, h, w), refined ones (B, K + 1, h, w).

    The refined maps begin with the background's.
    """

    raw_BKHW: torch.Tensor
    refined_BCHW: torch.Tensor


class Seam(nn.Module):
    """The classifier on the deepest level, and the PCM, on the first two, that refines its maps."""

    def __init__(self, head: ClassMaps, correlation: PixelCorrelation) -> None:
        super().__init__()
        self.head, self.correlation = head, correlation

    def forward(
        self, levels_BCHW: Sequence[torch.Tensor], image_B3HW: torch.Tensor, labels_BK: torch.Tensor | None = None
    ) -> Branch:
        """Two levels or three, ascending. `image_B3HW` has the deepest one's size.

        With labels, only their classes compete for a position.
        """
        raw_BKHW = self.head(levels_BCHW[-1]).float()
        shown_BKHW = raw_BKHW.detach() if labels_BK is None else raw_BKHW.detach() * labels_BK[:, :, None, None]
        compared = levels_BCHW[:COMPARED]
        return Branch(raw_BKHW, self.correlation(compared, image_B3HW, with_background(peaked(shown_BKHW))))


def peaked(maps_BCHW: torch.Tensor) -> torch.Tensor:
    """ReLU, each map divided by its maximum: what the PCM refines. A map without a positive value becomes 0."""
    positive_BCHW = maps_BCHW.relu()
    return (positive_BCHW - FLOOR).relu() / (positive_BCHW.amax((2, 3), keepdim=True) + FLOOR)


def stretched(maps_BCHW: torch.Tensor) -> torch.Tensor:
    """ReLU, each map stretched from its minimum and maximum to 0 and 1: what the losses compare, and the final maps."""
    positive_BCHW = maps_BCHW.relu()
    least_BC11 = positive_BCHW.amin((2, 3), keepdim=True)
    range_BC11 = positive_BCHW.amax((2, 3), keepdim=True) - least_BC11
    return (positive_BCHW - least_BC11 - FLOOR).relu() / (range_BC11 + FLOOR)


def with_background(maps_BKHW: torch.Tensor) -> torch.Tensor:
    """1 − the strongest class before the classes, of which only the strongest is kept at each position."""
    strongest_B1HW = maps_BKHW.amax(1, keepdim=True)
    kept_BKHW = torch.where(maps_BKHW == strongest_B1HW, maps_BKHW, 0)
    return torch.cat([1 - strongest_B1HW, kept_BKHW], 1)


def seam_losses(large: Branch, small: Branch, labels_BK: torch.Tensor) -> dict[str, torch.Tensor]:
    """The four terms, all of weight 1, of the photos and their small copies; labels are multi-hot floats.

    Maps are compared at the small copy's grid, each stretched to 0 and 1 before, classes without label being 0.
    """
    grid = small.raw_BKHW.shape[2:]
    labels_BK11 = labels_BK[:, :, None, None]
    labels_BC11 = torch.cat([torch.ones_like(labels_BK11[:, :1]), labels_BK11], 1)
    raws = [resized(stretched(branch.raw_BKHW), grid) * labels_BK11 for branch in (large, small)]
    refined = [resized(stretched(branch.refined_BCHW), grid) * labels_BC11 for branch in (large, small)]
    scores = [multilabel_soft_margin_loss(branch.raw_BKHW.mean((2, 3)), labels_BK) for branch in (large, small)]
    lows = [min_pooling(branch.refined_BCHW[:, 1:] * labels_BK11) for branch in (large, small)]
    return {
        "classification": (scores[0] + scores[1]) / 2,
        "equivariance": (raws[0] - raws[1]).abs().mean(),
        "consistency": consistency(refined[0], raws[1], labels_BK) + consistency(refined[1], raws[0], labels_BK),
        "min_pooling": (lows[0] + lows[1]) / 2,
    }


def consistency(refined_BCHW: torch.Tensor, other_BKHW: torch.Tensor, labels_BK: torch.Tensor) -> torch.Tensor:
    """ECR of one branch: mean of the largest fifth of |refined maps − the other branch's maps with background|.

    Sizes are taken photo by photo, over all its maps; no gradient reaches the other branch. A photo without labels
    counts 0, as in the other terms: it has a background map alone, and stretching one that is even makes 0 of 1.
    """
    differences_BN = (refined_BCHW - with_background(other_BKHW.detach())).abs().flatten(1)
    hardest_BN = differences_BN.topk(max(1, int(HARDEST * differences_BN.shape[1]))).values
    return (hardest_BN * labels_BK.amax(1, keepdim=True)).mean()


def min_pooling(refined_BKHW: torch.Tensor) -> torch.Tensor:
    """Mean of the lowest quarter of each photo's strongest refined foreground map, ReLU: room for background."""
    strongest_BP = refined_BKHW.amax(1).flatten(1)
    lowest_BN = strongest_BP.topk(max(1, int(LOWEST * strongest_BP.shape[1])), largest=False).values
    return lowest_BN.relu().mean()
