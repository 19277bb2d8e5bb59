"""Localization maps at photo size: upsampled once, in the way they declare, before anything is decided on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from methods.base import LocalizationMaps


def upsample(maps: LocalizationMaps) -> NDArray[np.float32]:
    """The maps at `image_size`, float32 (C, H, W) in [0, 1] (bicubic overshoot is cut off)."""
    import torch
    from torch.nn.functional import interpolate

    if not maps.class_ids:
        return np.zeros((0, *maps.image_size), np.float32)
    if maps.maps_CHW.shape[1:] == maps.image_size:
        return maps.maps_CHW
    align = None if maps.upsampling == "nearest" else False
    maps_BCHW = torch.from_numpy(maps.maps_CHW)[None]
    large = interpolate(maps_BCHW, size=maps.image_size, mode=maps.upsampling, align_corners=align)
    result: NDArray[np.float32] = large[0].clamp_(0, 1).numpy()
    return result
