"""Designs: which cells there are; a fraction's resolution against products of its columns, multiplied out."""

from itertools import combinations
from math import prod

import pytest

from results.grids.design import FULL, ONE_AT_A_TIME, CellLevels, Design, Factor, fraction, level_sets

SWITCHES = (Factor("a", ("on", "off")), Factor("b", ("3", "0", "1")))


def signs(cells: list[CellLevels], factors: int) -> list[tuple[int, ...]]:
    """−1 for the first level and +1 for the other, a column a factor."""
    return [tuple(1 if cell[place] == "1" else -1 for cell in cells) for place in range(factors)]


@pytest.mark.parametrize(
    ("factors", "resolution", "cells"),
    [
        (3, 3, 4),
        (4, 4, 8),
        (5, 5, 16),
        (5, 3, 8),
        (6, 4, 16),
        (7, 4, 16),
        (7, 3, 8),
        (8, 4, 16),
        (8, 5, 64),
        (9, 3, 16),
    ],
)
def test_a_fraction_has_as_few_cells_as_the_textbook_and_mixes_nothing_up_below_its_resolution(
    factors: int, resolution: int, cells: int
) -> None:
    named = [Factor(f"f{place}", ("0", "1")) for place in range(factors)]
    found = level_sets(named, FULL, fraction(factors, resolution))
    columns = signs(found, factors)
    assert len(found) == len(set(found)) == cells and found[0] == ("0",) * factors
    shortest = factors + 1
    for size in range(1, factors + 1):
        for chosen in combinations(columns, size):
            total = sum(prod(values) for values in zip(*chosen, strict=True))
            # Each product of columns is balanced, or the same everywhere: then it is a word of the defining relation.
            assert total in (0, cells, -cells)
            if total:
                shortest = min(shortest, size)
    assert shortest >= resolution
    relation = fraction(factors, resolution)
    assert min(map(len, relation)) == shortest and len(relation) + 1 == 2**factors // cells


def test_where_no_fraction_will_do_all_cells_are_taken() -> None:
    assert fraction(3, 4) == fraction(4, 5) == ()


def test_all_combinations_the_full_method_first() -> None:
    assert level_sets(SWITCHES, FULL) == [
        *(("on", "3"), ("on", "0"), ("on", "1")),
        *(("off", "3"), ("off", "0"), ("off", "1")),
    ]


def test_one_factor_at_a_time() -> None:
    assert level_sets(SWITCHES, ONE_AT_A_TIME) == [("on", "3"), ("off", "3"), ("on", "0"), ("on", "1")]


def test_cells_that_differ_in_what_means_nothing_are_one() -> None:
    conditional = (SWITCHES[0], Factor("b", ("3", "0"), {"a": ("on",)}), Factor("c", ("x", "y"), {"b": ("3",)}))
    assert level_sets(conditional, FULL) == [
        *(("on", "3", "x"), ("on", "3", "y"), ("on", "0", None)),
        # c hangs on b, which means nothing without a.
        ("off", None, None),
    ]


def test_a_design_is_read_as_it_was_written() -> None:
    factors = (SWITCHES[0], Factor("b", ("3", "0"), {"a": ("on",)}))
    cells = {"cam": ("on", "3"), "cam--a-off": ("off", None)}
    design = Design("cam", FULL, factors, cells, (("a", "b"),), True, ("b",), {"cam--b-0": "no: reason"})
    assert Design.from_json(design.to_json()) == design
