"""Photos at their own size and aspect through a backbone that a fit has tuned; what comes out, at the photo's size.

A photo is read once. At each scale it is resized, padded on the right and below to whole cells (0 after normalisation)
and goes through the network once, together with its mirror image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import pad

from methods.base import LocalizationMaps, Surroundings
from methods.features import FrozenBackbone
from methods.memory import kept_memory
from methods.networks.backbones import build
from methods.networks.offsets import moved
from methods.training import part_of
from settings.images import resize
from settings.records import Image, Photo

__all__ = ["MapsOf", "Pass", "WholePhotos", "peaked"]


@dataclass(frozen=True)
class Pass:
    """A photo at one scale, plain and (where asked for) mirrored: row 0 and row 1 of a batch."""

    levels: tuple[torch.Tensor, ...]
    """(B, C, h, w) each, ascending, of the padded copy."""
    images: tuple[Image, ...]
    """The copies before they were padded, uint8 RGB, of `shown` pixels."""
    shown: tuple[int, int]
    """(height, width) of the copy in pixels."""
    size: tuple[int, int]
    """That with its padding: whole cells."""

    def colours(self, grid: tuple[int, int]) -> torch.Tensor:
        """The padded copies' RGB in [−1, 1] at a grid, (B, 3, h, w), edges repeated where they are padded."""
        (height, width), (shown_height, shown_width) = self.size, self.shown
        around = ((0, height - shown_height), (0, width - shown_width), (0, 0))
        small = [resize(np.pad(image, around, mode="edge"), *grid) for image in self.images]
        return torch.from_numpy(np.stack(small)).to(self.levels[0].device).permute(0, 3, 1, 2).float() / 127.5 - 1


def peaked(maps_CHW: torch.Tensor) -> torch.Tensor:
    """Each map divided by its maximum; one without a positive value is 0."""
    return maps_CHW / maps_CHW.amax((1, 2), keepdim=True).clamp_min(1e-8)


MapsOf: TypeAlias = Callable[[Pass], torch.Tensor]
"""What a head makes of a pass, (B, K, h, w) at the grid of the padded copy."""


class WholePhotos:
    """The tuned backbone among the weights of an `apply`, for photos of any size."""

    def __init__(self, surroundings: Surroundings, levels: Sequence[int]) -> None:
        tuned = part_of(surroundings.weights, "backbone")
        self._backbone = FrozenBackbone(build(surroundings.backbone, levels, tuned), surroundings.device)
        self._stride = surroundings.backbone.output_stride
        self._together = surroundings.batch(2)
        self._last: tuple[str, Image] | None = None

    def size(self, photo: Photo) -> tuple[int, int]:
        """(height, width) of a photo in pixels."""
        height, width = self._image(photo).shape[:2]
        return height, width

    def record(self, photo: Photo, maps_CHW: torch.Tensor) -> LocalizationMaps:
        """The maps of a photo's own labels, (C, height, width) in [0, 1] on any device."""
        return LocalizationMaps(photo.id, photo.labels, maps_CHW.float().cpu().numpy(), self.size(photo))

    def total(self, photo: Photo, scales: Sequence[float], flip: bool, maps_of: MapsOf) -> torch.Tensor:
        """The sum over scales and mirrorings of the maps of the photo's labels, (C, height, width) at its own size."""
        labels = list(photo.labels)
        first, *others = self.at_photo(photo, scales, flip, lambda one: maps_of(one)[:, labels])
        return sum(others, start=first)

    def at_photo(self, photo: Photo, scales: Sequence[float], flip: bool, maps_of: MapsOf) -> list[torch.Tensor]:
        """What `maps_of` gives of each scale and mirroring, (K, height, width) at the photo's size, turned back.

        Bilinear between the centres of cells, of which each covers its own pixels of the padded copy.
        """
        height, width = self.size(photo)
        found = []
        with torch.inference_mode(), kept_memory():
            for one in self._passes(photo, scales, flip):
                maps_BKHW = maps_of(one)
                rows_Hh, columns_Ww = (
                    _between_cells(length, shown, padded / cells, cells).to(maps_BKHW)
                    for length, shown, padded, cells in zip(
                        (height, width), one.shown, one.size, maps_BKHW.shape[2:], strict=True
                    )
                )
                plain_KHW, *mirrored = rows_Hh @ maps_BKHW @ columns_Ww.T
                found += [plain_KHW, *(maps_KHW.flip(2) for maps_KHW in mirrored)]
        return found

    def at_own_size(self, photo: Photo, flip: bool = False) -> Pass:
        """The photo in one pass at its own size, together with its mirror image where asked for."""
        with torch.inference_mode():
            return next(self._passes(photo, (1.0,), flip))

    def _passes(self, photo: Photo, scales: Sequence[float], flip: bool) -> Iterator[Pass]:
        image = self._image(photo)
        for scale in scales:
            shown = (max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale)))
            plain = image if scale == 1 else resize(image, *shown)
            images = (plain, np.ascontiguousarray(plain[:, ::-1])) if flip else (plain,)
            size = (_whole(shown[0], self._stride), _whole(shown[1], self._stride))
            input_BCHW = self._backbone.network.to_input(np.stack(images))
            padded_BCHW = pad(input_BCHW, (0, size[1] - shown[1], 0, size[0] - shown[0]))
            yield Pass(self._levels(padded_BCHW), images, shown, size)

    def _levels(self, images_BCHW: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Where a GPU had too little memory for both, the mirrored copy goes through by itself."""
        images_BCHW = images_BCHW.to(self._backbone.device)
        parts = [self._backbone.network(part_BCHW) for part_BCHW in torch.split(images_BCHW, self._together)]
        # Sides are whole cells, so that no grid on the way is odd: cells lie where they do in a square of whole cells.
        offsets = self._backbone.offsets(0)
        found = (torch.cat(level) for level in zip(*parts, strict=True))
        return tuple(moved(level_BCHW, offset) for level_BCHW, offset in zip(found, offsets, strict=True))

    def _image(self, photo: Photo) -> Image:
        """The photo's pixels; the last photo's are kept, so that each is read once."""
        if self._last is None or self._last[0] != photo.id:
            self._last = (photo.id, photo.image())
        return self._last[1]


def _whole(length: int, stride: int) -> int:
    return -(-length // stride) * stride


def _between_cells(length: int, shown: int, stride: float, cells: int) -> torch.Tensor:
    """Weights (length, cells) by which pixels of a photo are read off cells of `stride` pixels of its copy.

    The copy has `shown` pixels where the photo has `length`. Beyond the outermost centres the cell's value stays.
    """
    centres_L: NDArray[np.float64] = (np.arange(length) + 0.5) * shown / length / stride - 0.5
    places_L = np.clip(centres_L, 0, cells - 1)
    weights_LC = np.maximum(0, 1 - np.abs(places_L[:, None] - np.arange(cells)))
    return torch.from_numpy(weights_LC.astype(np.float32))
