"""Photos at their own size and aspect through a backbone that a fit has tuned; what comes out, at the photo's size.

A photo is read once. At each scale it is resized, padded on the right and below to whole cells (0 after normalisation)
and goes through the network once, together with its mirror image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import adaptive_avg_pool2d, interpolate, pad

from methods.base import FeatureRequest, LocalizationMaps, Photos, Surroundings
from methods.features import FrozenBackbone
from methods.memory import kept_memory
from methods.networks.backbones import build
from methods.networks.offsets import moved
from methods.training import part_of
from methods.upsampling import upsample
from settings.images import resize
from settings.records import Image, Photo

__all__ = ["MapsOf", "Pass", "WholeFeatures", "WholeOnGrid", "WholePhotos", "peaked"]


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

    def enlarged(self, maps_BKHW: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Maps of the padded copy at the pixels of the photo, which has this size: (B, K, height, width).

        Bilinear between the centres of cells, of which each covers its own pixels of the padded copy.
        """
        rows_Hh, columns_Ww = (
            _between_cells(length, shown, padded / cells, cells).to(maps_BKHW)
            for length, shown, padded, cells in zip(size, self.shown, self.size, maps_BKHW.shape[2:], strict=True)
        )
        return rows_Hh @ maps_BKHW @ columns_Ww.T


def peaked(maps_CHW: torch.Tensor) -> torch.Tensor:
    """Each map divided by its maximum; one without a positive value is 0."""
    return maps_CHW / maps_CHW.amax((1, 2), keepdim=True).clamp_min(1e-8)


