"""Every localizer × refiner chain × labeler of a suite's `combine:` as recipes; those under `recipes:` go over them.

It works on what was read, before overrides of recipes and before checks: so a combination takes any change that a
recipe of an included suite takes. Which combinations cannot be is found at planning: see harness/suites/skipping.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Annotated, Any

from pydantic import Field, ValidationError

from harness.suites.reading import merged
from settings.components import ComponentSpec, option_error
from settings.errors import UserError, unknown_name
from settings.options import Options

RecipeName = Annotated[str, Field(pattern=r"^\w[\w+.-]*$")]
Chain = tuple[ComponentSpec, ...]
UNNAMED = "none"
"""The refiner chain that is left out of names."""
MOST = 10_000
"""More combinations than these are a mistake."""


class Labelling(Options):
    """What follows the maps in a combination: the rest of a recipe."""

    labeler: ComponentSpec
    cue: ComponentSpec | None = None
    segmenter: ComponentSpec | None = None
    rng_seeds: tuple[int, ...] | None = None


class Combine(Options):
    """The parts that are combined, by the names that the recipes are made of; `null` takes an included one away."""

    localizers: dict[RecipeName, ComponentSpec | None] = Field(min_length=1)
    refiners: dict[RecipeName, Chain | None] = Field({UNNAMED: ()}, min_length=1)
    refiners_of: dict[RecipeName, dict[RecipeName, Chain]] = Field(
        default_factory=dict, description="other chains of some of these names for one localizer, by its name"
    )
    labelers: dict[RecipeName, Labelling | None] = Field(
        min_length=1, description="the first one's name is left out of recipes' names"
    )

    def recipes(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each combination's name and the recipe as it would be written: `cam`, `cam+affinity+saliency`, …

        A name is that of its parts, but for refiners `none` and for the labeler that stands first, also where that
        one was taken away: names do not depend on what is left out.
        """
        for name, (localizer, refiners, labelling) in self._triples():
            if localizer is not None and refiners is not None and labelling is not None:
                yield name, {"localizer": _written(localizer), **_chain(refiners), **_rest(labelling)}

    def _triples(self) -> Iterator[tuple[str, tuple[ComponentSpec | None, Chain | None, Labelling | None]]]:
        """All of them by name, also those that lack a part which was taken away."""
        first = next(iter(self.labelers))
        parts = product(self.localizers.items(), self.refiners.items(), self.labelers.items())
        for (name, localizer), (chain, refiners), (rule, labelling) in parts:
            shown = (name, *([chain] if chain != UNNAMED else []), *([rule] if rule != first else []))
            own = self.refiners_of.get(name, {}).get(chain, refiners) if refiners is not None else None
            yield "+".join(shown), (localizer, own, labelling)

    @property
    def names(self) -> frozenset[str]:
        """Of all combinations."""
        return frozenset(name for name, _ in self.recipes())

    @property
    def taken_away(self) -> frozenset[str]:
        """The names of those that there would be without a `null`."""
        return frozenset(name for name, _ in self._triples()) - self.names


def with_combinations(content: Mapping[str, Any], place: Callable[[str], str]) -> dict[str, Any]:
    """What was read of a suite, its recipes over the combinations; `place` says where a key was given.

    Raises UserError for unknown keys, two combinations of one name, and a change to a combination that there is not.
    """
    recipes = content.get("recipes", {})
    if content.get("combine") is None or not isinstance(recipes, Mapping):
        return dict(content)
    combine = _checked(content["combine"], place)
    combinations = _named(combine, place)
    # What an included suite says of a combination goes with it.
    gone = {name for name, recipe in recipes.items() if name in combine.taken_away and _is_change(recipe)}
    recipes = {name: recipe for name, recipe in recipes.items() if name not in gone}
    for name, recipe in recipes.items():
        if name not in combinations and _is_change(recipe):
            known = [*combinations, *(each for each in recipes if each != name)]
            raise unknown_name(place(f"recipes.{name}"), "combination", name, known)
    return {**content, "recipes": merged(combinations, recipes)}


def _checked(content: Any, place: Callable[[str], str]) -> Combine:
    try:
        combine = Combine.model_validate(content)
    except ValidationError as error:
        raise option_error(error, Combine, lambda key: place(f"combine.{key}".rstrip("."))) from None
    for name, chains in combine.refiners_of.items():
        if name not in combine.localizers:
            raise unknown_name(place("combine.refiners_of"), "localizer", name, combine.localizers)
        for chain in chains:
            if chain not in combine.refiners:
                raise unknown_name(place(f"combine.refiners_of.{name}"), "refiners", chain, combine.refiners)
    return combine


def _named(combine: Combine, place: Callable[[str], str]) -> dict[str, Any]:
    count = len(combine.localizers) * len(combine.refiners) * len(combine.labelers)
    if count > MOST:
        raise UserError(place("combine"), f"{count} combinations", f"at most {MOST}")
    named: dict[str, Any] = {}
    for name, recipe in combine.recipes():
        if name in named:
            raise UserError(place("combine"), f"two combinations named '{name}'", "one", "rename a part")
        named[name] = recipe
    return named


def _is_change(recipe: Any) -> bool:
    """Whether it has options of a part whose name stands elsewhere, as no recipe of its own has."""
    parts = recipe.values() if isinstance(recipe, Mapping) else ()
    return any(isinstance(part, Mapping) and part and "name" not in part for part in parts)


def _written(component: ComponentSpec) -> dict[str, Any]:
    return {"name": component.name, **component.options}


def _chain(refiners: tuple[ComponentSpec, ...]) -> dict[str, Any]:
    return {"refiners": [_written(one) for one in refiners]} if refiners else {}


def _rest(labelling: Labelling) -> dict[str, Any]:
    parts = {role: getattr(labelling, role) for role in Labelling.model_fields}
    return {role: _written(part) if isinstance(part, ComponentSpec) else part for role, part in parts.items() if part}
