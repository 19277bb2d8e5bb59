"""The rank correlation of two boards, from counts whose order is known."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from benchmarks.backbone_order import order, rank_correlations
from results.statistics import PixelSums, pixel_sums


def board(shares: dict[str, float], photos: int = 12) -> dict[str, PixelSums]:
    """Recipes that are right in a share of every photo's 1,000 pixels, half of them of a class; two rng seeds."""
    found = {}
    for name, share in shares.items():
        right = round(500 * share)
        photo = np.array([[right, 500 - right], [500 - right, right]], np.int64)
        found[name] = pixel_sums(np.broadcast_to(photo, (2, photos, 2, 2)).copy())
    return found


def test_the_same_order_and_the_reverse() -> None:
    scores = {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6}
    same = order(board(scores), board({name: share - 0.1 for name, share in scores.items()}))
    assert (same.correlation, same.low, same.high) == pytest.approx((1, 1, 1))
    assert same.recipes == ("a", "b", "c", "d")
    reverse = order(board(scores), board({name: 1 - share for name, share in scores.items()}))
    assert reverse.correlation == pytest.approx(-1)


def test_one_exchange_of_neighbours_among_four_is_four_fifths() -> None:
    """1 − 6 Σ d² / (n (n² − 1)) with two differences of 1."""
    first, second = {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6}, {"a": 0.8, "b": 0.9, "c": 0.7, "d": 0.6, "e": 0.5}
    assert order(board(first), board(second)).correlation == pytest.approx(0.8)


def test_equal_scores_are_ranked_as_scipy_ranks_them() -> None:
    scores = np.random.default_rng(0).integers(0, 4, (2, 7, 5)).astype(float)
    expected = [spearmanr(scores[0, :, draw], scores[1, :, draw]).statistic for draw in range(5)]
    assert rank_correlations(scores) == pytest.approx(expected)


def test_two_recipes_have_no_order_to_speak_of() -> None:
    with pytest.raises(ValueError, match="2 recipes in both boards"):
        order(board({"a": 0.9, "b": 0.8}), board({"a": 0.9, "b": 0.8}))
