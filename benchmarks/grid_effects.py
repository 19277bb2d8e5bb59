"""How often the intervals of a grid's effects hold the true effect, on made grids whose effects are known.

Three factors with two levels change the share of pixels that a cell finds, alone and two of them together; images are
of unequal size and difficulty, each cell finds each image harder or easier than the others do, and each training (rng
seed) is a little better or worse on all images, as in `benchmarks.verdicts`. What is true is read off grids of very
many images. 93 to 97 of 100 intervals are to hold it, whatever part rng seeds have in the variance (ratio: that of one
training's variance to the images', of a difference of two cells). Writes grid_effects.csv beside this file.
Run: python -m benchmarks.grid_effects [--draws 500]
"""

from __future__ import annotations

import argparse
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from benchmarks.verdicts import CLASSES, EASE, IMAGE_SPREAD, METHOD_SPREAD, RATIOS, RESAMPLES, SEEDS, sensitivity
from results.grids.design import FULL, Design, Factor, level_sets
from results.grids.effects import Effect, effects
from results.metrics.miou import Floats
from results.statistics import PixelSums, contrast, samples

FOLDER = Path(__file__).parent
IMAGES = 120
MANY, POPULATIONS = 8000, 6
"""Images of a grid that what is true is read off, and how many such grids."""
FACTORS = tuple(Factor(name, ("on", "off")) for name in "abc")
LEVELS = level_sets(FACTORS, FULL)
DESIGN = Design("full", FULL, FACTORS, {"".join(map(str, levels)): levels for levels in LEVELS})
CHANGES = {"a": -0.10, "b": 0.04, "c": 0.0}
"""What each factor changes of the share that is found, when it is off."""
TOGETHER = {("a", "b"): 0.06}
"""And what two of them change beyond that."""


def main() -> None:
    """Print the table and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=500, help="grids for each point")
    draws = parser.parse_args().draws
    gain, of_images = sensitivity()
    points = []
    for seeds, ratio in product(SEEDS, RATIOS):
        spread = (ratio * of_images / 2) ** 0.5 / gain
        points.append({"seeds": seeds, "ratio": ratio, **coverage(seeds, spread, draws)})
    table = pd.DataFrame(points)
    print(table.to_string(index=False, float_format="%.3f"))
    table.to_csv(FOLDER / "grid_effects.csv", index=False, float_format="%.4f")


def coverage(seeds: int, seed_spread: float, draws: int) -> dict[str, float]:
    """The share of intervals that hold the true effect, by main effects and interactions, over so many made grids.

    `seed_spread` is the standard deviation between trainings of the share of pixels that is found.
    """
    rng = np.random.default_rng([seeds, int(10_000 * seed_spread)])
    told, true = effects(DESIGN, set(DESIGN.cells)), true_effects(seed_spread)
    held = np.zeros((draws, len(told)), bool)
    for draw in range(draws):
        shifts_LS = seed_spread * rng.standard_normal((len(DESIGN.cells), seeds))
        drawn = samples(made_grid(rng, IMAGES, shifts_LS), resamples=RESAMPLES, rng_seed=draw)
        for n, effect in enumerate(told):
            found = contrast([drawn[place] for place in _places(effect)], list(effect.weights.values()))
            held[draw, n] = found.low <= true[n] <= found.high
    is_main = np.array([len(effect.factors) == 1 for effect in told])
    of_mains, of_interactions = float(held[:, is_main].mean()), float(held[:, ~is_main].mean())
    return {"main": of_mains, "interaction": of_interactions, "all": float(held.mean())}


def made_grid(rng: np.random.Generator, images: int, shifts_LS: Floats) -> list[PixelSums]:
    """The pixel sums of all cells, in the order of the design; what is not found is taken for the next class.

    `shifts_LS` are what each training of each cell finds more than the cell does.
    """
    truth_NC = np.rint(rng.gamma(1.0, 2000, (images, CLASSES)) * (rng.random((images, CLASSES)) < 0.5)).astype(np.int64)
    truth_NC[:, 0] += 1000
    ease_N = EASE + IMAGE_SPREAD * rng.standard_normal(images)
    cells = []
    for levels, shifts_S in zip(DESIGN.cells.values(), shifts_LS, strict=True):
        own_N = ease_N + METHOD_SPREAD * rng.standard_normal(images) + change(levels)
        found_SN = np.clip(own_N + shifts_S[:, None], 0, 1)
        hits_SNC: NDArray[np.int64] = np.rint(truth_NC * found_SN[:, :, None]).astype(np.int64)
        predicted_SNC = hits_SNC + np.roll(truth_NC - hits_SNC, 1, axis=2)
        cells.append(PixelSums(hits_SNC, predicted_SNC, truth_NC))
    return cells


def change(levels: tuple[str | None, ...]) -> float:
    """What the levels of a cell change of the share of pixels that is found."""
    off = {factor.name for factor, level in zip(FACTORS, levels, strict=True) if level == "off"}
    alone = sum(CHANGES[name] for name in off)
    return alone + sum(extra for pair, extra in TOGETHER.items() if off.issuperset(pair))


@cache
def true_effects(seed_spread: float) -> tuple[float, ...]:
    """Of all effects, on very many images, mean over trainings at the quantiles of their distribution."""
    rng = np.random.default_rng(7)
    shifts_LS = np.tile(seed_spread * ndtri((np.arange(8) + 0.5) / 8), (len(DESIGN.cells), 1))
    populations = [[sums.miou().mean() for sums in made_grid(rng, MANY, shifts_LS)] for _ in range(POPULATIONS)]
    miou_L: Floats = np.mean(populations, axis=0)
    true = []
    for effect in effects(DESIGN, set(DESIGN.cells)):
        true.append(float(miou_L[_places(effect)] @ np.array(list(effect.weights.values()))))
    return tuple(true)


def _places(effect: Effect) -> list[int]:
    order = list(DESIGN.cells)
    return [order.index(name) for name in effect.weights]


if __name__ == "__main__":
    main()
