"""Powers of a matrix by polynomials, beside the powers themselves."""

import numpy as np
import pytest
import torch

from methods.networks.transitions import chebyshev_weights, power


@pytest.mark.parametrize("steps", [1, 2, 3, 16, 256, 2048])
def test_the_polynomial_is_the_power(steps: int) -> None:
    x = np.linspace(-1, 1, 401)
    found = np.polynomial.chebyshev.chebval(x, chebyshev_weights(steps))
    assert np.abs(found - x**steps).max() <= 2e-12


def test_terms_are_few() -> None:
    """By hand for the cube; for 256 steps less than half as many products as steps."""
    assert chebyshev_weights(3) == [0.0, 0.75, 0.0, 0.25]
    assert len(chebyshev_weights(256)) - 1 == 112


def test_power_of_a_matrix() -> None:
    """A matrix of rows that sum to 1, alike to a symmetric one."""
    torch.manual_seed(0)
    symmetric = torch.rand(12, 12, dtype=torch.float64)
    symmetric = symmetric + symmetric.T
    matrix = symmetric / symmetric.sum(1, keepdim=True)
    rows = torch.rand(12, 2, dtype=torch.float64)
    for steps in (1, 2, 7, 300):
        expected = torch.linalg.matrix_power(matrix, steps) @ rows
        torch.testing.assert_close(power(matrix, rows, steps), expected, rtol=1e-10, atol=1e-11)
