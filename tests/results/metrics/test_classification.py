"""mAP against average precision written out naively."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.metrics.classification import mean_average_precision


def naive_ap(scores: list[float], labels: list[float]) -> float:
    """For each score as a threshold, from high to low: precision × gain in recall, photos of one score together."""
    total, found = 0.0, 0
    for threshold in sorted(set(scores), reverse=True):
        taken = [label for score, label in zip(scores, labels, strict=True) if score >= threshold]
        total += (sum(taken) - found) / sum(labels) * sum(taken) / len(taken)
        found = sum(taken)
    return total


@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_map_is_the_mean_of_naive_aps(photos: int, classes: int, rng_seed: int) -> None:
    rng = np.random.default_rng(rng_seed)
    scores_NK = rng.integers(-3, 4, (photos, classes)).astype(np.float32)  # ties are frequent
    labels_NK = (rng.random((photos, classes)) < 0.4).astype(np.float32)
    result = mean_average_precision(scores_NK, labels_NK)
    shown = [k for k in range(classes) if labels_NK[:, k].any()]
    expected = {k: naive_ap(scores_NK[:, k].tolist(), labels_NK[:, k].tolist()) for k in shown}
    assert {k: result.per_class[k] for k in shown} == pytest.approx(expected, abs=1e-12)
    assert result.undefined == tuple(k for k in range(classes) if k not in expected)
    assert all(math.isnan(result.per_class[k]) for k in result.undefined)
    if shown:
        assert result.mean == pytest.approx(sum(expected.values()) / len(expected), abs=1e-12)
    else:
        assert math.isnan(result.mean)


def test_a_known_ranking() -> None:
    """Positives at ranks 1 and 3 of 4; the other class is ranked perfectly, by logits far from 0."""
    scores_NK = np.array([[4, -90], [3, -99], [2, -98], [1, 70]], np.float32)
    labels_NK = np.array([[1, 1], [0, 0], [1, 0], [0, 1]], np.float32)
    result = mean_average_precision(scores_NK, labels_NK)
    assert result.per_class == pytest.approx((0.5 * 1 + 0.5 * 2 / 3, 1.0))
    assert result.mean == pytest.approx(11 / 12)


def test_what_is_no_ranking_is_refused() -> None:
    labels_NK = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"scores \(2, 2\) for labels \(2, 3\)"):
        mean_average_precision(np.zeros((2, 2), np.float32), labels_NK)
    with pytest.raises(ValueError, match="NaN"):
        mean_average_precision(np.full((2, 3), np.nan, np.float32), labels_NK)
