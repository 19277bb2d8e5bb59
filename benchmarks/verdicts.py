"""How often `results.statistics` calls two equal methods different, and how often it finds a difference.

Confusions of two methods are made over and over: images are of unequal size and difficulty, each method finds each
image harder or easier than the other does, and each training (rng seed) is a little better or worse on all images.
Between methods that are equal 3 to 7 of 100 verdicts may be false, whatever part rng seeds have in the variance: the
ratio is that of one training's variance to the images'. Power is shown for a difference that a test which knew both
variances would find in 80 of 100 cases. Beside it, on normal numbers of these variances, what other rules would give.
Writes verdicts.csv and verdicts.png beside this file.
Run: python -m benchmarks.verdicts [--draws 2000] [--rng-seed 7]; with an rng seed other pairs, which are printed alone
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from numpy.typing import NDArray
from scipy.special import stdtr

from results.statistics import LEVEL, freedom, paired_difference, pixel_sums

FOLDER = Path(__file__).parent
RATIOS, SEEDS = (0.0, 0.25, 1.0, 4.0), (3, 5, 10)
IMAGES, CLASSES, RESAMPLES = 120, 4, 400
EASE, IMAGE_SPREAD, METHOD_SPREAD = 0.65, 0.12, 0.10
"""Of the share of a class's pixels that is found: its mean, and the standard deviations over images and over
(method, image)."""
AIMED_POWER = 0.80
KNOWN_SE = 2.802
"""A difference of so many standard errors is found in 80 of 100 cases by a test that knows them."""
Floats = NDArray[np.float64]


def main() -> None:
    """Print the table, write CSV and figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=2000, help="pairs of methods for each point")
    parser.add_argument("--rng-seed", type=int, nargs="*", default=[], help="of other pairs, which are not kept")
    asked = parser.parse_args()
    table = pd.DataFrame([point(seeds, ratio, asked.draws, asked.rng_seed) for seeds in SEEDS for ratio in RATIOS])
    print(table.to_string(index=False, float_format="%.3f"))
    if asked.rng_seed:
        return
    table.to_csv(FOLDER / "verdicts.csv", index=False, float_format="%.4f")
    plot(table)


def point(seeds: int, ratio: float, draws: int, other: Sequence[int] = ()) -> dict[str, float]:
    """False verdicts and power with so many rng seeds, at one ratio of their variance to the images'.

    `other` are numbers that draw other pairs.
    """
    rng = np.random.default_rng([seeds, int(100 * ratio), *other])
    gain, of_images = sensitivity()
    seed_spread = (ratio * of_images / 2) ** 0.5 / gain
    shift = KNOWN_SE * (of_images * (1 + ratio / seeds)) ** 0.5 / gain
    false, found = (np.mean([is_separated(rng, seeds, seed_spread, by) for _ in range(draws)]) for by in (0.0, shift))
    others = {name: false_verdicts(rule, seeds, ratio) for name, rule in RULES.items()}
    return {"seeds": seeds, "ratio": ratio, "false": float(false), "power": float(found), **others}


def is_separated(rng: np.random.Generator, seeds: int, seed_spread: float, shift: float) -> bool:
    """Whether two methods, the first better by `shift` in what it finds, are told apart."""
    a, b = confusions(rng, seeds, seed_spread, shift)
    return paired_difference(a, b, resamples=RESAMPLES, rng_seed=int(rng.integers(2**31))).verdict != "not separated"


