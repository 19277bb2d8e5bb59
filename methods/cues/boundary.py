"""Boundary connectivity, after Zhu et al. (CVPR 2014): what colours cut off from a photo's border is an object.

It needs neither weights nor a backbone, and learns nothing: a cue for the board of image-level labels. Its maths is in
`methods/boundary.py`; it fails where objects touch the border, and where they have the background's colours.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from methods.base import Cost, Cue, Field, Options, Photos, Saliency, Surroundings
from settings.images import resize


class BoundaryOptions(Options):
    """How finely a photo is looked at."""

    grid: int = Field(20, ge=4, le=48, description="cells a side, in place of superpixels; time grows as its 4th power")


class Boundary(Cue):
    """The optimised saliency of the cells, bilinear at photo size; a photo of one colour shows nothing."""

    options_model = BoundaryOptions
    options: BoundaryOptions
    apply_cost = Cost(0.08, power=0)

    @property
    def supervision(self) -> str:
        """Empty: it learns from nothing."""
        return ""

    def apply(self, photos: Photos, surroundings: Surroundings) -> Iterator[Saliency]:
        """One saliency map a photo, uint8 at photo size, in the order of `photos`."""
        import torch

        from methods.boundary import lab, saliency_of
        from methods.networks.grids import resized

        grid = self.options.grid
        for photo in photos:
            image = photo.image()
            cells_HW = torch.from_numpy(saliency_of(lab(resize(image, grid, grid)))).float()
            large_HW = resized(cells_HW[None, None], image.shape[:2])[0, 0].numpy()
            saliency_HW: Saliency = (large_HW * 255).round().astype(np.uint8)
            yield saliency_HW
