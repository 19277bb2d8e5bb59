"""Resampling the images of ten rows together, beside a loop over resamples and beside scipy's bootstrap.

Ten rows of one rng seed, 1,449 images, 21 classes, 10,000 resamples, on one core: aim 3 s, and fifty times the speed of
either other way, which are timed on fewer resamples of one row and multiplied.
Run: python -m benchmarks.resampling
"""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from results.metrics.counts import Counts
from results.metrics.miou import mean_iou
from results.statistics import pixel_sums, ranking, samples

ROWS, IMAGES, CLASSES, RESAMPLES, FEW = 10, 1449, 21, 10_000, 50


def made() -> NDArray[np.int64]:
    """Confusions (rows, images, classes, classes) of masks with two classes and the background, as in VOC."""
    rng = np.random.default_rng(0)
    truth_NC = np.zeros((IMAGES, CLASSES), np.int64)
    truth_NC[:, 0] = rng.integers(50_000, 150_000, IMAGES)
    for _ in range(2):
        truth_NC[np.arange(IMAGES), rng.integers(1, CLASSES, IMAGES)] += rng.integers(1_000, 60_000, IMAGES)
    counts = np.zeros((ROWS, IMAGES, CLASSES, CLASSES), np.int64)
    diagonal = np.arange(CLASSES)
    hits = (truth_NC * rng.uniform(0.3, 0.9, (ROWS, IMAGES, CLASSES))).astype(np.int64)
    counts[..., diagonal, diagonal] = hits
    counts[..., diagonal, (diagonal + 1) % CLASSES] = truth_NC - hits
    return counts


def miou(counts_NKK: NDArray[np.int64]) -> float:
    """Of the images together."""
    return mean_iou(Counts(counts_NKK.sum(axis=0))).mean


def in_a_loop(counts_NKK: NDArray[np.int64]) -> None:
    """Draw images, add their confusions, take the mIoU: once a resample."""
    rng = np.random.default_rng(0)
    for _ in range(FEW):
        miou(counts_NKK[rng.integers(IMAGES, size=IMAGES)])


def by_scipy(counts_NKK: NDArray[np.int64]) -> None:
    """The same statistic of drawn images, as scipy.stats.bootstrap calls it."""
    images = (np.arange(IMAGES),)
    stats.bootstrap(
        images, lambda drawn: miou(counts_NKK[drawn]), n_resamples=FEW, vectorized=False, method="percentile", rng=0
    )


def seconds(function: Callable[[], object], repeats: int = 5) -> float:
    """CPU time: the median over calls, after one that warms up."""
    function()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return float(np.median(times))


def main() -> None:
    """Print the seconds of the three ways for all rows and resamples, and of the ranking after it."""
    counts = made()
    lines = [pixel_sums(each[None]) for each in counts]
    ours = seconds(lambda: samples(lines, resamples=RESAMPLES))
    drawn = samples(lines, resamples=RESAMPLES)
    share = ROWS * RESAMPLES / FEW
    for name, took in (
        ("one product for all rows", ours),
        ("loop over resamples", share * seconds(lambda: in_a_loop(counts[0]))),
        ("scipy.stats.bootstrap", share * seconds(lambda: by_scipy(counts[0]))),
        ("all pairs, ranks and floor", seconds(lambda: ranking(drawn))),
    ):
        print(f"{name:27} {took:9.2f} s {took / ours:9.2f} × the product")


if __name__ == "__main__":
    main()
