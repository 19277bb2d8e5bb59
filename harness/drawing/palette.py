"""Colours of classes that are told apart: as far from each other as they can be, and far from greys.

The palette of VOC, which mask files have, was made from bits: its two reds, (128, 0, 0) and (192, 0, 0), are nearly
the same, and one of its classes is grey on the grey of a photo. Pictures have colours of their own.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["class_colours", "to_lab"]

STEPS = 12
"""Values of each of red, green and blue that colours are chosen from."""
MIN_CHROMA = 35.0
LIGHTNESS = (32.0, 90.0)
"""What a colour must have in CIELAB: neither grey, nor near black or white, which stand for edges and for unknown."""
WHITE = np.array([0.9505, 1.0, 1.089])
"""D65, as XYZ."""
XYZ_OF_RGB = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def to_lab(colours_N3: NDArray[np.uint8]) -> NDArray[np.float64]:
    """sRGB colours, uint8 (N, 3), in CIELAB under D65, float64 (N, 3): L in 0..100, a, b (CIE 15, IEC 61966-2-1)."""
    encoded_N3 = colours_N3 / 255
    linear_N3 = np.where(encoded_N3 <= 0.04045, encoded_N3 / 12.92, ((encoded_N3 + 0.055) / 1.055) ** 2.4)
    ratios_N3 = linear_N3 @ XYZ_OF_RGB.T / WHITE
    x_N, y_N, z_N = np.where(ratios_N3 > (6 / 29) ** 3, np.cbrt(ratios_N3), ratios_N3 * (29 / 6) ** 2 / 3 + 4 / 29).T
    return np.stack([116 * y_N - 16, 500 * (x_N - y_N), 200 * (y_N - z_N)], axis=1)


@cache
def class_colours(count: int) -> NDArray[np.uint8]:
    """Colours of classes 0..count - 1, uint8 (count, 3): each is the one farthest in CIELAB from all before it.

    So those of few classes are the farthest from each other, and a class has its colour however many follow.
    """
    levels = np.linspace(0, 255, STEPS).round().astype(np.uint8)
    candidates_N3 = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lab_N3 = to_lab(candidates_N3)
    chroma_N = np.hypot(lab_N3[:, 1], lab_N3[:, 2])
    is_fit_N = (chroma_N >= MIN_CHROMA) & (lab_N3[:, 0] >= LIGHTNESS[0]) & (lab_N3[:, 0] <= LIGHTNESS[1])
    candidates_N3, lab_N3 = candidates_N3[is_fit_N], lab_N3[is_fit_N]
    # The first is a red, the colour that stands out most from photos.
    chosen = [int(np.argmax(lab_N3[:, 1] + lab_N3[:, 2]))]
    distance_N = np.full(len(lab_N3), np.inf)
    while len(chosen) < count:
        distance_N = np.minimum(distance_N, np.linalg.norm(lab_N3 - lab_N3[chosen[-1]], axis=1))
        chosen.append(int(distance_N.argmax()))
    return candidates_N3[chosen]
