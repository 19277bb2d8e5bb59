"""Rungs against hand-made cases, and scipy for the correlation of ranks."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from results.rungs import LEAST_TRIALS, check_rung, stops


@pytest.mark.parametrize(
    ("score", "peers", "stopped"),
    [
        (0.0, [], False),
        (0.5, [0.5], False),
        (0.49, [0.5], True),
        # The best third of 1..9 begins, by linear percentiles, at 1 + 8 · 2/3.
        (6.3, [1, 2, 3, 4, 5, 6, 7, 8, 9], True),
        (6.4, [1, 2, 3, 4, 5, 6, 7, 8, 9], False),
    ],
)
def test_a_trial_below_the_best_third_of_its_peers_is_stopped(score: float, peers: list[float], stopped: bool) -> None:
    assert stops(score, peers, 3.0) is stopped


def test_correlation_of_ranks_is_spearmans_with_equal_values_too() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores, ends = rng.integers(0, 6, 15).tolist(), rng.integers(0, 6, 15).tolist()
        assert check_rung("r", scores, ends, 3.0).correlation == pytest.approx(spearmanr(scores, ends).statistic)


def test_false_kills_are_the_share_of_the_best_that_a_rung_would_stop() -> None:
    ends = [1.0, 2, 3, 4, 5, 6, 7, 8, 9]
    # The best third at the end is 7, 8, 9: the rung has 7 below its own cutoff, 6.33.
    scores = [1.0, 2, 3, 4, 5, 7, 6, 8, 9]
    check = check_rung("localizer", scores, ends, 3.0)
    assert check.false_kills == pytest.approx(1 / 3)
    assert check.is_on


@pytest.mark.parametrize("scores", [[1.0] * (LEAST_TRIALS - 1), [1.0] * LEAST_TRIALS])
def test_a_rung_that_tells_nothing_is_off(scores: list[float]) -> None:
    check = check_rung("r", scores, list(range(len(scores))), 3.0)
    assert math.isnan(check.correlation)
    assert not check.is_on


def test_a_rung_that_predicts_badly_is_off() -> None:
    assert not check_rung("r", [1, 2, 3, 4, 5, 6], [3, 1, 6, 2, 5, 4], 3.0).is_on
