"""How much of the objects pseudo labels cover: the share of true object pixels that have the label of any object.

Undecided pixels and background cover nothing. Column `coverage` of a table is another figure: it counts decided pixels
of the background too. Two maps at equal coverage of objects differ in where and what they say, not in how much.

python -m benchmarks.object_coverage FOLDER      (the folder of a leaderboard: `--output` of `seedbed run`)
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from results.parquet import read_table
from results.rows import read_rows


def object_coverage(counts: pa.Table, number: int, classes: int) -> float:
    """Between 0 and 1, from the per-image counts of the row at a position; `classes` counts the background too."""
    of_row, truth, prediction, pixels = (
        counts.column(name).to_numpy() for name in ("row", "truth", "prediction", "pixels")
    )
    is_object = (of_row == number) & (truth > 0) & (truth < classes)
    is_covered = is_object & (prediction > 0) & (prediction < classes)
    return float(pixels[is_covered].sum() / np.maximum(pixels[is_object].sum(), 1))


def main() -> None:
    """One line a row of pseudo labels, by recipe."""
    folder = Path(sys.argv[1])
    counts, rows = read_table(folder / "counts.parquet"), read_rows(folder / "rows.parquet")
    print(f"{'recipe':40} {'rng seed':>8} {'objects covered':>16} {'mIoU':>6}")
    for number, row in sorted(enumerate(rows), key=lambda each: (each[1].recipe, each[1].rng_seed)):
        if row.stage == "pseudo_labels" and row.miou is not None:
            covered = object_coverage(counts, number, len(row.classes))
            print(f"{row.recipe:40} {row.rng_seed:8} {covered:16.3f} {row.miou:6.3f}")


if __name__ == "__main__":
    main()
