"""Every localizer × refiner chain × labeler of a suite's `combine:` as recipes; those under `recipes:` go over them.

It works on what was read, before overrides of recipes and before checks: so a combination takes any change that a
recipe of an included suite takes. Which combinations are impossible is found at planning, by
`harness.suites.recipes.possible_recipes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Annotated, NamedTuple

from pydantic import Field, ValidationError

from harness.suites.reading import merged
from settings.components import ComponentSpec, option_error
from settings.errors import UserError, unknown_name
from settings.options import Options

__all__ = ["MOST", "Combine", "RecipeName", "with_combinations"]

RecipeName = Annotated[str, Field(pattern=r"^\w[\w+.-]*$")]
Chain = tuple[ComponentSpec, ...]
UNNAMED = "none"
"""The refiner chain that is left out of names."""
# More combinations than these are a mistake.
MOST = 10_000


class Labelling(Options):
    """What follows the maps in a combination: the rest of a recipe."""

    labeler: ComponentSpec
    cue: ComponentSpec | None = None
    segmenter: ComponentSpec | None = None
    rng_seeds: tuple[int, ...] | None = None


class Combination(NamedTuple):
    """One of each part under the name that they give it; None for a part that was taken away."""

    name: str
    localizer: ComponentSpec | None
    refiners: Chain | None
    labelling: Labelling | None

    def recipe(self) -> dict[str, object] | None:
        """The recipe as it would be written; None where a part is missing."""
        if self.localizer is None or self.refiners is None or self.labelling is None:
            return None
        recipe: dict[str, object] = {"localizer": _written(self.localizer)}
        if self.refiners:
            recipe["refiners"] = [_written(refiner) for refiner in self.refiners]
        for role in Labelling.model_fields:
            part = getattr(self.labelling, role)
            if part:
                recipe[role] = part
            if isinstance(part, ComponentSpec):
                recipe[role] = _written(part)
        return recipe


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

    def combinations(self) -> Iterator[Combination]:
        """All of them, also those that lack a part which was taken away: `cam`, `cam+affinity+saliency`, …

        A name is that of its parts, but for refiners `none` and for the labeler that stands first, also where that
        one was taken away: names do not depend on what is left out.
        """
        first = next(iter(self.labelers))
        parts = product(self.localizers.items(), self.refiners.items(), self.labelers.items())
        for (localizer_name, localizer), (chain, refiners), (rule, labelling) in parts:
            name = localizer_name
            if chain != UNNAMED:
                name += f"+{chain}"
            if rule != first:
                name += f"+{rule}"
            if refiners is not None:
                refiners = self.refiners_of.get(localizer_name, {}).get(chain, refiners)
            yield Combination(name, localizer, refiners, labelling)

    @property
    def names(self) -> frozenset[str]:
        """The names of all combinations that have every part."""
        return frozenset(each.name for each in self.combinations() if each.recipe() is not None)


def with_combinations(content: Mapping[str, object], place: Callable[[str], str]) -> dict[str, object]:
    """What was read of a suite, its recipes over the combinations; `place` says where a key was given.

    Raises UserError for unknown keys, two combinations of one name, and a change to a combination that there is not.
    """
    recipes = content.get("recipes", {})
    if content.get("combine") is None or not isinstance(recipes, Mapping):
        return dict(content)
    combinations, taken_away = _named(_checked(content["combine"], place), place)
    kept = {}
    for name, recipe in recipes.items():
        if not _is_change(recipe) or name in combinations:
            kept[name] = recipe
        elif name not in taken_away:
            known = [*combinations, *(each for each in recipes if each != name)]
            raise unknown_name(place(f"recipes.{name}"), "combination", name, known)
        # What an included suite says of a combination that was taken away goes with it.
    return {**content, "recipes": merged(combinations, kept)}


def _checked(content: object, place: Callable[[str], str]) -> Combine:
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
    # Counted before any is made: three lists of a few hundred names are millions of recipes.
    count = len(combine.localizers) * len(combine.refiners) * len(combine.labelers)
    if count > MOST:
        raise UserError(place("combine"), f"{count} combinations", f"at most {MOST}")
    return combine


def _named(combine: Combine, place: Callable[[str], str]) -> tuple[dict[str, object], set[str]]:
    """The combinations as recipes by name, and the names of those that lack a part."""
    named: dict[str, object] = {}
    taken_away = set()
    for combination in combine.combinations():
        recipe = combination.recipe()
        if recipe is None:
            taken_away.add(combination.name)
            continue
        if combination.name in named:
            raise UserError(place("combine"), f"two combinations named '{combination.name}'", "one", "rename a part")
        named[combination.name] = recipe
    return named, taken_away


def _is_change(recipe: object) -> bool:
    """Whether it has options of a part whose name stands elsewhere, as no recipe of its own has."""
    if not isinstance(recipe, Mapping):
        return False
    return any(isinstance(part, Mapping) and part and "name" not in part for part in recipe.values())


def _written(component: ComponentSpec) -> dict[str, object]:
    return {"name": component.name, **component.options}
