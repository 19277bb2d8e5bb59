"""Spectral saliency on a grid of 32×32 positions, beside its paper's program's way: a generalised, inverted problem.

python -m benchmarks.spectral [--photos 10]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import eigsh

from methods.cues.spectral import TOLERANCE
from methods.spectral import affinity, colour_neighbours, modes

SIDE, CHANNELS = 32, 112
"""Positions a side, and channels of the default backbone's level 3."""
Floats = NDArray[np.floating[Any]]


def photo(number: int) -> tuple[Floats, Floats]:
    """Unit features (N, C) and colours (side, side, 3) with a smooth part and noise."""
    rng = np.random.default_rng(number)
    coarse = rng.normal(size=(4, 4, CHANNELS + 3)).repeat(SIDE // 4, 0).repeat(SIDE // 4, 1)
    values = coarse + 0.5 * rng.normal(size=coarse.shape)
    features_NC = values[..., :CHANNELS].reshape(SIDE * SIDE, CHANNELS).astype(np.float32)
    colours = 1 / (1 + np.exp(-values[..., CHANNELS:]))
    return features_NC / np.linalg.norm(features_NC, axis=1, keepdims=True), colours


def ours(features_NC: Floats, colours: Floats) -> Floats:
    """The second vector, as the cue asks for it."""
    return modes(affinity(features_NC, colour_neighbours(colours)), 2, TOLERANCE).vectors[1]


def inverted(features_NC: Floats, colours: Floats) -> Floats:
    """(D − W) v = λ D v by shift and invert, five vectors, in double precision.

    The program shifts by 0, where the matrix is singular; a little less than 0 always has a solution.
    """
    pairs_NN = affinity(features_NC, colour_neighbours(colours)).astype(np.float64)
    degrees_NN = np.diag(pairs_NN.sum(1))
    _, vectors = eigsh(degrees_NN - pairs_NN, 5, sigma=-1e-4, which="LM", M=degrees_NN)
    return np.asarray(vectors[:, 1])


WAYS: dict[str, Callable[[Floats, Floats], Floats]] = {"ours": ours, "inverted": inverted}


def seconds(way: Callable[[Floats, Floats], Floats], number: int) -> float:
    """CPU time of one photo."""
    inputs = photo(number)
    start = process_time()
    way(*inputs)
    return process_time() - start


def main() -> None:
    """Print photos a second on one core (run with OMP_NUM_THREADS=1), medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=10)
    count = parser.parse_args().photos
    for name, way in WAYS.items():
        print(f"{name}: {1 / median(seconds(way, number) for number in range(count)):.1f} photos/s")


if __name__ == "__main__":
    main()
