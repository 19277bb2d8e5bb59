"""Eigenvectors of a photo's affinities, and what is read off them: after SCCNet (SIGSPATIAL 2023), docs/neighbours.md.

Positions of a grid that look alike, in features or in colour, are joined; the smoothest way to cut such a graph in two
(normalised cuts, Shi & Malik, PAMI 2000) often parts an object from what is around it. Nothing is learned.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.linalg import eigsh
from scipy.spatial import KDTree

__all__ = [
    *("COLOUR_WEIGHT", "Modes", "adaptive_mask", "affinity", "colour_neighbours", "joined_mask", "modes", "otsu_cuts"),
    *("shrunk_mask", "stands_out"),
]

Floats = NDArray[np.floating[Any]]

COLOUR_WEIGHT = 5.0
"""What a listed pair of colour neighbours adds to an affinity; that of features is at most 1."""
NEIGHBOURS = ((20, 2.0), (10, 0.1))
"""How many neighbours are listed, and what places weigh beside colours, in a wide and a narrow sense of alike."""
BINS = 256
ENOUGH_OVERLAP = 0.1
"""The IoU above which a mask is believed to show what a prediction shows."""
BLOCK, BELOW = 9, 2
"""Side of the square whose mean a position is held against, and how far below it may be, in grey levels."""


class Modes(NamedTuple):
    """The smoothest vectors over the graph's positions, most even first, and how uneven each is."""

    eigenvalues: Floats
    """(count,), ascending from 0."""
    vectors: Floats
    """(count, positions); the first is constant."""


def colour_neighbours(image_HWC: Floats) -> sparse.csr_matrix:
    """How often two positions are listed as neighbours in (r, g, b, t·x, t·y), (n, n) for n = H·W, symmetric.

    Colours are in [0, 1], x and y too. A position is the nearest neighbour of itself, and each listed pair counts in
    both directions: the diagonal holds 4.
    """
    height, width = image_HWC.shape[:2]
    total = height * width
    x, y = np.tile(np.linspace(0, 1, width), height), np.repeat(np.linspace(0, 1, height), width)
    rows, columns = [], []
    for count, weight in NEIGHBOURS:
        # In single precision, as in the released program: of equally near positions the same ones are listed.
        places = np.column_stack([image_HWC.reshape(total, 3), weight * x, weight * y]).astype(np.float32)
        listed = min(count, total)
        _, nearest = KDTree(places).query(places, k=np.arange(1, listed + 1))
        rows.append(np.repeat(np.arange(total), listed))
        columns.append(nearest.ravel())
    row, column = np.concatenate(rows), np.concatenate(columns)
    counts = sparse.csr_matrix((np.ones(len(row), np.float32), (row, column)), (total, total))
    return counts + counts.T


def affinity(features_NC: Floats, neighbours_NN: sparse.csr_matrix, weight: float = COLOUR_WEIGHT) -> Floats:
    """max(F Fᵀ, 0) divided by its maximum, and `weight` times the counts of colour neighbours, (N, N)."""
    alike_NN = features_NC @ features_NC.T
    np.maximum(alike_NN, 0, out=alike_NN)
    largest = alike_NN.max()
    if largest > 0:
        alike_NN /= largest
    listed = neighbours_NN.tocoo()
    alike_NN[listed.row, listed.col] += weight * listed.data.astype(alike_NN.dtype)
    return alike_NN


def modes(affinity_NN: Floats, count: int, tolerance: float = 0.0) -> Modes:
    """The `count` smallest solutions of (D − W) v = λ D v with vᵀ D v = 1, D the row sums of W.

    A vector that is positive in more than half of its positions, though not in all, is turned: what stands out is the
    smaller part. `tolerance`: relative, of the eigenvalues; 0 is as exact as the arithmetic.
    """
    root_N = np.sqrt(affinity_NN.sum(1))
    # Of the same vectors, 1 − λ are the largest eigenvalues of a symmetric matrix: nothing has to be inverted.
    even_NN = affinity_NN / root_N / root_N[:, None]
    # The constant vector is known: moved to the far end of the spectrum, it mixes with none of a graph in pieces.
    constant_N = root_N / np.sqrt((root_N**2).sum())
    even_NN -= 2 * np.outer(constant_N, constant_N)
    # A start of its own for each position, the same for each call: ARPACK would draw one.
    start_N = np.linspace(-1, 1, len(root_N), dtype=root_N.dtype) ** 3
    largest, vectors_NK = eigsh(even_NN, count - 1, which="LA", v0=start_N, tol=tolerance)
    order = np.argsort(-largest)
    found = [constant_N, *(vectors_NK[:, column] for column in order)]
    eigenvalues = np.concatenate([np.zeros(1, largest.dtype), 1 - largest[order]])
    return Modes(eigenvalues, np.stack([_turned(vector_N / root_N) for vector_N in found]))


