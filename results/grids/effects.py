"""Effects of a grid's factors as contrasts: weighted sums of the mIoU of its cells.

A main effect is what a change from the first level of a factor to another one adds, mean over all pairs of cells that
differ in nothing else. An interaction is how much more the change of one factor adds where another one is changed too,
mean over all fours of cells that differ in these two alone. In a full design with two levels each these are the
textbook's contrasts (of an interaction twice the textbook's value, which is half the difference of differences). With
conditional factors or missing cells they are read off the pairs that there are: a factor that means nothing in a cell
counts as at its first level there, and its own effects are read off the other cells.

A fraction has no such pairs: its effects are contrasts of halves, each mixed up with those that its defining relation
names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import combinations, product

from results.grids.design import ONE_AT_A_TIME, Design, Factor

__all__ = ["Effect", "effects", "missing_for_effects"]


@dataclass(frozen=True)
class Effect:
    """A contrast of cells, by the names of their recipes."""

    name: str
    factors: tuple[str, ...]
    """One for a main effect, two for an interaction."""
    weights: dict[str, float]
    """Cells that are left out have none."""
    mixed_with: tuple[str, ...] = ()
    """Of a fraction: the main effects and interactions of two factors that it cannot be told apart from."""


def missing_for_effects(design: Design, measured: Set[str]) -> tuple[str, ...]:
    """The cells without which a fraction tells no effect at all; none in other designs, where pairs drop out."""
    if not design.words:
        return ()
    return tuple(name for name in design.cells if name not in measured)


def effects(design: Design, measured: Set[str]) -> list[Effect]:
    """Main effects, then interactions of two factors, as far as the measured cells allow; none one at a time.

    One at a time each effect is the Δ of its cell to the full method, and there are no interactions.
    """
    if design.kind == ONE_AT_A_TIME or missing_for_effects(design, measured):
        return []
    if design.words:
        return list(_of_fraction(design))
    cells = [name for name in design.cells if name in measured]
    changes = [[(place, level) for level in factor.levels[1:]] for place, factor in enumerate(design.factors)]
    found = [_of_change(design, cells, (change,)) for of_factor in changes for change in of_factor]
    for one, other in combinations(changes, 2):
        found += [_of_change(design, cells, pair) for pair in product(one, other)]
    return [effect for effect in found if effect is not None]


def _of_change(design: Design, cells: Sequence[str], changes: tuple[tuple[int, str], ...]) -> Effect | None:
    """The effect of changing one factor or two, each given by its place and the level; None without such cells."""
    groups: dict[tuple[str, ...], dict[tuple[str, ...], str]] = {}
    places = [place for place, _ in changes]
    for name in cells:
        levels = design.cells[name]
        if any(levels[place] is None for place in places):
            continue
        filled = [level or factor.levels[0] for level, factor in zip(levels, design.factors, strict=True)]
        others = tuple(level for place, level in enumerate(filled) if place not in places)
        groups.setdefault(others, {})[tuple(filled[place] for place in places)] = name
    corners = list(product(*((design.factors[place].levels[0], level) for place, level in changes)))
    whole = [group for group in groups.values() if all(corner in group for corner in corners)]
    if not whole:
        return None
    weights: dict[str, float] = {}
    for group in whole:
        for corner in corners:
            unchanged = sum(at != level for at, (_, level) in zip(corner, changes, strict=True))
            weights[group[corner]] = (-1) ** unchanged / len(whole)
    factors = [design.factors[place] for place in places]
    return Effect(_name(factors, [level for _, level in changes]), _names(factors), weights)


def _of_fraction(design: Design) -> Iterator[Effect]:
    """Contrasts of halves, one for each set of effects that are the same contrast; what is mixed up is told."""
    told: set[frozenset[str]] = set()
    singles = [(factor,) for factor in design.factors]
    for factors in [*singles, *combinations(design.factors, 2)]:
        names = frozenset(_names(factors))
        if names in told:
            continue
        same = [frozenset(word) ^ names for word in design.words]
        mixed = [other for other in same if 0 < len(other) <= 2]
        told |= {names, *mixed}
        weights = {}
        for name, levels in design.cells.items():
            unchanged = sum(levels[design.factors.index(factor)] == factor.levels[0] for factor in factors)
            # Halves of the cells against each other; an interaction as a difference of differences, hence twice.
            weights[name] = (-1) ** unchanged * 2 * len(factors) / len(design.cells)
        yield Effect(
            _name(factors, [factor.levels[1] for factor in factors]),
            _names(factors),
            weights,
            tuple(" × ".join(factor.name for factor in design.factors if factor.name in other) for other in mixed),
        )


def _names(factors: Sequence[Factor]) -> tuple[str, ...]:
    return tuple(factor.name for factor in factors)


def _name(factors: Sequence[Factor], levels: Sequence[str]) -> str:
    """`common: on → off`; of an interaction `common × references`, with the level where a factor has more than two."""
    if len(factors) == 1:
        return f"{factors[0].name}: {factors[0].levels[0]} → {levels[0]}"
    parts = []
    for factor, level in zip(factors, levels, strict=True):
        parts.append(factor.name if factor.has_two_levels else f"{factor.name}: {level}")
    return " × ".join(parts)
