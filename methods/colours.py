"""Photos at the size of feature grids: what a network compares beside features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from settings.images import resize
from settings.records import Image, Photo

Grid = tuple[int, int]
"""(height, width)."""


class Colours:
    """Photos resized to grids (an averaging filter); kept, since they are small."""

    def __init__(self, photos: Sequence[Photo], device: str) -> None:
        self._photos, self._device = photos, device
        self._kept: dict[tuple[int, Grid], Image] = {}

    def __call__(self, rows: NDArray[np.int64], flips: NDArray[np.bool_], grids: Sequence[Grid]) -> list[torch.Tensor]:
        """RGB in [−1, 1] of the photos `rows`, float32 (B, 3, h, w) a grid, mirrored where `flips` says."""
        return [self._at(rows, flips, grids, grid) for grid in grids]

    def _at(self, rows: NDArray[np.int64], flips: NDArray[np.bool_], grids: Sequence[Grid], grid: Grid) -> torch.Tensor:
        image_BHWC = np.stack([self._image(int(row), grids, grid) for row in rows])
        image_BHWC[flips] = image_BHWC[flips, :, ::-1]
        return torch.from_numpy(image_BHWC).to(self._device).permute(0, 3, 1, 2).float() / 127.5 - 1

    def _image(self, row: int, grids: Sequence[Grid], grid: Grid) -> Image:
        """Decoded once for all the grids of a call."""
        if (row, grid) not in self._kept:
            image = self._photos[row].image()
            self._kept |= {(row, other): resize(image, *other) for other in grids}
        return self._kept[row, grid]
