"""Agreement of classifier and query, against loops over the classes of a photo."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from settings.filters.classifier import Agreement, AgreementOptions
from tests.settings.queries import STEPS


def naive(row: np.ndarray, labels: list[int], rule: str, threshold: float) -> bool:
    others = [row[k] for k in range(len(row)) if k not in labels]
    for label in labels:
        if rule == "first" and any(other > row[label] for other in others):
            return False
        if rule == "threshold" and row[label] < np.float32(threshold):
            return False
    return bool(labels)


@given(
    probabilities_NK=arrays(np.float32, (6, 3), elements=STEPS),
    labels_NK=arrays(np.float32, (6, 3), elements=st.sampled_from([0.0, 1.0])),
    threshold=STEPS,
)
def test_both_rules(probabilities_NK: np.ndarray, labels_NK: np.ndarray, threshold: float) -> None:
    for options in (AgreementOptions(), AgreementOptions(rule="threshold", threshold=threshold)):
        expected = [
            naive(row, np.flatnonzero(labels).tolist(), options.rule, options.threshold)
            for row, labels in zip(probabilities_NK, labels_NK, strict=True)
        ]
        assert Agreement(options).keep(probabilities_NK, labels_NK).tolist() == expected


def test_a_tie_is_kept() -> None:
    labels_NK = np.array([[0, 1, 0]] * 3, np.float32)
    rows = np.array([[0.4, 0.4, 0.1], [0.4, 0.39, 0.1], [0.7, 0.7, 0.7]], np.float32)
    assert Agreement(AgreementOptions()).keep(rows, labels_NK).tolist() == [True, False, True]
    at_threshold = Agreement(AgreementOptions(rule="threshold", threshold=0.7))
    assert at_threshold.keep(rows, labels_NK).tolist() == [False, False, True]
    assert at_threshold.keep(rows.astype(np.float64) + 1e-7, labels_NK).tolist() == [False, False, True]


def test_rows_need_not_sum_to_one() -> None:
    rows = np.array([[0.02, 0.01], [0.98, 0.99]], np.float32)
    labels_NK = np.array([[1, 0], [1, 0]], np.float32)
    assert Agreement(AgreementOptions()).keep(rows, labels_NK).tolist() == [True, False]
    assert Agreement(AgreementOptions(rule="threshold")).keep(rows, labels_NK).tolist() == [False, True]


def test_a_threshold_that_no_rule_reads_is_refused() -> None:
    with pytest.raises(ValidationError, match="rule: threshold where a threshold is given"):
        AgreementOptions(threshold=0.7)
    with pytest.raises(ValidationError, match="threshold"):
        AgreementOptions(rule="threshold", threshold=float("nan"))
