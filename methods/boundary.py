"""Saliency from colours alone, after Zhu et al., "Saliency Optimization from Robust Background Detection", CVPR 2014.

What is much connected to the border of a photo is background. Cells of a grid stand for the paper's superpixels; the
paper's constants.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import dijkstra
from scipy.sparse.linalg import spsolve

from settings.records import Image

__all__ = ["background_weights", "lab", "saliency_of"]

Floats = NDArray[np.floating[Any]]

SIGMA_COLOUR, SIGMA_BORDER, SIGMA_PLACE = 10.0, 1.0, 0.25
"""In units of Lab, of border connectivity, and of the photo's sides."""
SMOOTHNESS = 0.1
"""What any two neighbouring cells are alike at least."""


def lab(image_HWC: Image) -> Floats:
    """An sRGB image as CIE Lab with white D65, float64 (H, W, 3), lightness from 0 to 100."""
    coded = image_HWC / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    # Against white: rows add up to it.
    xyz = linear @ to_xyz.T / to_xyz.sum(1)
    bent = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(bent, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def background_weights(colours_HWC: Floats) -> Floats:
    """How surely each cell is background, in [0, 1], (N,): 1 − exp(−connectivity² / 2σ²) (equations 2 to 5).

    Connectivity is the length of border that a cell reaches by small steps of colour, over the root of the area that it
    reaches. All cells of the border are neighbours of each other.
    """
    height, width = colours_HWC.shape[:2]
    colours_NC = colours_HWC.reshape(-1, colours_HWC.shape[2])
    border = _border(height, width)
    # Each pair once: lengths of a pair that stands there twice would be added.
    steps = np.unique(np.concatenate([_neighbours(height, width), _all_pairs(border)], 1), axis=1)
    lengths = np.linalg.norm(colours_NC[steps[0]] - colours_NC[steps[1]], axis=1)
    # A step of length 0 is a step: a sparse matrix would take it for none.
    paths = sparse.csr_matrix((np.maximum(lengths, 1e-9), (steps[0], steps[1])), (len(colours_NC), len(colours_NC)))
    reach_NN = np.exp(-(dijkstra(paths, directed=False) ** 2) / (2 * SIGMA_COLOUR**2))
    connectivity_N = reach_NN[:, border].sum(1) / np.sqrt(reach_NN.sum(1))
    weights_N: Floats = 1 - np.exp(-(connectivity_N**2) / (2 * SIGMA_BORDER**2))
    return weights_N


def saliency_of(colours_HWC: Floats) -> Floats:
    """Saliency (H, W) in [0, 1] of cells, from their colours in Lab (equations 6 to 9); 0 where all are of one colour.

    A cell that differs from surely background cells near it pulls upwards, background pulls downwards, and neighbours
    of one colour stay together: the minimum of a sum of squares.
    """
    height, width = colours_HWC.shape[:2]
    colours_NC = colours_HWC.reshape(-1, colours_HWC.shape[2])
    background_N = background_weights(colours_HWC)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    places_N2 = np.column_stack([y.ravel(), x.ravel()])
    near_NN = np.exp(-(_distances(places_N2) ** 2) / (2 * SIGMA_PLACE**2))
    contrast_N = (_distances(colours_NC) * near_NN) @ background_N
    if contrast_N.max() < 1e-9:
        return np.zeros((height, width))
    contrast_N /= contrast_N.max()
    one, other = _neighbours(height, width)
    apart = np.linalg.norm(colours_NC[one] - colours_NC[other], axis=1)
    alike = np.exp(-(apart**2) / (2 * SIGMA_COLOUR**2)) + SMOOTHNESS
    weights = sparse.csr_matrix((alike, (one, other)), (len(colours_NC), len(colours_NC)))
    weights = weights + weights.T
    system = sparse.diags(background_N + contrast_N + np.asarray(weights.sum(1)).ravel()) - weights
    solved_N: Floats = spsolve(system.tocsc(), contrast_N)
    return solved_N.clip(0, 1).reshape(height, width)


def _neighbours(height: int, width: int) -> NDArray[np.int64]:
    """Pairs of cells that touch by a side or a corner, each once, (2, pairs)."""
    cells = np.arange(height * width).reshape(height, width)
    pairs = [
        (cells[:, :-1], cells[:, 1:]),
        (cells[:-1], cells[1:]),
        (cells[:-1, :-1], cells[1:, 1:]),
        (cells[:-1, 1:], cells[1:, :-1]),
    ]
    return np.concatenate([np.stack([one.ravel(), other.ravel()]) for one, other in pairs], 1)


def _all_pairs(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    one, other = np.triu_indices(len(cells), 1)
    return np.stack([cells[one], cells[other]])


def _border(height: int, width: int) -> NDArray[np.int64]:
    is_border = np.ones((height, width), np.bool_)
    is_border[1:-1, 1:-1] = False
    return np.flatnonzero(is_border)


def _distances(points_NC: Floats) -> Floats:
    found: Floats = np.linalg.norm(points_NC[:, None] - points_NC[None], axis=2)
    return found
