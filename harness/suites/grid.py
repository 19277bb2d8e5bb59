"""Every cell of a suite's `grid:` as a recipe: the full method, and what is left when factors have other levels.

It works on what was read, after overrides and before checks: so all cells take a change of the recipe that the grid is
of. Which cells are impossible is found at planning, by `harness.suites.recipes.possible_recipes`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Set
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError

from harness.suites.combining import MOST, RecipeName
from harness.suites.reading import put
from results.grids.design import FULL, ONE_AT_A_TIME, CellLevels, Design, Factor, fraction, level_sets
from settings.components import option_error
from settings.errors import UserError, unknown_name
from settings.options import Options

__all__ = ["Grid", "with_grid"]

# A part of the names of cells; without a +, which stands between the parts of a combination.
LevelName = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
FRACTION = re.compile(r"fractional\(([3-9])\)")
MOST_IN_FRACTION = 11
"""Factors of a fraction: for more the search of generators takes too long."""
THRESHOLD = "labeler.threshold"
CHANGE_WITH_THRESHOLD = (
    "leave it out and choose thresholds in the run, for all cells alike (policies: {held_out: …}), or declare one at "
    "every level of the factor"
)


@dataclass(frozen=True)
class Cell:
    """One cell: the levels of all factors, and what they change of the recipe."""

    name: str
    levels: CellLevels
    changes: Mapping[str, object]
    """Dotted path → value."""
    conflict: str
    """Why two of its levels cannot be together; empty for most."""


class Grid(Options):
    """Factors of a recipe with their levels, each a change of it; the first levels together are the full method."""

    of: RecipeName = Field(description="the recipe that is changed")
    factors: dict[LevelName, dict[LevelName, dict[str, Any]]] = Field(
        min_length=1, description="factor → level → what it changes of the recipe, as {localizer.references: 0}"
    )
    when: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="factor → the levels (one, or a list) of a factor before it with which it means something",
    )
    design: str = Field(FULL, description=f"{FULL}, {ONE_AT_A_TIME}, or fractional(R) of a resolution R")
    variance: bool = Field(False, description="tell which share of the variance of mIoU each factor explains")

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All of them, the full method first, also those whose levels conflict."""
        return tuple(self._cells())

    @property
    def changed_cells(self) -> frozenset[str]:
        """The names of all cells but the full method."""
        return frozenset(cell.name for cell in self.cells) - {self.of}

    @property
    def possible(self) -> tuple[Cell, ...]:
        """The cells whose levels can be together."""
        return tuple(cell for cell in self.cells if not cell.conflict)

    @property
    def declares(self) -> tuple[str, ...]:
        """The factors of which every level declares a threshold."""
        found = []
        for name, levels in self.factors.items():
            if all(THRESHOLD in _paths(change) for change in levels.values()):
                found.append(name)
        return tuple(found)

    def design_with(self, skipped: Mapping[str, str]) -> Design:
        """The design for tables and figures; `skipped` are the recipes that planning left out, with the reasons."""
        cells = {cell.name: cell.levels for cell in self.cells}
        own = {name: reason for name, reason in skipped.items() if name in cells}
        names = list(self.factors)
        words = tuple(tuple(names[place] for place in sorted(word)) for word in self._words())
        factors = tuple(self._factors())
        return Design(self.of, self.design, factors, cells, words, self.variance, self.declares, own)

    def _factors(self) -> Iterator[Factor]:
        for name, levels in self.factors.items():
            when = {other: _level_names(given, self.factors[other]) for other, given in self.when.get(name, {}).items()}
            yield Factor(name, tuple(levels), when)

    def _words(self) -> tuple[frozenset[int], ...]:
        resolution = FRACTION.fullmatch(self.design)
        return fraction(len(self.factors), int(resolution[1])) if resolution else ()

    def _cells(self) -> Iterator[Cell]:
        factors = list(self._factors())
        kind = ONE_AT_A_TIME if self.design == ONE_AT_A_TIME else FULL
        for levels in level_sets(factors, kind, self._words()):
            name, changes, conflicts = self.of, dict[str, object](), []
            set_by: dict[str, str] = {}
            for factor, level in zip(factors, levels, strict=True):
                if level is None:
                    continue
                if level != factor.levels[0]:
                    name += f"--{factor.name}-{level}"
                for path, value in _paths(self.factors[factor.name][level]).items():
                    if clash := _clash(path, value, changes):
                        conflicts.append(f"{set_by[clash]} and {factor.name} both change {path}")
                    changes[path] = value
                    set_by[path] = factor.name
            yield Cell(name, levels, changes, "; ".join(dict.fromkeys(conflicts)))


