"""What a grid is made of: factors with their levels, and which of all combinations of levels a design takes as cells.

The first level of every factor is that of the full method. A factor may mean nothing where another one has a certain
level (how references are fused, say, where none are read): there a cell has no level of it, and what would differ in
that factor alone is one cell.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations, product
from typing import Any, TypeAlias

__all__ = ["FULL", "ONE_AT_A_TIME", "CellLevels", "Design", "Factor", "fraction", "level_sets"]

FULL, ONE_AT_A_TIME = "full", "one_at_a_time"
CellLevels: TypeAlias = tuple[str | None, ...]
"""The level of each factor, in the order of the factors; None for a factor that means nothing in the cell."""
Word: TypeAlias = frozenset[int]
"""Factors, by their places, whose levels determine each other in a fraction: an even number of them is changed."""


@dataclass(frozen=True)
class Factor:
    """Something that a grid changes about the full method."""

    name: str
    levels: tuple[str, ...]
    """At least two; the first is that of the full method."""
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The levels of factors before it with which it means something; where another one has none of them it does not."""

    @property
    def has_two_levels(self) -> bool:
        """Whether it is on or off, and no more."""
        return len(self.levels) == 2


@dataclass(frozen=True)
class Design:
    """The cells of a grid, by the name of their recipe, and what it takes to read effects off them."""

    base: str
    """The recipe of the full method, which is a cell too."""
    kind: str
    """`full`, `one_at_a_time` or `fractional(4)`."""
    factors: tuple[Factor, ...]
    cells: Mapping[str, CellLevels]
    """By recipe, the full method first."""
    words: tuple[tuple[str, ...], ...] = ()
    """Of a fraction: its defining relation, factor names of each word; empty where all combinations are cells."""
    variance: bool = False
    """Whether it is asked which share of the variance each factor explains."""
    declares: tuple[str, ...] = ()
    """The factors of which every level declares a threshold; without one all cells have that of the full method."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """The cells that cannot be, by recipe, each with the reason."""

    def to_json(self) -> str:
        """For a file beside the rows, so that tables can be made anew."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Design:
        """What `to_json` wrote; raises ValueError, LookupError or TypeError for anything else."""
        content: dict[str, Any] = json.loads(text)
        factors = []
        for one in content["factors"]:
            when = {name: tuple(levels) for name, levels in one["when"].items()}
            factors.append(Factor(str(one["name"]), tuple(one["levels"]), when))
        return cls(
            str(content["base"]),
            str(content["kind"]),
            tuple(factors),
            {name: tuple(levels) for name, levels in content["cells"].items()},
            tuple(tuple(word) for word in content["words"]),
            bool(content["variance"]),
            tuple(content["declares"]),
            {str(name): str(reason) for name, reason in content["skipped"].items()},
        )


def level_sets(factors: Sequence[Factor], kind: str, words: Sequence[Word] = ()) -> list[CellLevels]:
    """The cells of a design, the full method first, each once; of a fraction those that all its `words` allow."""
    if kind == ONE_AT_A_TIME:
        return list(_one_at_a_time(factors))
    found: dict[CellLevels, None] = {}
    for levels in product(*(factor.levels for factor in factors)):
        changed = {place for place, factor in enumerate(factors) if levels[place] != factor.levels[0]}
        if all(len(word & changed) % 2 == 0 for word in words):
            found[_meaningful(factors, levels)] = None
    return list(found)


def _one_at_a_time(factors: Sequence[Factor]) -> Iterator[CellLevels]:
    first = tuple(factor.levels[0] for factor in factors)
    yield first
    for place, factor in enumerate(factors):
        for level in factor.levels[1:]:
            yield _meaningful(factors, (*first[:place], level, *first[place + 1 :]))


def _meaningful(factors: Sequence[Factor], levels: Sequence[str]) -> CellLevels:
    """The levels, less those of factors that mean nothing beside the others."""
    kept: dict[str, str | None] = {}
    for factor, level in zip(factors, levels, strict=True):
        means_something = all(kept[other] in wanted for other, wanted in factor.when.items())
        kept[factor.name] = level if means_something else None
    return tuple(kept.values())


def fraction(factors: int, resolution: int) -> tuple[Word, ...]:
    """The defining relation of the smallest regular fraction of 2^factors that has a resolution; empty for all of them.

    The resolution is the length of its shortest word: with 4 no main effect is mixed up with another or with an
    interaction of two factors, with 5 no such interaction with another one either (Box & Hunter, Technometrics 1961).
    All but a few basic factors are products of these; of the choices that reach the resolution with the fewest basic
    ones the first is taken, long products before short ones.
    """
    for basic in range(1, factors):
        candidates = []
        for size in range(basic, resolution - 2, -1):
            candidates += [frozenset(chosen) for chosen in combinations(range(basic), size)]
        relation = _relation(candidates, range(basic, factors), (), resolution)
        if relation is not None:
            return relation
    return ()


def _relation(
    candidates: Sequence[Word], added: Sequence[int], so_far: tuple[Word, ...], resolution: int
) -> tuple[Word, ...] | None:
    """All products of words, one for each added factor, that no word shorter than the resolution is among."""
    if not added:
        return so_far
    for place, candidate in enumerate(candidates):
        word = candidate | {added[0]}
        longer = (word, *(word ^ other for other in so_far))
        if min(map(len, longer)) < resolution:
            continue
        found = _relation(candidates[place + 1 :], added[1:], (*so_far, *longer), resolution)
        if found is not None:
            return found
    return None
