"""Whether a score on the way predicts the one at the end, and which trials it would stop (ASHA), from arrays alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from results.metrics.miou import Floats

__all__ = ["LEAST_CORRELATION", "LEAST_TRIALS", "RungCheck", "check_rung", "cutoff", "stops"]

LEAST_CORRELATION = 0.6
"""Of ranks: a rung that predicts the end less well stops nobody."""
LEAST_TRIALS = 5
"""Fewer trials that came to their end tell nothing of a rung."""


@dataclass(frozen=True)
class RungCheck:
    """What trials that nobody may stop tell of a rung."""

    name: str
    trials: int
    correlation: float
    """Spearman's, between the rung's scores and those at the end; nan where fewer than `LEAST_TRIALS` tell of it."""
    false_kills: float
    """The share of the best trials at the end that the rung would have stopped; nan likewise."""

    @property
    def is_on(self) -> bool:
        """Whether the rung may stop trials."""
        return self.correlation >= LEAST_CORRELATION


def stops(score: float, peers: Sequence[float], reduction: float) -> bool:
    """Whether a trial is stopped at a rung: its score lies below the best 1 / `reduction` of its peers' there.

    As in ASHA (Li et al. 2020, algorithm 2) and in Ray Tune's `AsyncHyperBandScheduler`: without a peer it goes on, and
    a score that equals the cutoff goes on.
    """
    return bool(peers) and score < cutoff(peers, reduction)


def cutoff(peers: Sequence[float], reduction: float) -> float:
    """The score at which the best 1 / `reduction` of some trials begin, of which there is at least one."""
    return float(np.percentile(np.array(peers, float), (1 - 1 / reduction) * 100))


def check_rung(name: str, scores: Sequence[float], ends: Sequence[float], reduction: float) -> RungCheck:
    """A rung held against the end, from trials that came to both, one value of each a trial."""
    if len(scores) < LEAST_TRIALS:
        return RungCheck(name, len(scores), float("nan"), float("nan"))
    at_rung, at_end = np.array(scores, float), np.array(ends, float)
    best = at_end >= np.percentile(at_end, (1 - 1 / reduction) * 100)
    stopped = at_rung < np.percentile(at_rung, (1 - 1 / reduction) * 100)
    return RungCheck(name, len(scores), _rank_correlation(at_rung, at_end), float(stopped[best].mean()))


def _rank_correlation(first: Floats, second: Floats) -> float:
    """Spearman's correlation, equal values with their mean rank; nan where either is constant."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(_mean_ranks(first), _mean_ranks(second))[0, 1])


def _mean_ranks(values: Floats) -> Floats:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = (last - (counts - 1) / 2)[places]
    return ranks
