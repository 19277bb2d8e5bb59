"""SCCNet (Wang et al., SIGSPATIAL 2023): where a photo shows what a mask of another photo shows, told by how alike all
positions of both are; then once more, by how alike the photo's own positions are. Formulas in docs/methods.md §10.

Correlations are 4D: (query height, query width, support height, support width). They are convolved by centre pivots
(HSNet, Min et al., ICCV 2021), 2D convolutions over the query's positions and over the support's, added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import nn

from methods.networks.cross_entropy import mean_cross_entropy
from methods.networks.grids import resized
from settings.records import UNKNOWN

__all__ = ["Matched", "MatchingNetwork", "SelfMask", "correlations", "masked", "votes"]

LEAST_NORM = 1e-5
"""Added to the length of a feature before it is divided by it."""
VOTE_SHARE = 0.4
"""Of the largest number of votes in a photo, from which a pixel is the class's."""
GROUPS = 4
KERNELS = {"shallow": ((5, 4), (5, 4), (3, 2)), "middle": ((5, 4), (3, 2), (3, 2)), "deep": ((3, 2), (3, 2), (3, 2))}
"""(kernel, stride over the support's positions) of each level's three convolutions."""
LEVELS = ("shallow", "middle", "deep")

Features = Sequence[torch.Tensor]
"""(B, maps, C, h, w) a level, the shallowest first."""


