"""Whether the order of recipes survives another backbone: Spearman's rank correlation of two leaderboards' mIoU.

The interval is of 95 %, over photos: both boards are drawn anew from the same photos with replacement, as means over
their rng seeds. What tells recipes apart by less than photos do changes places from draw to draw.

python -m benchmarks.backbone_order FOLDER FOLDER [STAGE]      (folders of leaderboards; pseudo_labels by default)
"""

import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from results.counted import joined_sums, sums_of_folder
from results.rows import CEILING, read_rows
from results.statistics import PixelSums, samples


class Order(NamedTuple):
    """How much two orders are alike."""

    correlation: float
    low: float
    high: float
    recipes: tuple[str, ...]


def order(first: Mapping[str, PixelSums], second: Mapping[str, PixelSums]) -> Order:
    """The rank correlation over the recipes that both boards have; ValueError for fewer than three."""
    recipes = tuple(name for name in first if name in second)
    if len(recipes) < 3:
        raise ValueError(f"{len(recipes)} recipes in both boards: three at least have an order")
    drawn = samples([board[name] for board in (first, second) for name in recipes])
    own_2R1 = np.array([[sample.by_seed.mean()] for sample in drawn]).reshape(2, len(recipes), 1)
    resampled_2RB = np.array([sample.resampled_SB.mean(0) for sample in drawn]).reshape(2, len(recipes), -1)
    low, high = np.nanquantile(rank_correlations(resampled_2RB), [0.025, 0.975])
    return Order(float(rank_correlations(own_2R1)[0]), float(low), float(high), recipes)


def rank_correlations(scores_2RB: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spearman's, of two boards' scores of R recipes, for each draw; equal scores have their mean rank."""
    ranks_2RB = rankdata(scores_2RB, axis=1)
    centred_2RB = ranks_2RB - ranks_2RB.mean(axis=1, keepdims=True)
    lengths_2B = np.sqrt(np.square(centred_2RB).sum(axis=1))
    correlations_B: NDArray[np.float64] = centred_2RB.prod(axis=0).sum(axis=0) / lengths_2B.prod(axis=0)
    return correlations_B


def board(folder: Path, stage: str) -> dict[str, PixelSums]:
    """Recipe → its counts at a stage, over rng seeds, under the fixed policy; without controls and ceilings."""
    rows = read_rows(folder / "rows.parquet")
    sums = sums_of_folder(rows, folder / "counts.parquet", folder / "sweeps.parquet")
    found = defaultdict(list)
    for number, row in enumerate(rows):
        if (row.stage, row.policy) == (stage, "fixed") and row.supervision not in ("", CEILING) and number in sums:
            found[row.recipe].append(sums[number])
    return {recipe: joined_sums(of_seeds) for recipe, of_seeds in found.items()}


def main() -> None:
    """Both boards' mIoU by recipe, and how alike their orders are."""
    stage = sys.argv[3] if len(sys.argv) > 3 else "pseudo_labels"
    boards = [board(Path(folder), stage) for folder in sys.argv[1:3]]
    found = order(*boards)
    for recipe in sorted(found.recipes, key=lambda name: -boards[0][name].miou().mean()):
        print(f"{recipe:40} {boards[0][recipe].miou().mean():6.3f} {boards[1][recipe].miou().mean():6.3f}")
    print(f"rank correlation {found.correlation:.2f} [{found.low:.2f}, {found.high:.2f}], {len(found.recipes)} recipes")


if __name__ == "__main__":
    main()
