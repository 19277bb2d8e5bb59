"""Small networks on several levels of a backbone: AffinityNet's features (Ahn & Kwak, CVPR 2018) and IRN's class
boundary (Ahn, Cho & Kwak, CVPR 2019); docs/methods.md §4.

Which levels, and the grid they are brought to, are the caller's: strides differ between backbones. On the default one
(strides 2, 4, 8, 16, 16) AffinityNet takes levels 2–4 at the grid of level 2, IRN levels 0–4 at that of level 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn.functional import elu

from methods.kernels.compiled import photo_by_photo
from methods.networks.grids import resized
from methods.networks.pointwise import Pointwise, mixed
from methods.networks.random_walk import Counted, affinity_loss, affinity_loss_of_parts

AFFINITY_WIDTHS = (64, 128, 256)
"""Channels to which AffinityNet projects its levels, the shallowest first."""
BOUNDARY_WIDTH = 32
"""Channels to which IRN projects each level."""
CHANNELS_PER_GROUP = 8
"""Of the group norms: 8, 16 and 32 groups in AffinityNet, 4 in IRN."""


class AffinityHead(nn.Module):
    """Features whose mean absolute difference tells how unlike two pixels are.

    A level: 1×1 convolution without bias, group norm (unless `norm` is false), ELU. All of them concatenated: 1×1
    convolution without bias, ELU.
    `channels` are the levels', `widths` those they are projected to, the shallowest first. The last layer begins four
    times as large as usual (Xavier, gain 4, as released): on random levels affinities begin at 0.3 instead of 0.7.
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int] = AFFINITY_WIDTHS, *, norm: bool = True) -> None:
        super().__init__()
        self.projections = _projections(channels, widths, norm)
        self.mixing = Pointwise(sum(widths), sum(widths), bias=False)
        nn.init.xavier_uniform_(self.mixing.weight, gain=4)

    def forward(self, levels_BCHW: Sequence[torch.Tensor], grid: Sequence[int]) -> torch.Tensor:
        """Features (B, C, h, w) a level → (B, sum of widths, *grid); levels of another size are resized, bilinear."""
        total_BDHW, *others = (resized(part_BDHW, grid) for part_BDHW in self._parts(levels_BCHW))
        for other_BDHW in others:
            total_BDHW = total_BDHW + other_BDHW
        return elu(total_BDHW)

    def loss(
        self, levels_BCHW: Sequence[torch.Tensor], labels_BHW: torch.Tensor, radius: int, counted: Counted
    ) -> torch.Tensor:
        """`affinity_loss` of the features on the labels' grid; on one thread of a CPU, photo by photo."""
        grid = labels_BHW.shape[1:]
        if not photo_by_photo(self, *levels_BCHW) or levels_BCHW[0].shape[2:] != grid:
            return affinity_loss(self(levels_BCHW, grid).float(), labels_BHW, radius, counted=counted).total
        return affinity_loss_of_parts(self._parts(levels_BCHW), labels_BHW, radius, counted)

    def _parts(self, levels_BCHW: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """What adds up, resized, to the features before their ELU: one part a size of grid, that of the first first."""
        # Mixing is linear over channels and resizing over positions: small levels are mixed before they grow.
        projected = [elu(level) for level in _projected(self.projections, levels_BCHW)]
        weights = torch.split(self.mixing.weight, [level.shape[1] for level in projected], 1)
        parts: dict[torch.Size, torch.Tensor] = {}
        for level, weight in zip(projected, weights, strict=True):
            part_BDHW, size = mixed(level, weight), level.shape[2:]
            parts[size] = parts[size] + part_BDHW if size in parts else part_BDHW
        return list(parts.values())

    @classmethod
    def of_state(cls, state: Mapping[str, torch.Tensor]) -> AffinityHead:
        """The network whose state this is; its sizes are read off the tensors."""
        shapes = _projection_shapes(state)
        norm = "projections.0.1.weight" in state
        head = cls([inputs for _, inputs in shapes], [outputs for outputs, _ in shapes], norm=norm)
        head.load_state_dict(dict(state))
        return head


class BoundaryHead(nn.Module):
    """How likely a pixel lies between classes. A level: 1×1 convolution without bias, group norm, resizing, ReLU.

    All levels concatenated: 1×1 convolution with bias to one logit.
    """

    def __init__(self, channels: Sequence[int], width: int = BOUNDARY_WIDTH) -> None:
        super().__init__()
        self.projections = _projections(channels, [width] * len(channels))
        self.classifier = Pointwise(width * len(channels), 1)

    def forward(self, levels_BCHW: Sequence[torch.Tensor], grid: Sequence[int]) -> torch.Tensor:
        """Features (B, C, h, w) a level → logits (B, *grid), whose sigmoid is the boundary."""
        projected = [resized(level, grid).relu() for level in _projected(self.projections, levels_BCHW)]
        logits_B1HW: torch.Tensor = self.classifier(torch.cat(projected, 1))
        return logits_B1HW[:, 0]

    @classmethod
    def of_state(cls, state: Mapping[str, torch.Tensor]) -> BoundaryHead:
        """The network whose state this is; its sizes are read off the tensors."""
        shapes = _projection_shapes(state)
        head = cls([inputs for _, inputs in shapes], shapes[0][0])
        head.load_state_dict(dict(state))
        return head


def boundary(logits_BHW: torch.Tensor, mirrored_logits_BHW: torch.Tensor) -> torch.Tensor:
    """IRN's boundary at test: sigmoid of the mean of the logits of photos and of their mirror images, (B, h, w)."""
    return ((logits_BHW + mirrored_logits_BHW.flip(-1)) / 2).sigmoid()


def _projections(channels: Sequence[int], widths: Sequence[int], norm: bool = True) -> nn.ModuleList:
    """A 1×1 convolution a level with a group norm; without one its weights begin He-normal, as released."""
    projections = nn.ModuleList()
    for inputs, width in zip(channels, widths, strict=True):
        layers: list[nn.Module] = [Pointwise(inputs, width, bias=False)]
        if norm:
            layers.append(nn.GroupNorm(width // CHANNELS_PER_GROUP, width))
        else:
            nn.init.kaiming_normal_(layers[0].get_parameter("weight"))
        projections.append(nn.Sequential(*layers))
    return projections


def _projected(projections: nn.ModuleList, levels_BCHW: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [project(level) for project, level in zip(projections, levels_BCHW, strict=True)]


def _projection_shapes(state: Mapping[str, torch.Tensor]) -> list[tuple[int, int]]:
    """(output, input) channels of each projection."""
    count = len({name.split(".")[1] for name in state if name.startswith("projections.")})
    shapes = (state[f"projections.{index}.0.weight"].shape for index in range(count))
    return [(outputs, inputs) for outputs, inputs, *_ in shapes]
