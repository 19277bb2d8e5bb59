"""A threshold curve of 100 points in one pass, beside scoring once and beside a loop over 100 thresholds.

python -m benchmarks.sweep
"""

import time
from collections.abc import Callable

import numpy as np

from results.metrics.counts import count
from results.metrics.sweep import threshold_sweep, thresholds
from results.metrics.winner import Scores, winner_and_score
from settings.records import UNKNOWN, Mask

CLASSES, IDS, STEPS, THRESHOLD = 21, (2, 6), 100, np.float32(0.3)


def synthetic() -> tuple[Scores, Mask]:
    """Two smooth maps of 500×375 with noise, and a truth of stripes with void borders."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:375, 0:500].astype(np.float32)
    bumps = [np.exp(-(((x - cx) / 90) ** 2) - ((y - 180) / 90) ** 2) for cx in (150, 350)]
    maps_CHW = np.clip(np.stack(bumps) + rng.normal(0, 0.02, (2, 375, 500)), 0, 1).astype(np.float32)
    truth = np.where(maps_CHW[0] > 0.4, 3, np.where(maps_CHW[1] > 0.4, 7, 0)).astype(np.uint8)
    truth[:, ::50] = UNKNOWN
    return maps_CHW, truth


def score_once(maps_CHW: Scores, truth: Mask) -> None:
    """Winner, one threshold, counts."""
    score, winner = winner_and_score(maps_CHW, IDS)
    count(winner * (score > THRESHOLD), truth, CLASSES)


def score_all(maps_CHW: Scores, truth: Mask) -> None:
    """Winner, all thresholds at once."""
    score, winner = winner_and_score(maps_CHW, IDS)
    threshold_sweep(score, winner, truth, CLASSES, STEPS)


def score_naively(maps_CHW: Scores, truth: Mask) -> None:
    """One threshold after another."""
    score, winner = winner_and_score(maps_CHW, IDS)
    for threshold in thresholds(STEPS):
        count(winner * (score > threshold), truth, CLASSES)


def milliseconds(function: Callable[[Scores, Mask], None], maps_CHW: Scores, truth: Mask, repeats: int) -> float:
    """CPU time: the median over `repeats` calls, after one that warms up."""
    function(maps_CHW, truth)
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function(maps_CHW, truth)
        times.append(time.process_time() - start)
    return 1000 * float(np.median(times))


def main() -> None:
    """Print images/s of the three ways on one core."""
    maps_CHW, truth = synthetic()
    once = 0.0
    for name, function, repeats in (
        ("scoring once", score_once, 300),
        (f"sweep of {STEPS} thresholds", score_all, 300),
        (f"loop over {STEPS} thresholds", score_naively, 5),
    ):
        took = milliseconds(function, maps_CHW, truth, repeats)
        once = once or took
        print(f"{name:27} {1000 / took:8.1f} images/s {took:8.2f} ms {took / once:7.2f} × scoring once")


if __name__ == "__main__":
    main()
