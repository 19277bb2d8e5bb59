"""Walks and distances along pairs of pixels against matrices written out and differences one by one."""

import numpy as np
import pytest
import torch

from methods.kernels.grid_walk import distances, walked
from methods.networks.pixel_pairs import Border, pixel_pairs, windows
from methods.networks.transitions import chebyshev_weights

GRID, RADIUS = (9, 12), 4


def places(border: Border) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Both pixels of every pair, one after the other, in the order of pairs."""
    found = []
    for one in pixel_pairs(GRID, RADIUS, border):
        dy, dx = one.offset
        rows, columns = one.source
        found += [((y, x), (y + dy, x + dx)) for y in range(GRID[0])[rows] for x in range(GRID[1])[columns]]
    return found


@pytest.mark.parametrize("border", ["released", "all"])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_walk_is_a_power_of_its_matrix(border: Border, threads: int) -> None:
    torch.manual_seed(0)
    pairs, steps, pixels = places(border), 48, GRID[0] * GRID[1]
    maps, affinities = torch.rand(2, 3, *GRID), torch.rand(2, len(pairs), dtype=torch.float64)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        rows = windows(pixel_pairs(GRID, RADIUS, border))
        found = walked(maps, affinities, rows, chebyshev_weights(steps))
    finally:
        torch.set_num_threads(before)
    for photo in range(2):
        matrix = np.eye(pixels)
        for (here, there), affinity in zip(pairs, affinities[photo].tolist(), strict=True):
            one, other = np.ravel_multi_index(here, GRID), np.ravel_multi_index(there, GRID)
            matrix[one, other] = matrix[other, one] = affinity
        transition = np.linalg.matrix_power(matrix / matrix.sum(1, keepdims=True), steps)
        expected = maps[photo].double().numpy().reshape(3, pixels) @ transition.T
        np.testing.assert_allclose(found[photo].numpy().reshape(3, pixels), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("border", ["released", "all"])
def test_distances_are_mean_differences(border: Border) -> None:
    torch.manual_seed(0)
    pairs, features = places(border), torch.randn(2, 21, *GRID)
    found = distances(features, windows(pixel_pairs(GRID, RADIUS, border)), len(pairs))
    expected = [(features[:, :, *here] - features[:, :, *there]).abs().mean(1) for here, there in pairs]
    torch.testing.assert_close(found, torch.stack(expected, 1), atol=1e-6, rtol=1e-6)
