"""Training batches of random crops, as the field's programs have them; decoded by threads while the network trains."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from methods.base import Surroundings
from methods.colours import Grid
from methods.crops import Crops
from methods.networks.tuned import TunedBackbone, Tuning
from methods.photo_inputs import CropOptions
from settings.masks import resize_mask
from settings.records import Image, Mask, Photo

WORKERS = 8
"""Threads that read photos, at most: decoding, resizing and jittering let go of Python's lock."""


MaskOf: TypeAlias = Callable[[int], Mask]
"""The mask of a photo by its row, at photo size."""


class Crop(NamedTuple):
    """A photo's crop: normalised, 0 outside the photo (1, 3, s, s); as RGB; its mask where there are masks."""

    input_1CHW: torch.Tensor
    image: Image
    mask_HW: Mask | None


class CropInputs(Tuning):
    """Batches of crops through a backbone that is trained along.

    Each photo is resized, jittered, mirrored, normalised and cut, in this order, by a generator of its own, which is
    all that is drawn from the epoch's. `mask_of` gives the mask of a row at photo size, for losses of pixels.
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        levels: Sequence[int],
        options: CropOptions,
        surroundings: Surroundings,
        mask_of: MaskOf | None = None,
    ) -> None:
        # torchvision takes a second that workers with stored features save.
        from methods.jitter import jitter_of

        self._photos, self._mask_of = photos, mask_of
        self._backbone = TunedBackbone(surroundings.backbone, levels, surroundings.device)
        fill = self._backbone.mean_colour
        self._crops = Crops(options.crop, options.scales, fill, options.longer_side, options.flip)
        self._jitter = jitter_of(options.jitter)
        self._share, self._device = surroundings.share, surroundings.device
        self._workers = ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1), "crops")
        self._drawn: deque[CropBatch] = deque()

    def ahead(self, rows: NDArray[np.int64], rng: np.random.Generator) -> None:
        """Draw a batch that a later `draw` gives; threads begin to cut this process's share of it."""
        seeds = rng.integers(2**62, size=len(rows))
        own, own_seeds = self._share.of(rows), self._share.of(seeds)
        cuts = tuple(
            self._workers.submit(self.crop, int(row), int(seed)) for row, seed in zip(own, own_seeds, strict=True)
        )
        self._drawn.append(CropBatch(own, cuts, self._backbone, self._device))

    def draw(self, rows: NDArray[np.int64], rng: np.random.Generator) -> CropBatch:
        """The oldest batch that was drawn ahead; one that is drawn now where there is none."""
        if not self._drawn:
            self.ahead(rows, rng)
        batch = self._drawn.popleft()
        if not np.array_equal(batch.rows, self._share.of(rows)):
            raise RuntimeError("batches are taken in the order in which they were drawn ahead")
        return batch

    def crop(self, row: int, seed: int) -> Crop:
        """The crop of a photo that a generator with this seed draws."""
        rng, image = np.random.default_rng(seed), self._photos[row].image()
        place = self._crops.place((image.shape[0], image.shape[1]), rng)
        cut = self._crops.photo(image, place, self._jitter.draw(rng) if self._jitter else ())
        # Exactly 0 around the photo, as where normalised photos are cut: the fill is that but for rounding.
        input_1CHW = self._backbone.network.to_input(cut[None]) * torch.from_numpy(self._crops.inside(place))
        mask_HW = self._crops.mask(self._mask_of(row), place) if self._mask_of else None
        return Crop(input_1CHW, cut, mask_HW)


@dataclass(frozen=True)
class CropBatch:
    """Crops of some photos, which may still be in the making."""

    rows: NDArray[np.int64]
    cuts: tuple[Future[Crop], ...] = field(repr=False)
    backbone: TunedBackbone = field(repr=False)
    device: str

    @cached_property
    def crops(self) -> tuple[Crop, ...]:
        """All of them, once they are made; raises what reading a photo raised."""
        return tuple(cut.result() for cut in self.cuts)

    def levels(self, scale: float = 1.0, mirrored: bool = False) -> list[torch.Tensor]:
        """Features of the crops or of their mirror images, resized (bilinear, averaging where they shrink)."""
        images_BCHW = torch.cat([crop.input_1CHW for crop in self.crops])
        if scale != 1:
            side = round(images_BCHW.shape[3] * scale)
            images_BCHW = _resized(images_BCHW, (side, side))
        images_BCHW = images_BCHW.flip(3) if mirrored else images_BCHW
        return self.backbone(images_BCHW.contiguous(memory_format=torch.channels_last))

    def colours(self, grids: Sequence[Grid]) -> list[torch.Tensor]:
        """The crops' RGB in [−1, 1] at each grid; the mean colour of the backbone's normalisation around a photo."""
        images_BHWC = torch.from_numpy(np.stack([crop.image for crop in self.crops])).to(self.device)
        images_BCHW = images_BHWC.permute(0, 3, 1, 2).float() / 127.5 - 1
        return [_resized(images_BCHW, grid) for grid in grids]

    def masks_BHW(self, side: int) -> torch.Tensor:
        """The masks of the crops, int64 (B, side, side), sampled at the centres; 255 outside the photos."""
        masks = [crop.mask_HW for crop in self.crops if crop.mask_HW is not None]
        small_BHW = np.stack([resize_mask(mask_HW, side, side) for mask_HW in masks])
        return torch.from_numpy(small_BHW).to(self.device).long()


def _resized(images_BCHW: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return interpolate(images_BCHW, size=size, mode="bilinear", align_corners=False, antialias=True)
