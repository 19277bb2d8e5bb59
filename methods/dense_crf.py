"""Mean-field inference in a fully connected CRF (Krähenbühl & Koltun, NIPS 2011), by the optional package pydensecrf2.

The package compiles C++ and is therefore an extra: whatever can be had without it does not need it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from settings.errors import Impossible
from settings.records import Image

LEAST = 1e-30
"""Probabilities below count as this, since log 0 is no number."""


def dense_crf(
    image_HWC_uint8: Image,
    probabilities_KHW: NDArray[np.float32],
    gaussian_sxy: float,
    gaussian_compat: float,
    bilateral_sxy: float,
    bilateral_srgb: float,
    bilateral_compat: float,
    iterations: int,
) -> NDArray[np.float32]:
    """Class probabilities (K, H, W) after some mean-field steps, with unary −log p and the package's default kernels.

    The image is RGB (H, W, 3). Spatial deviations (`sxy`) are in pixels, `bilateral_srgb` in grey levels 0–255;
    `compat` are the weights of a Potts model. Raises Impossible where pydensecrf2 is not installed, ValueError for
    sizes that differ.
    """
    classes, height, width = probabilities_KHW.shape
    if image_HWC_uint8.shape != (height, width, 3):
        raise ValueError(f"an image {image_HWC_uint8.shape} for probabilities {probabilities_KHW.shape}")
    field = _densecrf().DenseCRF2D(width, height, classes)
    unary_KN = -np.log(np.maximum(probabilities_KHW, np.float32(LEAST)), dtype=np.float32).reshape(classes, -1)
    field.setUnaryEnergy(np.ascontiguousarray(unary_KN))
    field.addPairwiseGaussian(sxy=gaussian_sxy, compat=gaussian_compat)
    image = np.array(image_HWC_uint8, order="C")  # a copy: the package wants a buffer that it could write
    field.addPairwiseBilateral(sxy=bilateral_sxy, srgb=bilateral_srgb, rgbim=image, compat=bilateral_compat)
    return np.array(field.inference(iterations), np.float32).reshape(probabilities_KHW.shape)


def require_dense_crf(where: object, otherwise: str = "choose pamr") -> None:
    """Raise Impossible, naming the option `where`, if the package is not installed: for planning, before any work.

    `otherwise` tells what else the user may do.
    """
    _densecrf(where, otherwise)


def _densecrf(where: object = "dense_crf", otherwise: str = "choose pamr") -> Any:
    try:
        from pydensecrf import densecrf
    except ImportError as error:
        mend = f"pip install 'seedbed[crf]', or {otherwise}"
        raise Impossible(where, f"no module ({error})", "the package pydensecrf2", mend) from None
    return densecrf
