"""Shares of variance against closed forms and sums over cells, written out."""

from itertools import product

import numpy as np
import pytest

from results.grids.variance import shares
from results.metrics.miou import Floats
from results.statistics import Sample


def cells_of(scores: Floats, resampled: Floats | None = None) -> list[Sample]:
    """Samples of cells from scores (cells…, rng seeds); without other images there is one draw twice."""
    flat = scores.reshape(-1, scores.shape[-1])
    drawn = np.repeat(flat[..., None], 2, axis=-1) if resampled is None else resampled.reshape(*flat.shape, -1)
    return [Sample(by_seed, of_cell, 50) for by_seed, of_cell in zip(flat, drawn, strict=True)]


def test_an_additive_grid_falls_apart_into_its_factors() -> None:
    a, b = np.array([0.0, 0.2]), np.array([0.0, 0.1, 0.2])
    seed = np.array([-0.01, 0.0, 0.01])
    told = shares(["a", "b"], [2, 3], cells_of(0.5 + a[:, None, None] + b[:, None] + seed))
    variances = np.array([a.var(), b.var(), 0, seed.var()])
    assert [share.name for share in told] == ["a", "b", "a × b", "rng seed"]
    np.testing.assert_allclose([share.interval.mean for share in told], variances / variances.sum(), atol=1e-12)
    np.testing.assert_allclose([share.deviation for share in told], variances**0.5, atol=1e-12)


def test_parts_are_those_of_sums_written_out() -> None:
    y = np.random.default_rng(3).random((2, 3, 2, 4))
    told = {share.name: share.interval.mean for share in shares(list("abc"), [2, 3, 2], cells_of(y))}
    whole = ((y - y.mean()) ** 2).sum()
    grid = list(product(range(2), range(3), range(2)))
    a = sum((y[i].mean() - y.mean()) ** 2 for i, j, k in grid) * 4
    bc = sum((y[:, j, k].mean() - y[:, j].mean() - y[:, :, k].mean() + y.mean()) ** 2 for i, j, k in grid) * 4
    seeds = sum(((y[i, j, k] - y[i, j, k].mean()) ** 2).sum() for i, j, k in grid)
    assert (told["a"], told["b × c"], told["rng seed"]) == pytest.approx((a / whole, bc / whole, seeds / whole))
    assert sum(told.values()) == pytest.approx(1) and list(told)[-2:] == ["higher interactions", "rng seed"]


def test_the_interval_holds_what_images_and_rng_seeds_vary() -> None:
    rng = np.random.default_rng(0)
    y = np.array([0.4, 0.6])[:, None] + 0.03 * rng.standard_normal((2, 5))
    still, moved = (
        shares(["a"], [2], cells_of(y, y[..., None] + by * rng.standard_normal((2, 1, 200))))[0] for by in (0.0, 0.05)
    )
    assert still.interval.low < still.interval.mean < still.interval.high <= 1
    assert moved.interval.low < still.interval.low and moved.interval.mean == still.interval.mean


def test_too_few_rng_seeds_and_nothing_that_varies_are_refused() -> None:
    with pytest.raises(ValueError, match="2 cells of 2 rng seeds"):
        shares(["a"], [2], cells_of(np.array([[0.1, 0.2], [0.3, 0.4]])))
    with pytest.raises(ValueError, match="nothing varies"):
        shares(["a"], [2], cells_of(np.full((2, 3), 0.5)))