class CentrePivot(nn.Module):
    """A 4D convolution that only sees the positions whose query or whose support position is the centre."""

    def __init__(self, channels: int, width: int, kernel: int, support_stride: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, width, kernel, padding=kernel // 2)
        self.support = nn.Conv2d(channels, width, kernel, support_stride, padding=kernel // 2)
        self.stride = support_stride

    def forward(self, values_BCQQSS: torch.Tensor) -> torch.Tensor:
        """(B, C, hq, wq, hs, ws) → (B, width, hq, wq, ⌈hs / stride⌉, ⌈ws / stride⌉)."""
        thinned_BCQQSS = values_BCQQSS[..., :: self.stride, :: self.stride]
        over_query = _on_axes(self.query, thinned_BCQQSS.permute(0, 4, 5, 1, 2, 3)).permute(0, 3, 4, 5, 1, 2)
        over_support = _on_axes(self.support, values_BCQQSS.permute(0, 2, 3, 1, 4, 5)).permute(0, 3, 1, 2, 4, 5)
        return over_query + over_support


def _on_axes(convolution: nn.Conv2d, values_BXYCHW: torch.Tensor) -> torch.Tensor:
    """A 2D convolution of the last two axes: the first three count as a batch."""
    batch = values_BXYCHW.shape[:3]
    convolved: torch.Tensor = convolution(values_BXYCHW.reshape(-1, *values_BXYCHW.shape[3:]))
    return convolved.reshape(*batch, *convolved.shape[1:])


class Matcher(nn.Module):
    """Correlations of three levels → two logits a query position: coarse levels are added to finer ones."""

    def __init__(self, maps: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        first, second, third = widths
        for level, count in zip(LEVELS, maps, strict=True):
            steps = zip((count, first, second), (first, second, third), KERNELS[level], strict=True)
            self.add_module(f"encode_{level}", _pivots([(before, after, *shape) for before, after, shape in steps]))
        same = [(third, third, 3, 1)] * 3
        self.mix_middle, self.mix_shallow = _pivots(same), _pivots(same)
        self.decode1 = _two_convolutions(third, third, second)
        self.decode2 = _two_convolutions(second, second, 2)
        del self.decode2[3]

    def forward(self, correlations_BMQQSS: Sequence[torch.Tensor]) -> torch.Tensor:
        """Logits (B, 2, 2·hq, 2·wq), hq and wq being the query's grid at the shallowest level."""
        shallow, middle, deep = (
            self.get_submodule(f"encode_{level}")(values)
            for level, values in zip(LEVELS, correlations_BMQQSS, strict=True)
        )
        mixed = self.mix_middle(_query_at(deep, middle.shape[2:4]) + middle)
        mixed = self.mix_shallow(_query_at(mixed, shallow.shape[2:4]) + shallow)
        decoded_BCHW = self.decode1(mixed.mean((4, 5)))
        height, width = decoded_BCHW.shape[2:]
        logits_B2HW: torch.Tensor = self.decode2(resized(decoded_BCHW, (2 * height, 2 * width), align_corners=True))
        return logits_B2HW


def _pivots(steps: Sequence[tuple[int, int, int, int]]) -> nn.Sequential:
    """Centre-pivot convolutions, (channels, width, kernel, stride) each, with a group norm and a ReLU."""
    layers: list[nn.Module] = []
    for channels, width, kernel, stride in steps:
        layers += [CentrePivot(channels, width, kernel, stride), nn.GroupNorm(GROUPS, width), nn.ReLU()]
    return nn.Sequential(*layers)


def _two_convolutions(channels: int, width: int, outputs: int) -> nn.Sequential:
    first, second = nn.Conv2d(channels, width, 3, padding=1), nn.Conv2d(width, outputs, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())


def _query_at(values_BCQQSS: torch.Tensor, grid: Sequence[int]) -> torch.Tensor:
    """The query's positions at another grid (height, width), the support's as they are."""
    batch, channels, height, width, tall, wide = values_BCQQSS.shape
    flat = values_BCQQSS.permute(0, 4, 5, 1, 2, 3).reshape(-1, channels, height, width)
    larger = resized(flat, tuple(grid), align_corners=True)
    return larger.reshape(batch, tall, wide, channels, *grid).permute(0, 3, 4, 5, 1, 2)


SelfMask = Literal["one_sided", "both_sides"]
"""Where the first mask is laid on the query's own features: where they are looked for alone, or on both sides."""


class Matched(NamedTuple):
    """Logits (B, 2, h, w) of background and class, before they are resized to the masks."""

    first_B2HW: torch.Tensor
    """From the support."""
    second_B2HW: torch.Tensor
    """From the query itself, where the first mask lies."""
    merged_B2HW: torch.Tensor
    """Of both, not negative."""
    first_mask_BHW: torch.Tensor
    """The class by the first logits, uint8 at the size of the masks."""


class MatchingNetwork(nn.Module):
    """A first mask by the correlations of a query with a support, a second by the query's own, and both merged.

    `maps` says how many feature maps each level has, `widths` how wide the three convolutions of an encoder are.
    """

    def __init__(self, maps: Sequence[int], widths: Sequence[int], self_mask: SelfMask) -> None:
        super().__init__()
        self.matcher = Matcher(maps, widths)
        self.own_matcher = Matcher(maps, widths)
        self.merger = nn.Conv2d(4, 2, 1, bias=False)
        self.self_mask = self_mask

    @classmethod
    def of_state(cls, state: Mapping[str, torch.Tensor], self_mask: SelfMask) -> MatchingNetwork:
        """The network whose state this is; its sizes are read off the tensors."""
        maps = [state[f"matcher.encode_{level}.0.query.weight"].shape[1] for level in LEVELS]
        widths = [state[f"matcher.encode_shallow.{layer}.query.weight"].shape[0] for layer in (0, 3, 6)]
        network = cls(maps, widths, self_mask)
        network.load_state_dict(dict(state))
        return network

    def forward(self, query: Features, support: Features, support_mask_BHW: torch.Tensor) -> Matched:
        """Features (B, maps, C, h, w) a level, and the support's mask of the class (0 or 1) at any size."""
        first_B2HW = self.matcher(correlations(query, masked(support, support_mask_BHW)))
        size = support_mask_BHW.shape[1:]
        first_mask_BHW = resized(first_B2HW.detach(), size, align_corners=True).argmax(1).to(torch.uint8)
        second_B2HW = self.own(query, first_mask_BHW)
        merged_B2HW = self.merger(torch.cat([first_B2HW, second_B2HW], 1)).relu()
        return Matched(first_B2HW, second_B2HW, merged_B2HW, first_mask_BHW)

    def own(self, query: Features, mask_BHW: torch.Tensor) -> torch.Tensor:
        """Logits (B, 2, h, w) from the query's correlations with what of itself a mask covers."""
        covered = masked(query, mask_BHW)
        if self.self_mask == "both_sides":
            query = covered
        return self.own_matcher(correlations(query, covered))  # type: ignore[no-any-return]

    def by_truth(self, query: Features, matched: Matched, truth_BHW: torch.Tensor) -> torch.Tensor:
        """Logits (B, 2, h, w) from the query's correlations with what of itself its true mask (0 or 1) covers.

        As released, the true mask is laid on what the first mask left where both sides are masked.
        """
        if self.self_mask == "both_sides":
            query = masked(query, matched.first_mask_BHW)
        return self.own(query, truth_BHW)

    def losses(
        self,
        query: Features,
        support: Features,
        support_mask_BHW: torch.Tensor,
        truth_BHW: torch.Tensor,
        known: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Cross-entropy of the merged logits, and of the second ones with the true mask in the first one's place.

        Truth is 0, 1, or 255 where unknown; `known` is what the means divide by.
        """
        matched = self(query, support, support_mask_BHW)
        truth_only_BHW = truth_BHW.where(truth_BHW != UNKNOWN, 0)
        by_truth_B2HW = self.by_truth(query, matched, truth_only_BHW)
        size = truth_BHW.shape[1:]
        of_merged, of_truth = (
            mean_cross_entropy(resized(logits, size, align_corners=True), truth_BHW.long(), known)
            for logits in (matched.merged_B2HW, by_truth_B2HW)
        )
        return {"merged": of_merged, "true_mask": of_truth}


def masked(features: Features, mask_BHW: torch.Tensor) -> list[torch.Tensor]:
    """The features times a mask that is resized to each level, bilinear with corners aligned."""
    found = []
    for level_BMCHW in features:
        mask_B1HW = resized(mask_BHW[:, None].float(), level_BMCHW.shape[3:], align_corners=True)
        found.append(level_BMCHW * mask_B1HW[:, None])
    return found


def correlations(query: Features, support: Features) -> list[torch.Tensor]:
    """The cosine of every query position with every support position, 0 where negative: (B, maps, hq, wq, hs, ws)."""
    found = []
    for query_BMCHW, support_BMCHW in zip(query, support, strict=True):
        units = [level / (level.norm(dim=2, keepdim=True) + LEAST_NORM) for level in (query_BMCHW, support_BMCHW)]
        found.append(torch.einsum("bmcij,bmckl->bmijkl", *units).relu())
    return found


def votes(logits_KB2HW: torch.Tensor) -> torch.Tensor:
    """The mask (B, H, W) by K supports: 1 where the votes are at least 0.4 of the most that a pixel of the photo has.

    A support votes for a pixel where its logit of the class is higher; one vote is enough where no pixel has three.
    """
    votes_BHW = logits_KB2HW.argmax(2).sum(0)
    most_B11 = votes_BHW.amax((1, 2), keepdim=True).clamp_min(1)
    return (votes_BHW / most_B11 >= VOTE_SHARE).to(torch.uint8)
