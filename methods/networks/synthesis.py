"""A small generator of photos from label maps, and what judges it: the branches are ECGAN's, what is under them is
SPADE's (Park et al., CVPR 2019), each a few layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.func import functional_call
from torch.nn.functional import avg_pool2d, conv2d, interpolate, leaky_relu, one_hot

from methods.networks.ecgan import SLOPE, Drawn, EdgeGuided
from settings.records import UNKNOWN

__all__ = [
    "Discriminator",
    "Generator",
    "below_scores",
    "edges_of_photos",
    "frechet_distance",
    "matched",
    "scores",
    "semantics",
]

START = 16
"""The side of the drawn photo over that of the map that drawing begins with."""
SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))


def semantics(masks_BHW: torch.Tensor, values: int) -> torch.Tensor:
    """Label maps of 0..`values` − 1 as a channel each, float32 (B, values, H, W); unknown pixels are of none."""
    known_BHW = masks_BHW != UNKNOWN
    channels_BHWK = one_hot(torch.where(known_BHW, masks_BHW, 0).long(), values) * known_BHW[..., None]
    return channels_BHWK.movedim(-1, 1).float()


def edges_of_photos(photos_B3HW: torch.Tensor) -> torch.Tensor:
    """How much brightness changes, by Sobel's filters: (B, 3, H, W) in −1..1, 1 for each photo's strongest edge."""
    sobel_HW = photos_B3HW.new_tensor(SOBEL)
    filters_2HW = torch.stack([sobel_HW, sobel_HW.T])[:, None]
    change_B2HW = conv2d(nn.functional.pad(photos_B3HW.mean(1, keepdim=True), (1, 1, 1, 1), "replicate"), filters_2HW)
    size_B1HW = change_B2HW.square().sum(1, keepdim=True).sqrt()
    largest_B111 = size_B1HW.amax((1, 2, 3), keepdim=True).clamp_min(1e-6)
    return (2 * size_B1HW / largest_B111 - 1).expand_as(photos_B3HW)


class Modulated(nn.Module):
    """Batch norm whose scale and shift are told at each position by the label map, a leaky ReLU and a convolution."""

    def __init__(self, inputs: int, outputs: int, values: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs, affine=False)
        self.modulation = nn.Conv2d(values, 2 * inputs, 3, padding=1)
        self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, features_BCHW: torch.Tensor, semantics_BKHW: torch.Tensor) -> torch.Tensor:
        """The label map is resized to the features."""
        small_BKHW = interpolate(semantics_BKHW, features_BCHW.shape[2:], mode="area")
        scale_BCHW, shift_BCHW = self.modulation(small_BKHW).chunk(2, dim=1)
        modulated_BCHW = self.norm(features_BCHW) * (1 + scale_BCHW) + shift_BCHW
        result_BCHW: torch.Tensor = self.convolution(leaky_relu(modulated_BCHW, SLOPE))
        return result_BCHW


class Generator(nn.Module):
    """A label map of `values` channels and a style vector → ECGAN's edges, photo and refined photo.

    Photos are square, and their side is a multiple of 16.
    """

    def __init__(self, values: int, style: int, width: int) -> None:
        super().__init__()
        widths = (4 * width, 4 * width, 2 * width, 2 * width, width)
        self.values = values
        self.begin = nn.Linear(style, widths[0])
        pairs = zip((widths[0], *widths[:-1]), widths, strict=True)
        self.blocks = nn.ModuleList(Modulated(inputs, outputs, values) for inputs, outputs in pairs)
        self.draw = EdgeGuided(width, values)

    def forward(self, masks_BHW: torch.Tensor, style_BS: torch.Tensor) -> Drawn:
        """Draw photos as large as their label maps; between blocks the side is doubled."""
        semantics_BKHW = semantics(masks_BHW, self.values)
        side = semantics_BKHW.shape[2] // START
        features_BCHW = self.begin(style_BS)[:, :, None, None].expand(-1, -1, side, side)
        for index, block in enumerate(self.blocks):
            if index:
                features_BCHW = interpolate(features_BCHW, scale_factor=2, mode="nearest")
            features_BCHW = block(features_BCHW, semantics_BKHW)
        drawn: Drawn = self.draw(features_BCHW, semantics_BKHW)
        return drawn


class Patches(nn.Module):
    """Scores of overlapping patches of a photo or edge map beside its label map, and what lies on the way."""

    def __init__(self, values: int, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(values + 3, width, 4, stride=2, padding=1),
                nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
                nn.Conv2d(2 * width, 4 * width, 3, padding=1),
            ]
        )
        self.score = nn.Conv2d(4 * width, 1, 3, padding=1)

    def forward(self, joined_BCHW: torch.Tensor) -> list[torch.Tensor]:
        """What the layers give, the scores last."""
        found = []
        for index, layer in enumerate(self.layers):
            joined_BCHW = layer(joined_BCHW)
            if index:
                joined_BCHW = nn.functional.instance_norm(joined_BCHW)
            joined_BCHW = leaky_relu(joined_BCHW, SLOPE)
            found.append(joined_BCHW)
        return [*found, self.score(joined_BCHW)]


class Discriminator(nn.Module):
    """Two `Patches`, the second at half the size."""

    def __init__(self, values: int, width: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(Patches(values, width) for _ in range(2))

    def forward(self, semantics_BKHW: torch.Tensor, images_B3HW: torch.Tensor) -> list[list[torch.Tensor]]:
        """What each scale's layers give, its scores last."""
        joined_BCHW = torch.cat([semantics_BKHW, images_B3HW], dim=1)
        return [self.scales[0](joined_BCHW), self.scales[1](avg_pool2d(joined_BCHW, 2))]

    def unmoved(self, semantics_BKHW: torch.Tensor, images_B3HW: torch.Tensor) -> list[list[torch.Tensor]]:
        """The same, with gradients for the images and none for its own parameters."""
        fixed = {name: parameter.detach() for name, parameter in self.named_parameters()}
        found: list[list[torch.Tensor]] = functional_call(self, fixed, (semantics_BKHW, images_B3HW))
        return found


