"""A fully connected CRF (Krähenbühl & Koltun, NIPS 2011) on maps and a background score, by the extra `crf`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from pydantic import Field

from methods.base import LocalizationMaps, MapRecords, Photos, Refiner, Surroundings
from methods.dense_crf import dense_crf, require_dense_crf
from methods.refining import maps_at
from methods.upsampling import upsample_background
from settings.images import resize
from settings.options import Options
from settings.records import Photo


class DenseCrfOptions(Options):
    """The background score where the maps have none, and the kernels (pixels, grey levels); AffinityNet's."""

    alpha: float = Field(4.0, gt=0, le=1000, description="background score (1 − max map)^alpha")
    gaussian_sxy: float = Field(3.0, gt=0, le=1000)
    gaussian_compat: float = Field(3.0, ge=0, le=1000)
    bilateral_sxy: float = Field(80.0, gt=0, le=10_000)
    bilateral_srgb: float = Field(13.0, gt=0, le=1000)
    bilateral_compat: float = Field(10.0, ge=0, le=1000)
    iterations: int = Field(10, ge=1, le=1000)


class DenseCrf(Refiner):
    """Probabilities of background and classes at photo size: the threshold labeler takes the argmax of both."""

    options_model = DenseCrfOptions
    options: DenseCrfOptions
    gives_background = True

    def check_installed(self, where: str) -> None:
        """Raise Impossible where the package of the extra `crf` is not installed."""
        require_dense_crf(where)

    def apply(self, photos: Photos, maps: Callable[[str], LocalizationMaps], surroundings: Surroundings) -> MapRecords:
        """Background and maps at photo size, probabilities that sum to 1; a photo without labels keeps its record."""
        for photo in photos:
            record = maps(photo.id)
            yield self._refined(photo, record) if record.class_ids else record

    def _refined(self, photo: Photo, record: LocalizationMaps) -> LocalizationMaps:
        maps_CHW = maps_at(record, record.image_size)
        if record.background_HW is None:
            background_HW = (1 - maps_CHW.max(0)) ** np.float32(self.options.alpha)
        else:
            background_HW = upsample_background(record)
        scores_SHW = np.concatenate([background_HW[None], maps_CHW]).clip(1e-6)
        probabilities_SHW = (scores_SHW / scores_SHW.sum(0)).astype(np.float32)
        kernels = self.options.model_dump(exclude={"alpha"})
        refined_SHW = dense_crf(resize(photo.image(), *record.image_size), probabilities_SHW, **kernels).clip(0, 1)
        return replace(record, maps_CHW=refined_SHW[1:], background_HW=refined_SHW[0])
