"""`seedbed compare` of two folders of masks: how long counting takes, and how long all that follows.

1,449 masks of the size of VOC's, 21 classes, two folders and their truth. Aim: 5 s on two cores after counting.
Run: python -m benchmarks.comparing
"""

import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from harness.reports.sides import MaskOptions, sides_of_masks
from results.pair import compared
from results.pair_tables import pair_record, pair_tables
from settings.masks import write_mask
from settings.records import Mask

IMAGES, CLASSES, HEIGHT, WIDTH = 1449, 21, 366, 500


def made(rng: np.random.Generator) -> tuple[Mask, Mask, Mask]:
    """A true mask with two objects and a rim of void, and two predictions with moved objects."""
    truth_HW, *predictions = (np.zeros((HEIGHT, WIDTH), np.uint8) for _ in range(3))
    for class_id in rng.integers(1, CLASSES, 2):
        top, left = rng.integers(0, HEIGHT - 60), rng.integers(0, WIDTH - 60)
        height, width = rng.integers(40, 200, 2)
        truth_HW[top : top + height, left : left + width] = 255
        truth_HW[top + 3 : top + height - 3, left + 3 : left + width - 3] = class_id
        for prediction_HW in predictions:
            down, right = rng.integers(0, 40, 2)
            prediction_HW[top + down : top + height, left + right : left + width] = class_id
    return truth_HW, predictions[0], predictions[1]


def now() -> tuple[float, float]:
    """Seconds: by the clock, and of CPU, those of ended children among them."""
    return time.perf_counter(), sum(os.times()[:4])


def main() -> None:
    """Print the seconds of counting, and of what follows it."""
    rng = np.random.default_rng(0)
    with TemporaryDirectory() as name:
        folders = [Path(name) / each for each in ("truth", "a", "b")]
        for folder in folders:
            folder.mkdir()
        for n in range(IMAGES):
            for folder, mask_HW in zip(folders, made(rng), strict=True):
                write_mask(folder / f"{n:05d}.png", mask_HW)
        truth, a, b = folders
        start = now()
        sides = sides_of_masks(MaskOptions(a, b, truth, CLASSES))
        counted = now()
        pair = compared(sides.a, sides.b)
        pair_tables(pair, sides.scored, sides.notes)
        pair_record(pair)
        told = now()
    for what, before, after in (("counted", start, counted), ("compared", counted, told)):
        wall, cpu = np.subtract(after, before)
        print(f"{IMAGES} masks a side, {what}: {wall:.1f} s, {cpu:.1f} s of CPU")


if __name__ == "__main__":
    main()