def scores(scales: Sequence[Sequence[torch.Tensor]]) -> list[torch.Tensor]:
    """Of what a discriminator gives, the scores alone, one tensor a scale."""
    return [layers[-1] for layers in scales]


def below_scores(scales: Sequence[Sequence[torch.Tensor]]) -> list[torch.Tensor]:
    """The layers of all scales but the scores."""
    return [layer for layers in scales for layer in layers[:-1]]


def matched(found: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor]) -> torch.Tensor:
    """Mean over layers and photos of the L1 distance of features, in units of the mean size of the wanted ones.

    By photo: in a slice of a batch each counts as it does in the whole.
    """
    distances = []
    for found_BCHW, wanted_BCHW in zip(found, wanted, strict=True):
        fixed_BX = wanted_BCHW.detach().flatten(1)
        size_B = fixed_BX.abs().mean(1).clamp_min(1e-6)
        distances.append(((found_BCHW.flatten(1) - fixed_BX).abs().mean(1) / size_B).mean())
    return torch.stack(distances).mean()


def frechet_distance(one_NC: NDArray[np.float64], other_MC: NDArray[np.float64]) -> float:
    """Fréchet distance of two normal distributions with the means and covariances of these vectors.

    |m₁ − m₂|² + tr(C₁ + C₂ − 2 (C₁ C₂)^½) (Heusel et al., NeurIPS 2017, there on Inception's features).
    """
    means: Sequence[NDArray[np.float64]] = (one_NC.mean(0), other_MC.mean(0))
    first_CC, second_CC = (np.atleast_2d(np.cov(vectors, rowvar=False)) for vectors in (one_NC, other_MC))
    # The eigenvalues of C₁ C₂ are those of the symmetric R C₂ R with R = C₁^½.
    values_C, vectors_CC = np.linalg.eigh(first_CC)
    root_CC = (vectors_CC * np.sqrt(values_C.clip(min=0))) @ vectors_CC.T
    shared = np.sqrt(np.linalg.eigvalsh(root_CC @ second_CC @ root_CC).clip(min=0)).sum()
    distance = np.square(means[0] - means[1]).sum() + np.trace(first_CC) + np.trace(second_CC) - 2 * shared
    return float(distance)
