"""Spectral saliency, after SCCNet (SIGSPATIAL 2023): the part of a photo that features and colours cut off most easily.

Learned by nobody on this side of the backbone: the second eigenvector of a graph over a grid of positions. Its maths,
held against the released program, is in `methods/spectral.py`; defaults that differ from the program's are in
docs/neighbours.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from methods.base import Cost, Cue, FeatureRequest, Field, Options, Photos, Saliency, Surroundings
from settings.images import resize

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-3
"""Of eigenvalues: the maps are those of exact ones to a grey level, in two thirds of the time."""


class SpectralOptions(Options):
    """The graph, and what of an eigenvector is an object."""

    level: int = Field(3, ge=0, le=4, description="of the backbone's features")
    grid: int = Field(32, ge=8, le=64, description="positions a side; time grows as its 4th power")
    colour_weight: float = Field(1.0, ge=0, le=100, description="of colours beside features; released: 5")
    eigenvector: int = Field(1, ge=1, le=4, description="0 is constant; 1 cuts the photo in two, others cut further")
    sign: Literal["border", "smaller"] = Field(
        "border", description="the side away from the border, or (released) the smaller one"
    )
    cut: Literal["otsu", "zero", "released"] = Field(
        "otsu", description="½ at the second of two Otsu cuts or at zero; released: a mask, Otsu and a local mean"
    )


class Spectral(Cue):
    """A vector of the graph's cuts, bent so that the cut is a saliency of ½; a photo of one colour shows nothing."""

    options_model = SpectralOptions
    options: SpectralOptions
    apply_cost = Cost(0.04, power=0)

    @property
    def supervision(self) -> str:
        """Empty: it learns from nothing."""
        return ""

    def apply_features(self) -> tuple[FeatureRequest, ...]:
        """One level of the backbone of the plain photo."""
        return (FeatureRequest(level=self.options.level),)

    def apply(self, photos: Photos, surroundings: Surroundings) -> Iterator[Saliency]:
        """One saliency map a photo, uint8 at photo size, in the order of `photos`."""
        from methods.networks.grids import resized

        for photo in photos:
            image = photo.image()
            seen_HW = self._seen(image, surroundings.features_CHW(photo, *self.apply_features()))
            large_HW = resized(_tensor(seen_HW)[None, None], image.shape[:2])[0, 0].numpy()
            saliency_HW: Saliency = (large_HW * 255).round().astype(np.uint8)
            yield saliency_HW

    def _seen(self, image: NDArray[np.uint8], features_CHW: torch.Tensor) -> NDArray[np.float32]:
        """How much each position of the grid is object, in [0, 1]."""
        from methods.networks.grids import resized
        from methods.spectral import affinity, colour_neighbours, modes

        grid, which = self.options.grid, self.options.eigenvector
        small_HWC = resize(image, grid, grid) / 255
        # Without colours nothing decides between the ways to cut a square.
        if np.ptp(small_HWC, (0, 1)).max() == 0:
            return np.zeros((grid, grid), np.float32)
        unit_CHW = features_CHW.float() / features_CHW.float().norm(dim=0).clamp_min(1e-12)
        features_NC = resized(unit_CHW[None], (grid, grid)).flatten(2)[0].T.contiguous().numpy()
        with _gradual_underflow():
            neighbours_NN = colour_neighbours(small_HWC)
        pairs_NN = affinity(features_NC, neighbours_NN, self.options.colour_weight)
        return self._read(modes(pairs_NN, which + 1, TOLERANCE).vectors[which].reshape(grid, grid))

    def _read(self, vector_HW: NDArray[np.float32]) -> NDArray[np.float32]:
        """A vector, whose sign is that of the smaller side, as saliency in [0, 1]."""
        from methods.spectral import otsu_cuts, stands_out

        if self.options.sign == "border" and (_border(vector_HW) > 0).mean() > 0.5:
            vector_HW = -vector_HW
        if self.options.cut == "released":
            return stands_out(vector_HW).astype(np.float32)
        cut = 0.0 if self.options.cut == "zero" else otsu_cuts(vector_HW)[1]
        low, high = min(float(vector_HW.min()), cut - 1e-9), max(float(vector_HW.max()), cut + 1e-9)
        return np.interp(vector_HW, (low, cut, high), (0, 0.5, 1)).astype(np.float32)


@contextmanager
def _gradual_underflow() -> Iterator[None]:
    """Numbers too small for a full mantissa are kept, as IEEE 754 has it; afterwards as before.

    A worker lets them count as 0, and scipy's tree of neighbours relies on them: on four photos of `scenes` in 320 it
    ended the process.
    """
    import torch

    flushed = float(torch.tensor(1e-40) * 1) == 0
    torch.set_flush_denormal(False)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)


def _border(vector_HW: NDArray[np.float32]) -> NDArray[np.float32]:
    """The values along the border, corners twice."""
    return np.concatenate([vector_HW[0], vector_HW[-1], vector_HW[:, 0], vector_HW[:, -1]])


def _tensor(map_HW: NDArray[np.float32]) -> torch.Tensor:
    import torch

    return torch.from_numpy(map_HW)
