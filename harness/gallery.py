"""The picture of what a recipe does to a photo: photo | maps | pseudo label | prediction | truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from methods.base import LocalizationMaps
from methods.upsampling import upsample
from settings.images import resize
from settings.masks import PALETTE
from settings.records import UNKNOWN, Image, LabelSpace, Mask

COLUMNS = ("photo", "localization maps", "pseudo label", "prediction", "truth")
OPACITY = 0.65
OUTLINE_SIDE = 96
"""Photos are made this small, in pixels of their longer side, before their outlines are drawn."""


class Panel(NamedTuple):
    """One line of the picture."""

    name: str
    image: Image
    maps: LocalizationMaps
    pseudo_label: Mask
    prediction: Mask
    truth: Mask


def draw(path: Path, panels: Sequence[Panel], space: LabelSpace, title: str) -> None:
    """Write the picture as PNG; masks and maps lie over the photo, unknown pixels are white."""
    figure = Figure(figsize=(2.2 * len(COLUMNS), 1.9 * len(panels) + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), len(COLUMNS), squeeze=False)
    for row, panel in zip(axes, panels, strict=True):
        for axis, pixels in zip(row, _columns(panel), strict=True):
            axis.imshow(pixels)
            axis.set_axis_off()
        names = ", ".join(space.names[class_id] for class_id in panel.maps.class_ids)
        row[0].set_title(f"{panel.name}: {names}", fontsize=7, loc="left")
    for axis, column in zip(axes[0][1:], COLUMNS[1:], strict=True):
        axis.set_title(column, fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def with_mask(image_HWC: Image, mask_HW: Mask) -> Image:
    """The photo with the mask's colours over it; background stays the photo."""
    colours = np.frombuffer(PALETTE, np.uint8).reshape(256, 3).copy()
    colours[UNKNOWN] = 255
    return _blend(image_HWC, colours[mask_HW], OPACITY * (mask_HW != 0)[..., None])


def with_maps(image_HWC: Image, maps: LocalizationMaps) -> Image:
    """The photo with its strongest map as a heat map over it."""
    strongest_HW = upsample(maps).max(0) if maps.class_ids else np.zeros(maps.image_size, np.float32)
    heat_HWC = (colormaps["inferno"](strongest_HW)[..., :3] * 255).astype(np.uint8)
    return _blend(image_HWC, heat_HWC, np.full((*strongest_HW.shape, 1), OPACITY))


def outlines(image_HWC: Image) -> Image:
    """A coarse line drawing of a photo at its size, for pictures that may be given away where the photo may not."""
    height, width = image_HWC.shape[:2]
    shrink = OUTLINE_SIDE / max(height, width)
    small_HW = resize(image_HWC, max(2, round(height * shrink)), max(2, round(width * shrink))).mean(2)
    down_HW, right_HW = np.gradient(small_HW)
    strength_HW = np.hypot(down_HW, right_HW)
    ink_HW = np.clip(strength_HW / max(float(np.quantile(strength_HW, 0.97)), 1.0), 0, 1)
    grey_HW = (235 - 150 * (ink_HW > 0.5)).astype(np.uint8)
    return resize(np.repeat(grey_HW[..., None], 3, axis=2), height, width)


def _columns(panel: Panel) -> list[Image]:
    masks = (panel.pseudo_label, panel.prediction, panel.truth)
    return [panel.image, with_maps(panel.image, panel.maps), *(with_mask(panel.image, mask) for mask in masks)]


def _blend(image_HWC: Image, over_HWC: Image, opacity_HW1: NDArray[np.float64]) -> Image:
    return (image_HWC * (1 - opacity_HW1) + over_HWC * opacity_HW1).astype(np.uint8)
