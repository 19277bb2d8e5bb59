"""Pairs of near pixels beside a loop over all pairs of the grid; their gradients beside autograd's own."""

import itertools
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from methods.networks.pixel_pairs import (
    Border,
    feature_distances,
    half_plane,
    highest_between,
    of_sources,
    of_targets,
    path,
    pixel_pairs,
)


@pytest.mark.parametrize(("radius", "count"), [(2, 4), (4, 22), (5, 34), (10, 152)])
def test_offsets_are_one_of_each_opposite_two(radius: int, count: int) -> None:
    offsets = half_plane(radius)
    near = {(y, x) for y in range(-9, 10) for x in range(-9, 10) if 0 < y * y + x * x < radius**2}
    if radius == 2:
        assert offsets == [(0, 1), (1, -1), (1, 0), (1, 1)]
    both = [*offsets, *((-y, -x) for y, x in offsets)]
    assert len(offsets) * 2 == len(set(both))
    assert set(both) == near
    assert len(offsets) == count


def test_paths_by_hand() -> None:
    assert path(0, 3) == [(0, 0), (0, 1), (0, 2), (0, 3)]
    assert path(2, -2) == [(0, -1), (0, 0), (1, -2), (1, -1), (1, 0), (2, -2), (2, -1)]
    assert path(2, 3) == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (1, 3), (2, 2), (2, 3)]


def indices_of_pairs(height: int, width: int, radius: int, border: Border) -> set[tuple[int, int]]:
    """Every two pixels, tried one by one."""
    found, margin = set(), radius - 1
    for (i, (y, x)), (j, (v, u)) in itertools.permutations(
        enumerate(itertools.product(range(height), range(width))), 2
    ):
        forward = (v, u) > (y, x) and (v - y) ** 2 + (u - x) ** 2 < radius**2
        may_begin = border == "all" or (y < height - margin and margin <= x < width - margin)
        if forward and may_begin:
            found.add((i, j))
    return found


@given(st.integers(1, 7), st.integers(1, 9), st.integers(2, 5), st.sampled_from(get_args(Border)))
def test_pairs_of_any_grid(height: int, width: int, radius: int, border: Border) -> None:
    pairs = pixel_pairs((height, width), radius, border)
    index_BHW = torch.arange(height * width).view(1, height, width)
    first, second = of_sources(index_BHW, pairs)[0].tolist(), of_targets(index_BHW, pairs)[0].tolist()
    found = list(zip(first, second, strict=True))
    assert len(found) == len(set(found))
    assert set(found) == indices_of_pairs(height, width, radius, border)


def test_a_radius_without_pairs_is_refused() -> None:
    with pytest.raises(ValueError, match="radius 1"):
        pixel_pairs((5, 5), 1, "all")


@pytest.mark.parametrize("border", get_args(Border))
def test_distances_and_their_gradient(border: Border) -> None:
    torch.manual_seed(0)
    feature = torch.randn(2, 5, 7, 11, dtype=torch.float64, requires_grad=True)
    pairs = pixel_pairs((7, 11), 4, border)
    rows = feature.flatten(2)
    index = torch.arange(77).view(1, 7, 11)
    here, there = of_sources(index, pairs)[0], of_targets(index, pairs)[0]
    expected = (rows[:, :, here] - rows[:, :, there]).abs().mean(1)
    found = feature_distances(feature, pairs)
    torch.testing.assert_close(found, expected)
    slope = torch.randn_like(found)
    gradients = [torch.autograd.grad(value, feature, slope)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_low_precision_becomes_float32() -> None:
    feature = torch.ones(1, 2, 6, 9, dtype=torch.bfloat16)
    assert feature_distances(feature, pixel_pairs((6, 9), 3, "all")).dtype == torch.float32


@pytest.mark.parametrize("border", get_args(Border))
def test_the_highest_on_the_way_and_its_gradient(border: Border) -> None:
    torch.manual_seed(0)
    boundary = torch.rand(2, 7, 11, requires_grad=True)
    found = highest_between(boundary, pixel_pairs((7, 11), 4, border))
    expected = []
    for one in pixel_pairs((7, 11), 4, border):
        rows, columns = one.source
        ways = path(*one.offset)
        for y, x in itertools.product(range(rows.start, rows.stop), range(columns.start, columns.stop)):
            expected.append(torch.stack([boundary[:, y + dy, x + dx] for dy, dx in ways]).amax(0))
    naive = torch.stack(expected, 1)
    assert torch.equal(found, naive)
    slope = torch.randn_like(found)
    gradients = [torch.autograd.grad(value, boundary, slope)[0] for value in (found, naive)]
    torch.testing.assert_close(*gradients)


def test_of_equal_boundaries_one_alone_gets_the_gradient() -> None:
    boundary = torch.full((1, 4, 4), 0.5, requires_grad=True)
    highest = highest_between(boundary, pixel_pairs((4, 4), 3, "all"))
    (gradient,) = torch.autograd.grad(highest.sum(), boundary)
    assert float(gradient.sum()) == highest.numel()
