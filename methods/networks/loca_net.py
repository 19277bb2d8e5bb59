"""LOCA's student: a backbone and what stands on it, which say where a query crop lies and what it shows."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import normalize

from methods.networks.backbones import Backbone

__all__ = ["LocaNet", "Located", "Teacher", "as_positions"]


class Located(NamedTuple):
    """Logits of the positions of some crops."""

    position_BPC: torch.Tensor
    """Over the reference's cells."""
    cluster_BPK: torch.Tensor


class LocaNet(nn.Module):
    """A backbone; one cross-attention block and a layer over cells; a projection and prototypes.

    Features of a CNN do not know where they are: the reference's positions have learned embeddings, as those of the
    paper's transformer do.
    """

    def __init__(self, backbone: Backbone, cells: int, width: int, prototypes: int) -> None:
        super().__init__()
        self.backbone = backbone
        channels = backbone.channels[-1]
        self.reduced = nn.Linear(channels, width)
        self.place = nn.Parameter(torch.randn(cells, width) * 0.02)
        self.query_norm, self.reference_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads_of(width), batch_first=True)
        self.mixed = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.cell = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, cells))
        self.projection = nn.Sequential(
            nn.Linear(channels, 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, width),
        )
        self.prototypes = nn.Linear(width, prototypes, bias=False)

    def forward(self, queries_BPC: torch.Tensor, reference_BQC: torch.Tensor, kept: torch.Tensor) -> Located:
        """Features of query crops, and those of the kept positions (`kept`, int64) of the reference of each."""
        query_BPW = self.reduced(queries_BPC)
        reference_BQW = self.reference_norm(self.reduced(reference_BQC) + self.place[kept])
        found_BPW, _ = self.attention(self.query_norm(query_BPW), reference_BQW, reference_BQW, need_weights=False)
        query_BPW = query_BPW + found_BPW
        query_BPW = query_BPW + self.mixed(query_BPW)
        return Located(self.cell(query_BPW), self.clusters(queries_BPC))

    def clusters(self, features_BPC: torch.Tensor) -> torch.Tensor:
        """Cosines of projected features with the prototypes, (B, P, K)."""
        prototypes_KW = normalize(self.prototypes.weight, dim=1)
        cosines_BPK: torch.Tensor = normalize(self.projection(features_BPC), dim=2) @ prototypes_KW.T
        return cosines_BPK


class Teacher(nn.Module):
    """The moving average of a student's backbone, projection and prototypes; the number of steps it was moved by."""

    steps: torch.Tensor

    def __init__(self, student: LocaNet, copy: LocaNet) -> None:
        super().__init__()
        self.net = copy
        self.net.load_state_dict(student.state_dict())
        self.net.requires_grad_(False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def momentum(self, first: float, steps: int) -> float:
        """Of the next move: from `first` to 1 over all steps, along a cosine."""
        done = min(int(self.steps), steps) / max(steps, 1)
        return 1 - (1 - first) * (1 + math.cos(math.pi * done)) / 2


def heads_of(width: int) -> int:
    """Attention heads of about 32 channels each, of which the width is a multiple."""
    wanted = max(1, width // 32)
    return next(heads for heads in range(wanted, 0, -1) if width % heads == 0)


def as_positions(features_BCHW: torch.Tensor) -> torch.Tensor:
    """Features in raster order, (B, positions, C)."""
    return features_BCHW.flatten(2).transpose(1, 2)
