"""SCCNet's spectral step (linhanwang/SCCNet, `spectral/`, `test.py`): graph, eigenvectors, masks and their use."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.nn.functional import normalize

from methods.networks.grids import resized
from methods.spectral import (
    adaptive_mask,
    affinity,
    colour_neighbours,
    joined_mask,
    modes,
    otsu_cuts,
    shrunk_mask,
    stands_out,
)
from settings.images import resize
from tests.golden.system import GRADIENT, Inputs, System

COUNT, STRIDE, FINER = 5, 16, 4
SIZE = 256
PREDICTIONS = ("overlap", "little_overlap", "apart")


def outputs(stored: Inputs) -> dict[str, Any]:
    image = stored["image"]
    height, width = image.shape[0] // FINER, image.shape[1] // FINER
    small_HWC = resize(image, height, width) / 255
    coarse = (image.shape[0] // STRIDE, image.shape[1] // STRIDE)
    unit_NC = normalize(stored.tensor("features"), dim=1)
    features_NC = resized(unit_NC.T.reshape(1, -1, *coarse), (height, width)).flatten(2)[0].T.numpy()
    neighbours = colour_neighbours(small_HWC)
    pairs_NN = affinity(features_NC, neighbours)
    found = modes(pairs_NN.astype(np.float64), COUNT)
    grids = [vector.reshape(height, width) for vector in found.vectors[1:]]
    vectors = found.vectors.copy()
    # The sign of the constant vector is free: the program's is taken.
    vectors[0] *= np.sign(vectors[0, 0] * stored["eigenvectors"][0, 0])
    return {
        "image_small": small_HWC,
        "color_neighbours": neighbours.toarray(),
        "affinity": pairs_NN,
        "degree": pairs_NN.sum(1),
        "eigenvalues": found.eigenvalues,
        "eigenvectors": vectors,
        "otsu_cuts": np.array([otsu_cuts(grid) for grid in grids]),
        "mask_otsu": np.stack([grid > otsu_cuts(grid)[1] for grid in grids]),
        "mask_adaptive": np.stack([adaptive_mask(grid) for grid in grids]),
        "mask_small": np.stack([stands_out(grid) for grid in grids]),
        **rule(stored),
    }


def rule(stored: Inputs) -> dict[str, Any]:
    """One eigenvector's mask, joined with predictions of 256×256 that overlap it; masks are stored as bits."""
    mask = stands_out(stored["rule_eigenvector"])
    large = shrunk_mask(mask, (SIZE, SIZE))
    found = {"rule_mask": mask, "rule_mask_256": np.packbits(large)}
    for name in PREDICTIONS:
        bits = np.unpackbits(stored[f"rule_prediction_{name}"], count=SIZE * SIZE)
        found[f"rule_result_{name}"] = np.packbits(joined_mask(bits.reshape(SIZE, SIZE) > 0, large))
    return found


# Cuts are values of eigenvectors.
SYSTEM = System(outputs, allowed=(("otsu_cuts", GRADIENT),))