def confusions(
    rng: np.random.Generator, seeds: int, seed_spread: float, shift: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of two methods: (seeds, images, classes, classes) each; what is not found is taken for the next class."""
    truth_NC = np.rint(rng.gamma(1.0, 2000, (IMAGES, CLASSES)) * (rng.random((IMAGES, CLASSES)) < 0.5)).astype(np.int64)
    truth_NC[:, 0] += 1000
    ease_N = EASE + IMAGE_SPREAD * rng.standard_normal(IMAGES)
    both = []
    for better in (shift, 0.0):
        own_N = ease_N + METHOD_SPREAD * rng.standard_normal(IMAGES) + better
        found_SN = np.clip(own_N + seed_spread * rng.standard_normal((seeds, 1)), 0, 1)
        hits_SNC = np.rint(truth_NC * found_SN[:, :, None]).astype(np.int64)
        counts = np.zeros((seeds, IMAGES, CLASSES, CLASSES), np.int64)
        own, following = np.arange(CLASSES), (np.arange(CLASSES) + 1) % CLASSES
        counts[:, :, own, own], counts[:, :, own, following] = hits_SNC, truth_NC - hits_SNC
        both.append(counts)
    return both[0], both[1]


@cache
def sensitivity(draws: int = 2000) -> tuple[float, float]:
    """How much mIoU a method gains by what it finds, and the variance of a difference over sets of images."""
    rng = np.random.default_rng(0)
    step = 0.02
    gained, equal = (np.array([apart(rng, by) for _ in range(draws)]) for by in (step, 0.0))
    return float(gained.mean() / step), float(equal.var())


def apart(rng: np.random.Generator, shift: float) -> float:
    """The difference of two methods' mIoU with one rng seed each, which changes nothing."""
    a, b = (float(pixel_sums(counts).miou()[0]) for counts in confusions(rng, 1, 0.0, shift))
    return a - b


Rule = Callable[[Floats, int], Floats]
"""p values from differences by (draw, rng seed) whose part over images is normal with variance 1."""


def p_of_ours(apart_DS: Floats, seeds: int) -> Floats:
    """As `results.statistics` does."""
    of_seeds = apart_DS.var(axis=1, ddof=1) / seeds
    return _p(apart_DS, of_seeds, freedom(of_seeds, seeds, np.ones(len(of_seeds)), 10**6))


def p_of_satterthwaite(apart_DS: Floats, seeds: int) -> Floats:
    """The usual degrees of freedom for a sum of variances."""
    of_seeds = apart_DS.var(axis=1, ddof=1) / seeds
    return _p(apart_DS, of_seeds, (of_seeds + 1) ** 2 * (seeds - 1) / np.maximum(of_seeds, 1e-9) ** 2)


def p_of_bootstrap(apart_DS: Floats, seeds: int) -> Floats:
    """A percentile bootstrap over both: drawn rng seeds vary less than rng seeds do, by (seeds - 1) / seeds."""
    of_seeds = apart_DS.var(axis=1) / seeds
    return _p(apart_DS, of_seeds, np.full(len(apart_DS), 1e9))


def _p(apart_DS: Floats, of_seeds: Floats, df: Floats) -> Floats:
    return np.asarray(2 * stdtr(df, -np.abs(apart_DS.mean(axis=1)) / np.sqrt(of_seeds + 1)))


RULES: dict[str, Rule] = {"ours": p_of_ours, "satterthwaite": p_of_satterthwaite, "bootstrap": p_of_bootstrap}


def false_verdicts(rule: Rule, seeds: int, ratio: float, draws: int = 200_000) -> float:
    """The share of false verdicts of a rule, on normal numbers with these two variances."""
    rng = np.random.default_rng(1)
    apart_DS = ratio**0.5 * rng.standard_normal((draws, seeds)) + rng.standard_normal((draws, 1))
    return float((rule(apart_DS, seeds) < LEVEL).mean())


def plot(table: pd.DataFrame) -> None:
    """False verdicts and power against the ratio, a curve for each number of rng seeds; other rules at the right."""
    shown = table.assign(seeds=table["seeds"].map("{:.0f} rng seeds".format))
    ratios = (0, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 100)
    cases = [(ratio, name, false_verdicts(rule, 3, ratio)) for ratio in ratios for name, rule in RULES.items()]
    others = pd.DataFrame(cases, columns=["ratio", "rule", "false"])
    with sns.axes_style("whitegrid"):
        figure, (false, power, rules) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    sns.lineplot(shown, x="ratio", y="false", hue="seeds", marker="o", ax=false)
    sns.lineplot(shown, x="ratio", y="power", hue="seeds", marker="o", ax=power)
    sns.lineplot(others, x="ratio", y="false", hue="rule", marker="o", ax=rules)
    false.set(title="false verdicts (nominal 0.05)", ylim=(0, 0.12))
    power.set(title=f"power where known variances give {AIMED_POWER:.2f}", ylim=(0, 1))
    rules.set(title="by rule (3 rng seeds, normal numbers)", xscale="symlog", xlim=(0, 100), ylim=(0, 0.3))
    for axes in (false, power, rules):
        axes.set(xlabel="variance of one training / variance of the images", ylabel="share of pairs")
    for axes in (false, rules):
        axes.axhspan(0.03, 0.07, color="green", alpha=0.12, zorder=0)
    figure.savefig(FOLDER / "verdicts.png", dpi=150, metadata={"Software": None})


if __name__ == "__main__":
    main()
