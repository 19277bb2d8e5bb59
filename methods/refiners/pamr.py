"""Pixel-adaptive mask refinement (Araslanov & Roth, CVPR 2020): maps follow the photo's colours, without training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from methods.base import LocalizationMaps, MapRecords, Photos, Refiner, Surroundings
from methods.refining import peaked, shrunk
from methods.upsampling import upsample
from settings.images import resize
from settings.options import Options
from settings.records import Photo


class PamrOptions(Options):
    """The neighbours, how often, and at which size."""

    dilations: tuple[Annotated[int, Field(ge=1, le=256)], ...] = Field(
        (1, 2, 4, 8, 12, 24), min_length=1, max_length=16
    )
    iterations: int = Field(10, ge=1, le=1000)
    size: int = Field(256, ge=16, le=4096, description="photos are shrunk to this longer side (pixels) before")


class Pamr(Refiner):
    """Each map, and the background map beside it, averaged over pixels alike; a map keeps its maximum of 1."""

    options_model = PamrOptions
    options: PamrOptions
    version = 2

    def apply(self, photos: Photos, maps: Callable[[str], LocalizationMaps], surroundings: Surroundings) -> MapRecords:
        """Maps at the size of the shrunk photo, each with a maximum of 1; a photo without labels keeps its record."""
        for photo in photos:
            yield self._refined(photo, maps(photo.id), surroundings.device)

    def _refined(self, photo: Photo, record: LocalizationMaps, device: str) -> LocalizationMaps:
        import torch

        from methods.networks.pamr import pamr

        if not record.class_ids:
            return record
        grid = shrunk(record.image_size, self.options.size)
        image_3HW = torch.from_numpy(np.array(resize(photo.image(), *grid))).permute(2, 0, 1).float()
        planes = [record.maps_CHW] if record.background_HW is None else [record.maps_CHW, record.background_HW[None]]
        large = replace(record, maps_CHW=np.concatenate(planes), image_size=grid)
        before_BCHW = torch.from_numpy(np.ascontiguousarray(upsample(large)))[None].to(device)
        refined_BCHW = pamr(before_BCHW, image_3HW[None].to(device), self.options.dilations, self.options.iterations)
        after_CHW: NDArray[np.float32] = refined_BCHW[0].cpu().numpy()
        classes = len(record.class_ids)
        background_HW = None if record.background_HW is None else after_CHW[classes].clip(0, 1)
        return replace(record, maps_CHW=peaked(after_CHW[:classes]), upsampling="bilinear", background_HW=background_HW)
