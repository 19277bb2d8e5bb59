"""Which share of the variance of mIoU each factor of a full grid explains: a decomposition of the sum of squares.

Of mIoU y over factors and rng seeds the sum of squares around the grand mean falls apart into one part for each factor
(its level means), one for each pair of factors (what their means say beyond the two factors), one for all higher
interactions, and the rest, which is that of the rng seeds within cells. Shares are these parts divided by the whole
(η², Fisher), so that they add up to 1. Their intervals have the two parts that those of mIoU have: over images the
shares of resampled scores, over rng seeds the jackknife, which leaves out one after the other (Efron & Stein, Ann.
Statist. 1981) and, of a mean, is the usual variance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from results.metrics.miou import Floats
from results.statistics import Interval, Sample, interval_around

__all__ = ["HIGHER", "RNG_SEED", "Share", "shares"]

RNG_SEED, HIGHER = "rng seed", "higher interactions"
SEEDS = 3
"""With one left out, two at least must stay for the variance within cells."""


@dataclass(frozen=True)
class Share:
    """Of one source of variance."""

    name: str
    interval: Interval
    """0..1."""
    deviation: float
    """The standard deviation of mIoU that this part alone would make."""


def shares(names: Sequence[str], levels: Sequence[int], cells: Sequence[Sample]) -> list[Share]:
    """Of factors with so many levels, from samples of all cells, the last factor's levels next to each other.

    The samples were made together, over the same rng seeds. Raises ValueError for fewer than three rng seeds or
    another number of cells, and where nothing varies.
    """
    seeds, images = len(cells[0].by_seed), cells[0].images
    if seeds < SEEDS or len(cells) != np.prod(levels):
        found = f"{len(cells)} cells of {seeds} rng seeds"
        raise ValueError(f"{found} for factors with {', '.join(map(str, levels))} levels")
    scores = np.stack([cell.by_seed for cell in cells]).reshape(*levels, seeds, 1)
    squares = _squares(scores)[:, 0]
    whole = squares.sum()
    if whole == 0:
        raise ValueError("all cells have the same mIoU with every rng seed: nothing varies")
    resampled = np.stack([cell.resampled_SB for cell in cells]).reshape(*levels, seeds, -1)
    drawn_PB = _normed(_squares(resampled))
    places = np.arange(seeds)
    left_out = [_normed(_squares(scores[..., places != seed, :]))[:, 0] for seed in places]
    told: list[Share] = []
    for part, name in enumerate(_parts(names)):
        share = squares[part] / whole
        pseudo = np.array([seeds * share - (seeds - 1) * other[part] for other in left_out])
        interval = interval_around(float(share), Sample(pseudo, drawn_PB[part][None], images))
        told.append(Share(name, interval, float((squares[part] / scores.size) ** 0.5)))
    return told


def _parts(names: Sequence[str]) -> list[str]:
    higher = [HIGHER] if len(names) > 2 else []
    return [*names, *(f"{one} × {other}" for one, other in combinations(names, 2)), *higher, RNG_SEED]


def _squares(scores: Floats) -> Floats:
    """Sums of squares by part and draw, (parts, draws), from scores (factors…, rng seeds, draws)."""
    factors = tuple(range(scores.ndim - 2))
    cells = scores.mean(axis=-2)
    centred = cells - cells.mean(axis=factors)
    # So many scores stand behind every mean of some factors: all that share their levels.
    size = scores.size // scores.shape[-1]
    mains, found = [], []
    for factor in factors:
        mean = centred.mean(axis=tuple(other for other in factors if other != factor), keepdims=True)
        mains.append(mean)
        found.append((mean**2).mean(axis=factors) * size)
    for one, other in combinations(factors, 2):
        mean = centred.mean(axis=tuple(each for each in factors if each not in (one, other)), keepdims=True)
        beyond = mean - mains[one] - mains[other]
        found.append((beyond**2).mean(axis=factors) * size)
    if len(factors) > 2:
        of_cells = (centred**2).mean(axis=factors) * size
        found.append(np.maximum(of_cells - np.sum(found, axis=0), 0))
    within = (scores - cells[..., None, :]) ** 2
    found.append(within.sum(axis=(*factors, -2)))
    return np.stack(found)


def _normed(squares: Floats) -> Floats:
    whole = squares.sum(axis=0)
    shares: Floats = np.divide(squares, whole, out=np.zeros_like(squares), where=whole > 0)
    return shares
