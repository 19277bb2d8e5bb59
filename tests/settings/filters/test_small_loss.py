"""Confident learning against the paper's loops, and what our shell adds to the library."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given

from settings.filters.classifier import Agreement, AgreementOptions
from settings.filters.small_loss import Rule, SmallLoss, SmallLossOptions
from tests.settings.queries import QUERIES, Queries

RULES: list[Rule] = ["prune_by_noise_rate", "prune_by_class", "both", "confident_learning"]


def keep(probabilities_NK: np.ndarray, query_N: np.ndarray, rule: Rule = "prune_by_noise_rate") -> np.ndarray:
    labels_NK = np.eye(probabilities_NK.shape[1], dtype=np.float32)[query_N]
    return SmallLoss(SmallLossOptions(filter_by=rule)).keep(probabilities_NK, labels_NK)


def rounded(row: list[float], total: int) -> list[int]:
    """To whole numbers of the same sum: where rounding missed it, the entries that lost (or won) most give way.

    Among equals the last class wins and the first loses, as in the library; the paper does not say.
    """
    whole = [round(value) for value in row]
    step = 1 if sum(whole) < total else -1
    by_loss = sorted(range(len(row)), key=lambda k: (step * (row[k] - whole[k]), step * k), reverse=True)
    for k in by_loss[: abs(total - sum(whole))]:
        whole[k] += step
    return whole


def naive(probabilities_NK: np.ndarray, query_N: np.ndarray) -> dict[Rule, list[bool]]:
    """Section 3 of the paper, photo by photo; every class is queried, and no two values are equal."""
    rows = [[p / sum(row) for p in row] for row in probabilities_NK.astype(float).tolist()]
    classes, queries = range(len(rows[0])), query_N.tolist()
    members = {i: [n for n, query in enumerate(queries) if query == i] for i in classes}
    bars = [sum(rows[n][k] for n in members[k]) / len(members[k]) for k in classes]
    confident: dict[int, int] = {}
    for n, row in enumerate(rows):
        if reached := [k for k in classes if row[k] >= bars[k]]:
            confident[n] = max(reached, key=lambda k: row[k])
    joint = Counter((queries[n], k) for n, k in confident.items())
    by_rate: set[int] = set()
    by_class: set[int] = set()
    for i in classes:
        counts = [max(joint[i, j], 1) if i == j else joint[i, j] for j in classes]
        counts = rounded([count * len(members[i]) / sum(counts) for count in counts], len(members[i]))
        assert counts[i] >= 1
        for j in set(classes) - {i}:
            by_rate.update(sorted(members[i], key=lambda n: rows[n][i] - rows[n][j])[: counts[j]])
        by_class.update(sorted(members[i], key=lambda n: rows[n][i])[: len(members[i]) - counts[i]])
    found: dict[Rule, set[int]] = {
        "prune_by_noise_rate": by_rate,
        "prune_by_class": by_class,
        "both": by_rate & by_class,
        "confident_learning": {n for n, k in confident.items() if k != queries[n]},
    }
    wrong = {n for n, row in enumerate(rows) if row[queries[n]] < max(row)}
    return {rule: [n not in issues & wrong for n in range(len(rows))] for rule, issues in found.items()}


@pytest.mark.parametrize("rng_seed", range(12))
def test_against_the_papers_loops(rng_seed: int) -> None:
    rng = np.random.default_rng(rng_seed)
    truth_N, classes = rng.integers(0, 3, 80), 3
    query_N = np.where(rng.random(80) < 0.3, rng.integers(0, 3, 80), truth_N)
    probabilities_NK = 0.1 + 0.5 * rng.random((80, classes)) + 0.3 * np.eye(classes)[truth_N]
    expected = naive(probabilities_NK, query_N)
    assert not all(expected["prune_by_noise_rate"])
    for rule in RULES:
        assert keep(probabilities_NK, query_N, rule).tolist() == expected[rule], rule


@pytest.mark.parametrize("rule", RULES)
def test_swapped_queries_are_found_exactly(rule: Rule) -> None:
    """Two classes that are told apart without doubt: the joint is the confusion matrix itself."""
    truth_N = np.array([0] * 6 + [1] * 6)
    query_N = truth_N.copy()
    query_N[[0, 6, 7]] = [1, 0, 0]
    probabilities_NK = np.where(np.eye(2)[truth_N] > 0, 0.9, 0.1).astype(np.float32)
    assert np.flatnonzero(~keep(probabilities_NK, query_N, rule)).tolist() == [0, 6, 7]


def test_rows_are_taken_as_distributions() -> None:
    rng = np.random.default_rng(1)
    probabilities_NK, query_N = 0.1 + 0.2 * rng.random((40, 3)), rng.integers(0, 3, 40)
    scaled = probabilities_NK * rng.uniform(0.1, 3, (40, 1))
    assert np.array_equal(keep(scaled, query_N), keep(probabilities_NK, query_N))
    probabilities_NK[0] = 0
    even = probabilities_NK.copy()
    even[0] = 1 / 3
    assert np.array_equal(keep(probabilities_NK, query_N), keep(even, query_N))


@given(queries=QUERIES)
def test_what_ranks_first_is_kept(queries: Queries) -> None:
    first_N = Agreement(AgreementOptions()).keep(queries.probabilities_NK, queries.labels_NK)
    for rule in RULES:
        kept_N = SmallLoss(SmallLossOptions(filter_by=rule)).keep(queries.probabilities_NK, queries.labels_NK)
        assert not (first_N & ~kept_N).any()


def test_equal_rows_share_one_verdict() -> None:
    """One of the two equal rows is to go, and the library drops whichever comes first or last; we keep both."""
    first_N = np.array([0.4, 0.6, 0.6, 0.2, 0.7, 0.6])
    probabilities_NK, query_N = np.stack([first_N, 1 - first_N], axis=1).round(1), np.array([0, 1, 0, 0, 0, 1])
    for order in (np.arange(6), np.array([0, 2, 5, 1, 4, 3])):
        kept_N = keep(probabilities_NK[order], query_N[order])
        assert sorted(order[~kept_N].tolist()) == [0, 3]


def test_one_query_class_alone_is_all_kept() -> None:
    rng = np.random.default_rng(0)
    assert keep(rng.random((5, 3)), np.full(5, 2)).all()


def test_a_class_without_queries_and_a_class_with_one_photo_are_no_warning() -> None:
    probabilities_NK = np.array([[0.8, 0.1, 0.1]] * 5 + [[0.1, 0.8, 0.1]] * 2 + [[0.7, 0.2, 0.1]], np.float32)
    assert keep(probabilities_NK, np.array([0, 0, 0, 0, 0, 0, 0, 1])).tolist() == [True] * 5 + [False] * 2 + [True]


def test_several_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="several labels"):
        SmallLoss(SmallLossOptions()).keep(np.full((1, 2), 0.5), np.ones((1, 2)))


def test_the_library_is_imported_only_where_it_filters() -> None:
    code = "import sys, settings.filters.small_loss\nassert not {'cleanlab', 'sklearn', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