def _turned(vector: Floats) -> Floats:
    share = float((vector > 0).mean())
    return -vector if 0.5 < share < 1 else vector


def otsu_cuts(values: Floats) -> tuple[float, float]:
    """Two cuts that part values into three groups with the largest variance between them (Otsu), as centres of bins.

    256 bins between the smallest and the largest value; a value is above a cut that it exceeds. Of values in two bins
    both cuts are the lower one, and nothing exceeds the cuts of equal values.
    """
    counts, edges = np.histogram(values, BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    filled = np.flatnonzero(counts)
    if len(filled) <= 3:
        return float(centres[filled[0]]), float(centres[filled[max(0, len(filled) - 2)]])
    shares = counts / counts.sum()
    mass = np.concatenate([[0.0], np.cumsum(shares)])
    moment = np.concatenate([[0.0], np.cumsum(shares * np.arange(BINS))])

    def variance(begin: NDArray[np.int64] | int, end: NDArray[np.int64] | int) -> Floats:
        """Of the bins from `begin` up to `end`, not with it: (Σ p·bin)² / Σ p, up to what all groupings share."""
        of_mass, of_moment = mass[end] - mass[begin], moment[end] - moment[begin]
        squared: Floats = np.divide(of_moment**2, of_mass, out=np.zeros_like(of_mass), where=of_mass > 0)
        return squared

    first, second = np.arange(1, BINS - 1)[:, None], np.arange(2, BINS)[None]
    between = variance(0, first) + variance(first, second) + variance(second, BINS)
    between[first >= second] = -np.inf
    best_first, best_second = np.unravel_index(int(between.argmax()), between.shape)
    return float(centres[best_first]), float(centres[best_second + 1])


def adaptive_mask(vector_HW: Floats) -> NDArray[np.bool_]:
    """Where a position is brighter than the mean of the 9×9 around it, less 2 of 255 grey levels, (H, W).

    The vector is stretched to grey levels by its minimum and maximum; its borders are repeated.
    """
    low, high = vector_HW.min(), vector_HW.max()
    grey_HW = ((vector_HW - low) / (1e-6 + high - low) * 255).astype(np.uint8)
    mean_HW = ndimage.uniform_filter(grey_HW.astype(np.float64), BLOCK, mode="nearest").round()
    bright_HW: NDArray[np.bool_] = grey_HW > mean_HW - BELOW
    return bright_HW


def stands_out(vector_HW: Floats) -> NDArray[np.bool_]:
    """SCCNet's mask of a vector: above the second of two Otsu cuts, and brighter than what is around it, (H, W)."""
    return (vector_HW > otsu_cuts(vector_HW)[1]) & adaptive_mask(vector_HW)


def shrunk_mask(mask_HW: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask at (height, width), bilinear with aligned corners, where it is fully 1: it loses its rim."""
    import torch
    from torch.nn.functional import interpolate

    large_HW = interpolate(torch.from_numpy(mask_HW).float()[None, None], size, mode="bilinear", align_corners=True)
    inside_HW: NDArray[np.bool_] = (large_HW[0, 0] >= 1).numpy()
    return inside_HW


def joined_mask(prediction_HW: NDArray[np.bool_], mask_HW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What either shows, where their IoU exceeds ENOUGH_OVERLAP; else the prediction."""
    both, either = prediction_HW & mask_HW, prediction_HW | mask_HW
    return either if both.sum() > ENOUGH_OVERLAP * either.sum() else prediction_HW