def with_grid(content: Mapping[str, object], place: Callable[[str], str]) -> dict[str, object]:
    """What was read of a suite, the cells of its grid among its recipes; `place` says where a key was given.

    A cell stands under the settings that `recipes_of` gives its recipe. Raises UserError for unknown keys, names and
    levels, a design that the factors do not allow, and levels that tune one cell and not another.
    """
    recipes = content.get("recipes", {})
    if content.get("grid") is None or not isinstance(recipes, Mapping):
        return dict(content)
    grid = _checked(content["grid"], place)
    base = recipes.get(grid.of)
    if base is None:
        known = [name for name, recipe in recipes.items() if recipe is not None]
        raise unknown_name(place("grid.of"), "recipe", grid.of, known)
    cells: dict[str, object] = {}
    for cell in grid.possible:
        if cell.name in recipes and recipes[cell.name] is None:
            # Taken away, as any recipe.
            continue
        if cell.name in cells or (cell.name in recipes and cell.name != grid.of):
            raise UserError(place("grid"), f"two recipes named '{cell.name}'", "one", "rename a factor or a level")
        recipe = deepcopy(base)
        for path, value in cell.changes.items():
            put(recipe, path, deepcopy(value), place(f"grid.factors: {path}"))
        cells[cell.name] = recipe
    found = {**content, "grid": grid.model_dump(), "recipes": {**recipes, **cells}}
    if isinstance(recipes_of := content.get("recipes_of"), Mapping):
        found["recipes_of"] = {label: _with_cells(names, grid.of, cells) for label, names in recipes_of.items()}
    return found


def _with_cells(names: object, base: str, cells: Mapping[str, object]) -> object:
    if not isinstance(names, list) or base not in names:
        return names
    return [*names, *(name for name in cells if name not in names)]


def _checked(content: object, place: Callable[[str], str]) -> Grid:
    try:
        grid = Grid.model_validate(_without_nulls(content))
    except ValidationError as error:
        raise option_error(error, Grid, lambda key: place(f"grid.{key}".rstrip("."))) from None
    for name, levels in grid.factors.items():
        if len(levels) < 2:
            raise UserError(place(f"grid.factors.{name}"), f"{len(levels)} level", "two or more")
        _check_thresholds(name, levels, place)
    _check_conditions(grid, place)
    _check_design(grid, place)
    return grid


def _without_nulls(content: object) -> object:
    """`null` takes a factor or level of an included suite away, and the conditions that are about it."""
    factors = content.get("factors") if isinstance(content, Mapping) else None
    if not isinstance(content, Mapping) or not isinstance(factors, Mapping):
        return content
    gone = {name for name, levels in factors.items() if levels is None}
    kept: dict[str, object] = {}
    for name, levels in factors.items():
        if isinstance(levels, Mapping):
            kept[name] = {level: change for level, change in levels.items() if change is not None}
        elif levels is not None:
            kept[name] = levels
    found: dict[str, object] = {**content, "factors": kept}
    if isinstance(when := content.get("when"), Mapping):
        found["when"] = {name: _without(given, gone) for name, given in when.items() if name not in gone}
    return found


def _without(conditions: object, gone: Set[str]) -> object:
    if not isinstance(conditions, Mapping):
        return conditions
    return {other: levels for other, levels in conditions.items() if other not in gone}


