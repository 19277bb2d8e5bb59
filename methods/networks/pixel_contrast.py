"""Contrast between pixels of a batch, and edges beside segmentation: what ECGAN's papers add to a network (arXiv
2003.13898, 2307.12084), on pseudo labels. Their contrastive loss is in no released file: it is written from its
description, and the sampling is ours."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits, max_pool2d, normalize

from methods.networks.contrast import contrastive_loss, same_class
from methods.networks.pointwise import Pointwise
from settings.records import UNKNOWN

__all__ = ["PixelProjection", "edge_loss", "edges_of", "pixel_contrast", "sampled_pixels"]


class PixelProjection(nn.Module):
    """Decoder features → vectors of unit length at every position."""

    def __init__(self, width: int, length: int) -> None:
        super().__init__()
        self.hidden, self.out = Pointwise(width, width), Pointwise(width, length)

    def forward(self, features_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, length, h, w)."""
        vectors_BDHW: torch.Tensor = normalize(self.out(self.hidden(features_BCHW).relu()), dim=1)
        return vectors_BDHW


def pixel_contrast(
    projection: PixelProjection,
    features_BCHW: torch.Tensor,
    labels_BHW: torch.Tensor,
    samples: int,
    scales: tuple[int, ...],
    temperature: float,
    rng: np.random.Generator,
) -> torch.Tensor:
    """The supervised contrastive loss of sampled pixels of the whole batch and of all scales together.

    At a scale s each s × s positions are averaged, and have a label where they agree and are known. At most `samples`
    pixels of each class and scale take part. 0 where no two pixels of a class do.
    """
    vectors, labels = [], []
    for scale in scales:
        pooled_BCHW = avg_pool2d(features_BCHW, scale) if scale > 1 else features_BCHW
        labels_P = agreed(labels_BHW, scale).flatten()
        chosen = torch.from_numpy(sampled_pixels(labels_P.cpu().numpy(), samples, rng)).to(labels_P.device)
        vectors_PD = projection(pooled_BCHW).permute(0, 2, 3, 1).flatten(0, 2)
        vectors.append(vectors_PD[chosen])
        labels.append(labels_P[chosen])
    vectors_ND, labels_N = torch.cat(vectors), torch.cat(labels)
    if len(labels_N) < 2:
        return features_BCHW.sum() * 0
    self_NN = torch.eye(len(labels_N), dtype=torch.bool, device=labels_N.device)
    return contrastive_loss(vectors_ND, vectors_ND, same_class(labels_N), self_NN, temperature)


def agreed(labels_BHW: torch.Tensor, scale: int) -> torch.Tensor:
    """The label of every block of `scale` × `scale` positions; 255 where they differ, or one is unknown."""
    if scale == 1:
        return labels_BHW
    values_B1HW = labels_BHW[:, None].float()
    highest, lowest = max_pool2d(values_B1HW, scale), -max_pool2d(-values_B1HW, scale)
    return torch.where(highest == lowest, highest, float(UNKNOWN))[:, 0].long()


def sampled_pixels(labels_P: NDArray[np.int64], samples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Places of at most `samples` pixels of each known class, drawn without replacement, class by class."""
    known = np.unique(labels_P[labels_P != UNKNOWN])
    places = [np.flatnonzero(labels_P == label) for label in known]
    chosen = [rng.permutation(of_class)[:samples] for of_class in places]
    return np.concatenate([np.zeros(0, np.int64), *chosen])


def edges_of(labels_BHW: torch.Tensor) -> torch.Tensor:
    """Where a pixel's class differs from that of one of its four neighbours: 1, else 0; 255 where either is unknown."""
    edges_BHW = torch.zeros_like(labels_BHW)
    for axis in (1, 2):
        length = labels_BHW.shape[axis] - 1
        one, other = labels_BHW.narrow(axis, 0, length), labels_BHW.narrow(axis, 1, length)
        differ = (one != other) & (one != UNKNOWN) & (other != UNKNOWN)
        edges_BHW.narrow(axis, 0, length)[differ] = 1
        edges_BHW.narrow(axis, 1, length)[differ] = 1
    edges_BHW[labels_BHW == UNKNOWN] = UNKNOWN
    return edges_BHW


def edge_loss(logits_BHW: torch.Tensor, edges_BHW: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy over known pixels: edges and others weigh the same in sum; 0 where either is missing."""
    known = edges_BHW != UNKNOWN
    is_edge = edges_BHW == 1
    number_edges, number_others = is_edge.sum(), (known & ~is_edge).sum()
    weight_BHW = torch.where(is_edge, 0.5 / number_edges.clamp(min=1), 0.5 / number_others.clamp(min=1)) * known
    weight_BHW = weight_BHW * ((number_edges > 0) & (number_others > 0))
    return binary_cross_entropy_with_logits(logits_BHW, is_edge.float(), weight_BHW, reduction="sum")
