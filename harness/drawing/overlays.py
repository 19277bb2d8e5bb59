"""What is drawn over a photo: maps and masks; and the outlines that stand for a photo that may not be given away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

from harness.drawing.palette import class_colours
from methods.base import LocalizationMaps, Saliency
from methods.upsampling import upsample
from settings.images import resize
from settings.masks import resize_mask
from settings.records import UNKNOWN, Image, Mask

__all__ = [
    "HEAT",
    "SIDE",
    "map_of_class",
    "mask_colours",
    "outlines",
    "reduced",
    "with_maps",
    "with_mask",
    "with_saliency",
]

HALF = 128
"""The saliency from which a pixel rather belongs to an object."""
SALIENT = (255, 200, 0)
"""The rim of what is salient, whatever its class."""

OPACITY = 0.65
HEAT = "gray"
"""Without a hue: the rims of classes have theirs."""
SIDE = 320
"""Photos are made at most this long before anything is drawn over them, in pixels."""
RIM_SHARE = 1 / 160
"""How wide the rims of masks and maps are, as a share of the picture's longer side; one pixel at least."""
OUTLINE_SIDE = 96
"""Photos are made this small, in pixels of their longer side, before their outlines are drawn."""


def reduced(image_HWC: Image, side: int = SIDE) -> Image:
    """The photo at most `side` pixels long: a sheet of large photos must fit into memory."""
    height, width = image_HWC.shape[:2]
    shrink = side / max(height, width)
    if shrink >= 1:
        return image_HWC
    return resize(image_HWC, max(1, round(height * shrink)), max(1, round(width * shrink)))


def with_mask(image_HWC: Image, mask_HW: Mask) -> Image:
    """The photo with the mask's colours over it (the mask takes the photo's size); background stays the photo.

    Each region has a rim in its full colour, and a black one around it: it shows on a photo of any colour.
    """
    mask_HW = resize_mask(mask_HW, *image_HWC.shape[:2])
    colours, width = mask_colours(), _rim_width(image_HWC)
    drawn_HWC = _blend(image_HWC, colours[mask_HW], OPACITY * (mask_HW != 0)[..., None])
    for value in np.unique(mask_HW):
        # The colour of the background, which has no other use, is black.
        drawn_HWC[_rim(mask_HW == value, width)] = colours[value]
    return drawn_HWC


def with_maps(image_HWC: Image, maps: LocalizationMaps) -> Image:
    """The photo with its strongest map of each place over it as a heat map, from 0 (black) to 1 (white).

    Around the places where the map of a class has half of its own maximum or more lies a rim in the class's colour.
    """
    # At the size of the (reduced) picture and not of the photo: that of a large one would be made only to be shrunk.
    height, width = image_HWC.shape[:2]
    maps_CHW = upsample(replace(maps, image_size=(height, width)))
    # A photo without any map is all black.
    strongest_HW = maps_CHW.max(0, initial=0)
    heat_HWC = (colormaps[HEAT](strongest_HW)[..., :3] * 255).astype(np.uint8)
    drawn_HWC = _blend(image_HWC, heat_HWC, np.full((height, width, 1), OPACITY))
    colours, rim = mask_colours(), _rim_width(image_HWC)
    for class_id, map_HW in zip(maps.class_ids, maps_CHW, strict=True):
        if map_HW.max() > 0:
            high_HW = map_HW >= map_HW.max() / 2
            drawn_HWC[_rim(~high_HW, rim)] = 0
            # A map that is high everywhere has its rim along the picture's edge.
            drawn_HWC[_rim(high_HW, 2 * rim, beyond=False)] = colours[class_id + 1]
    return drawn_HWC


def with_saliency(image_HWC: Image, saliency_HW: Saliency) -> Image:
    """The photo with its saliency over it, 0 (black) to 255 (white), and a rim around where it is ½ or more."""
    height, width = image_HWC.shape[:2]
    small_HW = resize(saliency_HW, height, width)
    heat_HWC = (colormaps[HEAT](small_HW / 255)[..., :3] * 255).astype(np.uint8)
    drawn_HWC = _blend(image_HWC, heat_HWC, np.full((height, width, 1), OPACITY))
    object_HW, rim = small_HW >= HALF, _rim_width(image_HWC)
    drawn_HWC[_rim(~object_HW, rim)] = 0
    drawn_HWC[_rim(object_HW, 2 * rim, beyond=False)] = SALIENT
    return drawn_HWC


def map_of_class(maps: LocalizationMaps, class_id: int) -> LocalizationMaps | None:
    """One class's map alone; None where the photo has none."""
    if class_id not in maps.class_ids:
        return None
    position = maps.class_ids.index(class_id)
    return replace(maps, class_ids=(class_id,), maps_CHW=maps.maps_CHW[position : position + 1])


def outlines(image_HWC: Image) -> Image:
    """A coarse line drawing of a photo at its size, for pictures that may be given away where the photo may not."""
    height, width = image_HWC.shape[:2]
    shrink = OUTLINE_SIDE / max(height, width)
    # Two pixels a side at least: a gradient needs a neighbour.
    small_HW = resize(image_HWC, max(2, round(height * shrink)), max(2, round(width * shrink))).mean(2)
    down_HW, right_HW = np.gradient(small_HW)
    strength_HW = np.hypot(down_HW, right_HW)
    # Held against the strongest edges of the photo, so that a dark or misty one has outlines too.
    ink_HW = np.clip(strength_HW / max(float(np.quantile(strength_HW, 0.97)), 1.0), 0, 1)
    grey_HW = (235 - 150 * (ink_HW > 0.5)).astype(np.uint8)
    return resize(np.repeat(grey_HW[..., None], 3, axis=2), height, width)


def mask_colours() -> NDArray[np.uint8]:
    """The colours of the 256 mask values, uint8 (256, 3): black for the background, white where unknown."""
    colours = np.zeros((UNKNOWN + 1, 3), np.uint8)
    colours[1:UNKNOWN] = class_colours(UNKNOWN - 1)
    colours[UNKNOWN] = 255
    return colours


def _rim_width(image_HWC: Image) -> int:
    longer: int = max(image_HWC.shape[:2])
    return max(1, round(longer * RIM_SHARE))


def _rim(region_HW: NDArray[np.bool_], width: int, beyond: bool = True) -> NDArray[np.bool_]:
    """The pixels of a region that are at most `width` steps from its outside; `beyond`: the region goes on there."""
    # Workers import this module, and few of them draw.
    from scipy.ndimage import binary_erosion

    inner_HW: NDArray[np.bool_] = binary_erosion(region_HW, iterations=width, border_value=beyond)
    return region_HW & ~inner_HW


def _blend(image_HWC: Image, over_HWC: Image, opacity_HW1: NDArray[np.float64]) -> Image:
    return (image_HWC * (1 - opacity_HW1) + over_HWC * opacity_HW1).astype(np.uint8)
