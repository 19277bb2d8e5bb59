"""Cuts of graphs in closed form, Otsu's cuts beside a loop, and what flat or tiny inputs give."""

import itertools

import numpy as np
import pytest

from methods.spectral import affinity, colour_neighbours, joined_mask, modes, otsu_cuts


def test_a_ring_has_the_modes_of_a_ring() -> None:
    """(D − W) v = λ D v on a ring of n equal links: λ = 1 − cos(2πk/n), each twice but for k = 0."""
    size = 12
    ring = np.roll(np.eye(size), 1, 0) + np.roll(np.eye(size), -1, 0)
    found = modes(ring, 5)
    expected = [1 - np.cos(2 * np.pi * k / size) for k in (0, 1, 1, 2, 2)]
    assert np.allclose(found.eigenvalues, expected, atol=1e-12)
    assert np.allclose(found.vectors @ (2 * found.vectors.T), np.eye(5), atol=1e-12)
    assert np.ptp(found.vectors[0]) < 1e-12


def test_the_second_vector_parts_two_groups_and_the_smaller_one_is_positive() -> None:
    groups = np.repeat([0, 1], [7, 4])
    pairs = np.where(groups[:, None] == groups, 1.0, 0.01)
    vector = modes(pairs, 2).vectors[1]
    assert np.array_equal(vector > 0, groups == 1)


def naive_cuts(values: np.ndarray) -> tuple[float, float]:
    """The first pair of bins after which cutting leaves the largest variance between three groups of bins."""
    counts, edges = np.histogram(values, 256)
    centres, total = (edges[:-1] + edges[1:]) / 2, counts.sum()
    best, cuts = -1.0, (0.0, 0.0)
    filled = np.flatnonzero(counts)
    for one, other in itertools.combinations(filled[:-1], 2):
        groups = (counts[: one + 1], counts[one + 1 : other + 1], counts[other + 1 :])
        begins = (0, one + 1, other + 1)
        between = 0.0
        for group, begin in zip(groups, begins, strict=True):
            between += ((group * np.arange(begin, begin + len(group))).sum() / total) ** 2 / (group.sum() / total)
        if between > best + 1e-9:
            best, cuts = between, (centres[one], centres[other])
    return cuts


@pytest.mark.parametrize("rng_seed", range(5))
def test_otsu_cuts_beside_a_loop(rng_seed: int) -> None:
    rng = np.random.default_rng(rng_seed)
    values = rng.normal(rng.choice([0, 3, 8], 40), 0.5)
    assert otsu_cuts(values) == pytest.approx(naive_cuts(values), rel=1e-12)


def test_few_values_are_cut_between_themselves() -> None:
    three = np.array([0.0, 0, 1, 2, 2])
    low, high = otsu_cuts(three)
    assert ((three > low).sum(), (three > high).sum()) == (3, 2)
    low, high = otsu_cuts(np.array([0.0, 0, 0, 1]))
    assert low == high < 1
    assert not (np.full(4, 0.3) > otsu_cuts(np.full(4, 0.3))[0]).any()


def test_neighbours_are_the_nearest_in_colour_and_place() -> None:
    """Beside all distances; the point itself is among them, so that the diagonal holds 4."""
    image = np.random.default_rng(0).random((6, 7, 3))
    y, x = np.mgrid[0:1:6j, 0:1:7j]
    expected = np.zeros((42, 42))
    for count, weight in ((20, 2.0), (10, 0.1)):
        places = np.column_stack([image.reshape(42, 3), weight * x.ravel(), weight * y.ravel()])
        apart = np.linalg.norm(places[:, None] - places, axis=2)
        for row, order in enumerate(apart.argsort(1)):
            for other in order[:count]:
                expected[row, other] += 1
                expected[other, row] += 1
    found = colour_neighbours(image).toarray()
    assert np.array_equal(found, expected)
    assert (found.diagonal() == 4).all()


def test_fewer_positions_than_neighbours_and_features_of_zero() -> None:
    neighbours = colour_neighbours(np.random.default_rng(0).random((2, 3, 3)))
    pairs = affinity(np.zeros((6, 4)), neighbours, 0.5)
    assert np.array_equal(pairs, np.full((6, 6), 2.0))


@pytest.mark.parametrize(("overlap", "joins"), [(1, False), (2, True)])
def test_masks_join_where_more_than_a_tenth_is_shared(overlap: int, joins: bool) -> None:
    prediction, mask = np.zeros(20, bool), np.zeros(20, bool)
    prediction[:5], mask[5 - overlap : 11 - overlap] = True, True
    expected = prediction | mask if joins else prediction
    assert np.array_equal(joined_mask(prediction, mask), expected)
