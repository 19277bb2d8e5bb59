"""What each policy chooses."""

import numpy as np
import pytest

from results.metrics.sweep import Sweep, threshold_sweep
from results.selection import is_ranked, policy
from settings.errors import UserError


def sweep() -> Sweep:
    score = np.array([[0.5, 0.9]], np.float32)
    return threshold_sweep(score, np.ones((1, 2), np.uint8), np.array([[0, 1]], np.uint8), 2, 10)


def test_fixed_takes_what_was_declared() -> None:
    assert policy("fixed").threshold(sweep(), 0.15) == 0.15
    assert policy("fixed").ranked


def test_oracle_takes_the_best_and_is_not_ranked() -> None:
    assert policy("oracle").threshold(sweep(), 0.15) == 0.5
    assert not policy("oracle").ranked


def test_oracle_without_a_counted_pixel_takes_what_was_declared() -> None:
    assert policy("oracle").threshold(Sweep.zero(2), 0.15) == 0.15


def test_unknown_policies() -> None:
    with pytest.raises(UserError, match=r"unknown selection policy 'oracel'.*did you mean 'oracle'"):
        policy("oracel")
    assert is_ranked("fixed") and not is_ranked("oracle") and not is_ranked("made up")