def _check_thresholds(factor: str, levels: Mapping[str, Mapping[str, Any]], place: Callable[[str], str]) -> None:
    """Raise UserError for a level that sets a threshold beside something else, where another level sets none."""
    paths = {level: _paths(change) for level, change in levels.items()}
    setting = [level for level, changes in paths.items() if THRESHOLD in changes]
    if len(setting) in (0, len(levels)):
        return
    for level in setting:
        if len(paths[level]) > 1:
            other = next(each for each in levels if each not in setting)
            found = f"a threshold of its own, which level {other} has not"
            expected = "no cell that is tuned where another is not"
            raise UserError(place(f"grid.factors.{factor}.{level}"), found, expected, CHANGE_WITH_THRESHOLD)


def _check_conditions(grid: Grid, place: Callable[[str], str]) -> None:
    names = list(grid.factors)
    for name, conditions in grid.when.items():
        where = place(f"grid.when.{name}")
        if name not in grid.factors:
            raise unknown_name(place("grid.when"), "factor", name, names)
        before = names[: names.index(name)]
        for other, given in conditions.items():
            if other not in before:
                raise unknown_name(where, "factor before it", other, before)
            levels = grid.factors[other]
            for level in _level_names(given, levels):
                if level not in levels:
                    raise unknown_name(f"{where}.{other}", "level", level, levels)
            if grid.design == ONE_AT_A_TIME and next(iter(levels)) not in _level_names(given, levels):
                found = f"{name}, which means nothing in the full method"
                raise UserError(where, found, f"no such factor {ONE_AT_A_TIME}", f"design: {FULL}")


def _check_design(grid: Grid, place: Callable[[str], str]) -> None:
    where, sizes = place("grid.design"), [len(levels) for levels in grid.factors.values()]
    if grid.design not in (FULL, ONE_AT_A_TIME) and not FRACTION.fullmatch(grid.design):
        expected = f"{FULL}, {ONE_AT_A_TIME} or fractional(R) with a resolution R of 3 to 9"
        raise UserError(where, f"'{grid.design}'", expected)
    if FRACTION.fullmatch(grid.design):
        more = next((name for name, levels in grid.factors.items() if len(levels) > 2), None)
        if more is not None:
            found = f"'{grid.design}' with {len(grid.factors[more])} levels of {more}"
            raise UserError(where, found, "two levels of every factor", f"design: {FULL}")
        if grid.when:
            raise UserError(where, f"'{grid.design}' with conditions (when)", "none", f"design: {FULL}")
        if len(sizes) > MOST_IN_FRACTION:
            raise UserError(where, f"'{grid.design}' of {len(sizes)} factors", f"at most {MOST_IN_FRACTION}")
    # Counted before any is made: twenty switches are a million recipes.
    if grid.design == FULL and prod(sizes) > MOST:
        raise UserError(where, f"{prod(sizes)} cells", f"at most {MOST}", f"design: fractional(4), or {ONE_AT_A_TIME}")
    if grid.variance and (grid.design != FULL or grid.when):
        found = "variance: true with a design that leaves cells out"
        raise UserError(place("grid.variance"), found, f"design: {FULL}, without conditions (when)")


def _level_names(given: object, levels: Mapping[str, object]) -> tuple[str, ...]:
    """Levels as they are called, from a level or a list; YAML reads `on` as true and `3` as a number."""
    found = []
    for one in given if isinstance(given, (list, tuple)) else [given]:
        same = [level for level in levels if _same(yaml.safe_load(level), one)]
        found.append(one if isinstance(one, str) or not same else same[0])
    return tuple(map(str, found))


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


def _paths(change: Mapping[str, object], above: str = "") -> dict[str, object]:
    """Dotted path → value of a change; a mapping without a `name` changes options of what is there."""
    found: dict[str, object] = {}
    for key, value in change.items():
        path = f"{above}{key}"
        if isinstance(value, Mapping) and value and "name" not in value:
            found |= _paths(value, f"{path}.")
        else:
            found[path] = value
    return found


def _clash(path: str, value: object, changes: Mapping[str, object]) -> str | None:
    """A path among the changes that sets the same thing to another value, or what it lies in; None where none does."""
    for other, set_to in changes.items():
        is_inside = f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}.")
        if is_inside and (path != other or value != set_to):
            return other
    return None
