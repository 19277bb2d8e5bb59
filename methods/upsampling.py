"""Localization maps at photo size: upsampled once, in the way they declare, before anything is decided on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from methods.base import LocalizationMaps


def upsample(maps: LocalizationMaps) -> NDArray[np.float32]:
    """The maps at `image_size`, float32 (C, H, W) in [0, 1] (bicubic overshoot is cut off)."""
    return _upsample(maps.maps_CHW, maps) if maps.class_ids else np.zeros((0, *maps.image_size), np.float32)


def upsample_background(maps: LocalizationMaps) -> NDArray[np.float32]:
    """The background map at `image_size`, float32 (H, W) in [0, 1]; ValueError for a method that has none."""
    if maps.background_HW is None:
        raise ValueError(f"{maps.photo_id}: no background map")
    background_HW: NDArray[np.float32] = _upsample(maps.background_HW[None], maps)[0]
    return background_HW


def _upsample(maps_CHW: NDArray[np.float32], how: LocalizationMaps) -> NDArray[np.float32]:
    import torch
    from torch.nn.functional import interpolate

    if maps_CHW.shape[1:] == how.image_size:
        return maps_CHW
    align = None if how.upsampling == "nearest" else False
    maps_BCHW = torch.from_numpy(maps_CHW)[None]
    large = interpolate(maps_BCHW, size=how.image_size, mode=how.upsampling, align_corners=align)
    result: NDArray[np.float32] = large[0].clamp_(0, 1).numpy()
    return result
