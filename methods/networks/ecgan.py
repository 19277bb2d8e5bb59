"""Edge-guided generation of photos from label maps: ECGAN (Tang et al., ICLR 2023; arXiv 2003.13898).

Two branches of convolutions draw an edge map and a photo from the same features; each edge layer gates the photo layer
beside it. The photo is drawn once more from all of them and the label map, weighted by what each class's channel shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import leaky_relu

__all__ = ["SLOPE", "Drawn", "EdgeGuided", "hinge_of_fake", "hinge_of_generator", "hinge_of_real"]

WIDTHS = (32, 16, 8, 3)
"""Channels behind the layers of each branch."""
SLOPE = 0.2
"""Of the leaky ReLU before every convolution."""


class Drawn(NamedTuple):
    """What the two branches draw, (B, 3, H, W) each, and what lies on the way."""

    edge: torch.Tensor
    """In −1..1."""
    image: torch.Tensor
    """The first photo, gated by the edges: up to 1 + σ(1) = 1.73 in size."""
    refined: torch.Tensor
    """The photo, in −1..1."""
    edges: tuple[torch.Tensor, ...]
    """Behind each edge layer, before its activation."""
    images: tuple[torch.Tensor, ...]
    """Behind each layer of the photo branch, before its gate."""
    class_map_BKHW: torch.Tensor
    class_mean_BK: torch.Tensor
    expanded: torch.Tensor


class EdgeGuided(nn.Module):
    """From features and a label map of `classes` channels (a class each, and what further is known) to a photo.

    `semantics` is how many channels the label map has where that is more than `classes`.
    """

    def __init__(self, channels: int, classes: int, semantics: int | None = None) -> None:
        super().__init__()
        inputs = (channels, *WIDTHS[:-1])
        self.edge = nn.ModuleList(_layer(*widths) for widths in zip(inputs, WIDTHS, strict=True))
        self.image = nn.ModuleList(_layer(*widths) for widths in zip(inputs, WIDTHS, strict=True))
        joined = channels + 2 * WIDTHS[-1] + (classes if semantics is None else semantics)
        self.to_classes, self.from_classes = _layer(joined, classes), _layer(classes, joined)
        self.refine = _layer(joined, WIDTHS[-1])

    def forward(self, features_BCHW: torch.Tensor, semantics_BKHW: torch.Tensor) -> Drawn:
        """Draw: features and label map have the same height and width."""
        edges, images = [], []
        edge_BCHW = image_BCHW = features_BCHW
        for edge_layer, image_layer in zip(self.edge, self.image, strict=True):
            edge_BCHW = edge_layer(_active(edge_BCHW))
            edges.append(edge_BCHW)
            images.append(image_layer(_active(image_BCHW)))
            image_BCHW = images[-1] * (1 + edge_BCHW.sigmoid())
        edge_B3HW = edges[-1].tanh()
        image_B3HW = images[-1].tanh() * (1 + edge_B3HW.sigmoid())
        joined_BCHW = torch.cat([features_BCHW, image_B3HW, edge_B3HW, semantics_BKHW], dim=1)
        class_map_BKHW = self.to_classes(_active(joined_BCHW))
        class_mean_BK = class_map_BKHW.mean(dim=(2, 3))
        gated_BKHW = class_map_BKHW * (1 + class_mean_BK.sigmoid())[:, :, None, None]
        expanded_BCHW = self.from_classes(_active(gated_BKHW))
        refined_B3HW = self.refine(_active(expanded_BCHW)).tanh()
        return Drawn(
            edge_B3HW,
            image_B3HW,
            refined_B3HW,
            tuple(edges),
            tuple(images),
            class_map_BKHW,
            class_mean_BK,
            expanded_BCHW,
        )


def _layer(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _active(values_BCHW: torch.Tensor) -> torch.Tensor:
    return leaky_relu(values_BCHW, SLOPE)


def hinge_of_real(scores: Sequence[torch.Tensor]) -> torch.Tensor:
    """A discriminator's loss on true photos, mean over its scales: mean max(0, 1 − s)."""
    return torch.stack([(1 - score).relu().mean() for score in scores]).mean()


def hinge_of_fake(scores: Sequence[torch.Tensor]) -> torch.Tensor:
    """A discriminator's loss on drawn photos, mean over its scales: mean max(0, 1 + s)."""
    return torch.stack([(1 + score).relu().mean() for score in scores]).mean()


def hinge_of_generator(scores: Sequence[torch.Tensor]) -> torch.Tensor:
    """A generator's loss on its own photos, mean over the discriminator's scales: −mean s."""
    return -torch.stack([score.mean() for score in scores]).mean()
