"""Decoding and counting 500×375 palette PNGs, beside a loop of boolean masks over class pairs.

python -m benchmarks.counting
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from results.metrics.counts import Counts, count
from settings.masks import read_mask, write_mask
from settings.records import UNKNOWN, Mask

CLASSES, IMAGES = 21, 40


def synthetic(rng: np.random.Generator) -> Mask:
    """Three ellipses of random classes with void borders, the size of a VOC photo."""
    y, x = np.mgrid[0:375, 0:500]
    mask = np.zeros((375, 500), np.uint8)
    for class_value in rng.integers(1, CLASSES, 3):
        radius = np.hypot((x - rng.integers(500)) / rng.integers(40, 160), (y - rng.integers(375)) / 90)
        mask[radius < 1.04] = UNKNOWN
        mask[radius < 1] = class_value
    return mask


def write_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """PNG pairs (prediction, truth)."""
    rng = np.random.default_rng(0)
    pairs = [(folder / f"{i}_prediction.png", folder / f"{i}_truth.png") for i in range(IMAGES)]
    for prediction, truth in pairs:
        mask = synthetic(rng)
        write_mask(truth, mask)
        write_mask(prediction, np.where(mask == UNKNOWN, 0, np.roll(mask, 9, axis=1)).astype(np.uint8) % CLASSES)
    return pairs


def count_naively(prediction: Mask, truth: Mask, classes: int) -> Counts:
    """A boolean mask for every pair of classes."""
    confusion = np.zeros((classes, classes), np.int64)
    for t in range(classes):
        for p in range(classes):
            confusion[t, p] = np.count_nonzero((truth == t) & (prediction == p))
    return Counts(confusion)


def images_per_second(counter: Callable[[Mask, Mask, int], Counts], pairs: list[tuple[Path, Path]]) -> float:
    """Images per second of CPU time, decoding both PNGs and counting; the best of three rounds."""
    rounds = []
    for _ in range(3):
        start = time.process_time()
        for prediction, truth in pairs:
            counter(read_mask(prediction), read_mask(truth), CLASSES)
        rounds.append(len(pairs) / (time.process_time() - start))
    return max(rounds)


def main() -> None:
    """Print images/s of both ways on one core."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = write_pairs(Path(folder))
        fast, naive = images_per_second(count, pairs), images_per_second(count_naively, pairs)
    print(f"count                {fast:8.1f} images/s")
    print(f"a mask per class pair {naive:7.1f} images/s ({fast / naive:.1f} times slower)")


if __name__ == "__main__":
    main()