@dataclass(frozen=True)
class WholeOnGrid:
    """A photo of its own size as a refiner's network sees it, by a pass at scale 1."""

    one: Pass

    @property
    def plain(self) -> list[torch.Tensor]:
        """Its levels, (1, C, h, w) each."""
        return [level_BCHW[:1] for level_BCHW in self.one.levels]

    @property
    def mirrored(self) -> list[torch.Tensor]:
        """Those of the mirror image of the photo with its padding."""
        return [level_BCHW[1:] for level_BCHW in self.one.levels]

    def onto(self, record: LocalizationMaps) -> NDArray[np.float32]:
        """Its maps at the grid of the first level, (C, h, w): the mean of each cell, 0 beyond the photo."""
        maps_CHW = torch.from_numpy(upsample(replace(record, background_HW=None)))
        (height, width), (shown_height, shown_width) = self.one.size, self.one.shown
        padded_CHW = pad(maps_CHW, (0, width - shown_width, 0, height - shown_height))
        cells = self.one.levels[0].shape[2:]
        found: NDArray[np.float32] = adaptive_avg_pool2d(padded_CHW, (cells[0], cells[1])).numpy()
        return found

    def back(self, maps_CHW: torch.Tensor) -> NDArray[np.float32]:
        """Maps at that grid at the photo's own size."""
        found: NDArray[np.float32] = self.one.enlarged(maps_CHW[None], self.one.shown)[0].cpu().numpy()
        return found


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
        """What `maps_of` gives of each scale and mirroring, (K, height, width) at the photo's size, turned back."""
        found = []
        with torch.inference_mode(), kept_memory():
            for one in self._passes(photo, scales, flip):
                plain_KHW, *mirrored = one.enlarged(maps_of(one), self.size(photo))
                found += [plain_KHW, *(maps_KHW.flip(2) for maps_KHW in mirrored)]
        return found

    def on_grid(self, photo: Photo, mirrored: bool) -> WholeOnGrid:
        """The photo at its own size and (where asked for) its mirror image, with its padding."""
        image, shown = self._image(photo), self.size(photo)
        size = self._padded_size(shown)
        input_BCHW = self._input((image,), size)
        if mirrored:
            input_BCHW = torch.cat([input_BCHW, input_BCHW.flip(3)])
        with torch.inference_mode(), kept_memory():
            return WholeOnGrid(Pass(self._levels(input_BCHW), (image,), shown, size))

    def levels(self, photo: Photo, scale: float, mirrored: bool) -> tuple[torch.Tensor, ...]:
        """The levels, (1, C, h, w) each, of a copy of the photo with its padding: their grids all cover the same.

        A copy's sides are the whole numbers of cells (one at least) that are next to `scale` times the photo's.
        """
        size = self._padded_size(self.size(photo))
        input_BCHW = self._input((self._image(photo),), size)
        if scale != 1:
            height, width = (max(1, round(length * scale / self._stride)) * self._stride for length in size)
            input_BCHW = interpolate(input_BCHW, (height, width), mode="bilinear", align_corners=False, antialias=True)
        with torch.inference_mode(), kept_memory():
            return self._levels(input_BCHW.flip(3) if mirrored else input_BCHW)

    def enlarged(self, photo: Photo, maps_CHW: torch.Tensor) -> torch.Tensor:
        """Maps at such a grid at the photo's own size, (C, height, width); bicubic, cut off at 0 and 1."""
        height, width = self.size(photo)
        if not len(maps_CHW):
            return maps_CHW.new_zeros(0, height, width)
        padded = self._padded_size((height, width))
        padded_CHW = interpolate(maps_CHW[None], size=padded, mode="bicubic", align_corners=False)[0]
        return padded_CHW[:, :height, :width].clamp(0, 1)

    def _passes(self, photo: Photo, scales: Sequence[float], flip: bool) -> Iterator[Pass]:
        image = self._image(photo)
        for scale in scales:
            shown = (max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale)))
            plain = image if scale == 1 else resize(image, *shown)
            images = (plain, np.ascontiguousarray(plain[:, ::-1])) if flip else (plain,)
            size = self._padded_size(shown)
            yield Pass(self._levels(self._input(images, size)), images, shown, size)

    def _padded_size(self, shown: tuple[int, int]) -> tuple[int, int]:
        """Whole cells that hold so many pixels."""
        height, width = (-(-length // self._stride) * self._stride for length in shown)
        return height, width

    def _input(self, images: Sequence[Image], size: tuple[int, int]) -> torch.Tensor:
        """Images of one size, normalised and padded with 0 on the right and below, (B, 3, *size)."""
        input_BCHW = self._backbone.network.to_input(np.stack(images))
        return pad(input_BCHW, (0, size[1] - input_BCHW.shape[3], 0, size[0] - input_BCHW.shape[2]))

    def _levels(self, images_BCHW: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Where a GPU had too little memory for both, the mirrored copy goes through by itself."""
        images_BCHW = images_BCHW.to(self._backbone.device, memory_format=torch.channels_last)
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


class WholeFeatures:
    """A feature bank of photos at their own size and aspect; each goes through the tuned backbone when it is asked for.

    Copies are of the photo with its padding (`WholePhotos.levels`), so that positions of a photo, of its mirror image
    and of a scaled copy are those of one picture. Photos of other sizes have other grids: one photo a call.
    """

    def __init__(self, photos: Photos, surroundings: Surroundings, level: int) -> None:
        self._whole = WholePhotos(surroundings, (level,))
        self._photos = {photo.id: photo for photo in photos}

    def features_BCHW(self, ids: Sequence[str], requests: Sequence[FeatureRequest]) -> torch.Tensor:
        """float32 features of photos whose grids are one size."""
        pairs = zip(ids, requests, strict=True)
        found = [self._whole.levels(self._photos[id_], request.scale, request.flip)[0] for id_, request in pairs]
        return torch.cat(found).float()

    def image_size(self, photo_id: str) -> tuple[int, int]:
        """(height, width) of the photo in pixels."""
        return self._whole.size(self._photos[photo_id])

    def record(self, photo: Photo, maps_CHW: NDArray[np.float32]) -> LocalizationMaps:
        """Maps of the photo's labels at its grid, in [0, 1], as maps at its own size."""
        return self._whole.record(photo, self._whole.enlarged(photo, torch.from_numpy(maps_CHW)))


def _between_cells(length: int, shown: int, stride: float, cells: int) -> torch.Tensor:
    """Weights (length, cells) by which pixels of a photo are read off cells of `stride` pixels of its copy.

    The copy has `shown` pixels where the photo has `length`. Beyond the outermost centres the cell's value stays.
    """
    centres_L: NDArray[np.float64] = (np.arange(length) + 0.5) * shown / length / stride - 0.5
    places_L = np.clip(centres_L, 0, cells - 1)
    weights_LC = np.maximum(0, 1 - np.abs(places_L[:, None] - np.arange(cells)))
    return torch.from_numpy(weights_LC.astype(np.float32))
