"""A saliency network as rendered data simulate it: the union of the true objects, with its typical errors."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from methods.base import Cue, Saliency
from settings.options import Options
from settings.records import UNKNOWN, Mask


class ScenesOptions(Options):
    """How far the simulated network errs."""

    blur: float = Field(0.015, ge=0, le=0.5, description="standard deviation of the blur, in the photo's longer side")
    missed: float = Field(0.1, ge=0, le=1, description="probability that an object is not seen")
    false_blobs: float = Field(0.2, ge=0, le=10, description="mean number of blobs a photo where nothing is")
    rng_seed: int = Field(0, ge=0)


class Scenes(Cue):
    """Objects as white regions with soft edges; some are missed, and some blobs mean nothing."""

    options_model = ScenesOptions
    options: ScenesOptions
    reads_masks = True

    def simulate(self, photo_id: str, truth_HW: Mask) -> Saliency:
        """Deterministic in the photo's id and the options."""
        # Takes half a second, and planning reads the options alone.
        from scipy import ndimage

        digest = sha256(f"{self.options.rng_seed}/{photo_id}".encode()).digest()
        rng = np.random.default_rng(list(digest))
        seen_HW = self._seen_objects(truth_HW, rng)
        for _ in range(rng.poisson(self.options.false_blobs)):
            seen_HW |= _blob(seen_HW.shape, rng)
        blurred_HW = ndimage.gaussian_filter(seen_HW * 255.0, self.options.blur * max(seen_HW.shape))
        saliency_HW: Saliency = blurred_HW.round().astype(np.uint8)
        return saliency_HW

    def _seen_objects(self, truth_HW: Mask, rng: np.random.Generator) -> NDArray[np.bool_]:
        """The union of the connected regions of one class each, less those that are missed."""
        from scipy import ndimage

        seen_HW = np.zeros(truth_HW.shape, np.bool_)
        for value in np.unique(truth_HW[(truth_HW != 0) & (truth_HW != UNKNOWN)]):
            regions_HW, count = ndimage.label(truth_HW == value)
            kept = np.flatnonzero(rng.random(count) >= self.options.missed) + 1
            seen_HW |= np.isin(regions_HW, kept)
        return seen_HW


def _blob(size: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.bool_]:
    """An ellipse of 5 to 15 % of the photo's sides as half axes, anywhere."""
    (cy, cx), (ry, rx) = rng.random(2) * size, rng.uniform(0.05, 0.15, 2) * size
    y, x = np.ogrid[: size[0], : size[1]]
    inside_HW: NDArray[np.bool_] = ((y - cy) / max(ry, 1)) ** 2 + ((x - cx) / max(rx, 1)) ** 2 <= 1
    return inside_HW
