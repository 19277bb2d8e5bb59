"""The space that a recipe is searched in: its dimensions, checked against the options, and recipes made of values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError

from harness.suites.recipes import components_of
from harness.suites.search import Range
from harness.suites.suite import Recipe, Suite
from settings.components import ComponentSpec
from settings.discovery import registry_of
from settings.errors import Impossible, UserError, unknown_name

__all__ = [
    "THRESHOLD",
    "Dimension",
    "Space",
    "Values",
    "check_paths",
    "label_of",
    "label_within",
    "samples_of",
    "space_of",
    "stepped",
]

Values: TypeAlias = dict[str, Any]
"""The values of a trial by path, as recipes have them; paths that are no option of what was chosen are left out."""
THRESHOLD = "labeler.threshold"
ROLES = ("localizer", "cue", "labeler", "segmenter")
WITHIN = 0.371
"""Where between its bounds a range is tried beside them: at no round number."""


@dataclass(frozen=True)
class Dimension:
    """One option that is searched."""

    path: str
    range: Range

    @property
    def parts(self) -> tuple[str, ...]:
        """The path's names: the component first, then its option, and what lies in that."""
        return tuple(self.path.split("."))

    @property
    def component(self) -> str:
        """The place of the component whose option it is: `localizer`, `refiners.0`."""
        return ".".join(self.parts[:2]) if self.parts[0] == "refiners" else self.parts[0]

    @property
    def option(self) -> tuple[str, ...]:
        """The option's path within its component; empty where the component itself is chosen."""
        return self.parts[2:] if self.parts[0] == "refiners" else self.parts[1:]


@dataclass(frozen=True)
class Space:
    """What is searched in one recipe."""

    name: str
    """The recipe's."""
    recipe: Recipe
    dimensions: tuple[Dimension, ...]
    """Components before the options that depend on which of them is chosen."""
    threshold_is_free: bool
    """Whether the threshold is read off the sweep."""

    @cached_property
    def is_flat(self) -> bool:
        """Whether every option is there whatever is chosen."""
        return all(each.option and not each.range.when for each in self.dimensions)

    def is_active(self, dimension: Dimension, values: Values) -> bool:
        """Whether the option is there with what the values before it have chosen."""
        if self.is_flat:
            return True
        for path, wanted in dimension.range.when.items():
            if _value_at(self.made_of(values), path) != wanted:
                return False
        return not dimension.option or _has_option(_component_at(self.made_of(values), dimension), dimension)

    def made_of(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The recipe's content with the values in their places; not yet checked."""
        # A copy through JSON: what is set into it must not change the suite's own recipe.
        content: dict[str, Any] = json.loads(json.dumps(self.recipe.model_dump(mode="json")))
        for path, value in values.items():
            _set(content, Dimension(path, Range(free=True)), value)
        return content

    def recipe_of(self, values: Mapping[str, Any]) -> Recipe:
        """The recipe with the values; raises UserError where they do not make one."""
        try:
            return Recipe.model_validate(self.made_of(values))
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(f"search, recipe {self.name}", f"values {values}", first["msg"]) from None

    def defaults(self, suite: Suite) -> Values:
        """The values of the recipe as it is written, at every path that is searched and is there."""
        components = components_of(self.name, self.recipe, suite)
        found: Values = {}
        for dimension in self.dimensions:
            if not dimension.option:
                written = _component_at(self.made_of({}), dimension)
                if written is not None:
                    found[dimension.path] = _as_written(written)
            elif self.is_active(dimension, {}):
                role, _, place = dimension.component.partition(".")
                component = components.refiners[int(place)] if place else getattr(components, role)
                value: Any = component.options
                for part in dimension.option:
                    value = value[part] if isinstance(value, Mapping) else getattr(value, part)
                found[dimension.path] = value.model_dump(mode="json") if isinstance(value, BaseModel) else _plain(value)
        return found

    def step_of(self, dimension: Dimension) -> int:
        """The first rung that it changes: 0 the localizer's, then one a refiner, the last of them the labels' too."""
        role, refiners = dimension.parts[0], len(self.recipe.refiners)
        if role == "refiners":
            place = dimension.parts[1:2]
            return min(int(place[0]) + 1 if place else 1, refiners)
        return {"localizer": 0, "segmenter": refiners + 1}.get(role, refiners)


def space_of(name: str, suite: Suite) -> Space:
    """The space of a recipe of a suite with `search:`, every bound and choice tried against the options themselves.

    Raises UserError for values that an option does not take, and for a recipe that none of the ranges concerns.
    """
    assert suite.search is not None
    where, recipe = suite.place_of("search.ranges"), suite.all_recipes()[name]
    ranges = suite.search.ranges_for(name)
    free = _free(name, recipe, ranges, suite)
    every = _in_order([Dimension(path, written) for path, written in ranges.items() if not written.free], suite, name)
    dimensions = [dimension for dimension in every if dimension.path in _offered(recipe, every)]
    space = Space(name, recipe, tuple(dimensions), free)
    if suite.search.objective.is_image_level:
        for dimension in dimensions:
            if dimension.parts[0] != "localizer":
                expected = "options of the localizer, whose classifier the objective measures"
                raise UserError(
                    _place(dimension.path, suite, name), "an option that image_level does not read", expected
                )
    if not dimensions and not free:
        raise UserError(where, f"no option of recipe '{name}'", "at least one range that concerns it")
    for dimension in dimensions:
        _check_values(space, dimension, suite)
    return space


def _in_order(dimensions: Sequence[Dimension], suite: Suite, name: str) -> list[Dimension]:
    """Components first, since which options there are depends on them; then each behind those that its `when` names.

    Raises UserError where `when`s go round in a circle.
    """
    left = sorted(dimensions, key=lambda dimension: len(dimension.option) > 0)
    ordered: list[Dimension] = []
    while left:
        paths = {dimension.path for dimension in left}
        ready = next((each for each in left if not paths & set(each.range.when)), None)
        if ready is None:
            where, found = _place(left[0].path, suite, name), f"a `when` that waits for {', '.join(sorted(paths))}"
            raise UserError(where, found, "ranges whose `when`s do not go round in a circle")
        left.remove(ready)
        ordered.append(ready)
    return ordered


def _place(path: str, suite: Suite, name: str) -> str:
    """Where the range of a path was given for a recipe, for messages."""
    assert suite.search is not None
    own = suite.search.ranges_of.get(name, {})
    return suite.place_of(f"search.ranges_of.{name}.{path}" if path in own else f"search.ranges.{path}")


def _free(name: str, recipe: Recipe, ranges: Mapping[str, Range], suite: Suite) -> bool:
    """Whether the recipe's threshold is read off the sweep."""
    assert suite.search is not None
    for path, written in ranges.items():
        if written.free and path != THRESHOLD:
            raise UserError(_place(path, suite, name), "free", f"a range; {THRESHOLD} alone can be free")
    if THRESHOLD not in ranges or not ranges[THRESHOLD].free:
        return False
    if suite.search.objective.is_image_level:
        found, expected = "free with the objective image_level", "an objective that reads masks"
        raise UserError(_place(THRESHOLD, suite, name), found, expected, "leave it out")
    labeler = components_of(name, recipe, suite).labeler
    return labeler is not None and labeler.declared_threshold is not None


def check_paths(names: list[str], suite: Suite) -> None:
    """Raise UserError, with the nearest path, for a range that is no option of any of these recipes."""
    assert suite.search is not None
    recipes = [suite.all_recipes()[name] for name in names]
    ranges = {(path, name): written for name in names for path, written in suite.search.ranges_for(name).items()}
    every = [Dimension(path, written) for (path, _), written in ranges.items()]
    known = {path for recipe in recipes for path in _offered(recipe, every)}
    for (path, name), written in ranges.items():
        for needed in (path, *written.when):
            if needed not in known:
                raise unknown_name(_place(path, suite, name), "option", needed, known)


def _offered(recipe: Recipe, dimensions: list[Dimension]) -> set[str]:
    """The paths that there are in a recipe, whichever of its ranges' components are chosen."""
    content = recipe.model_dump(mode="json")
    components: dict[str, list[Any]] = {}
    for role in ROLES:
        components[role] = [content[role]] if content[role] else []
    for number, refiner in enumerate(content["refiners"]):
        components[f"refiners.{number}"] = [refiner]
    for dimension in dimensions:
        if dimension.range.choice is not None and not dimension.option:
            if dimension.path == "refiners":
                for chain in dimension.range.choice:
                    # What is no list is told by the recipe itself.
                    for number, refiner in enumerate(chain if isinstance(chain, list | tuple) else ()):
                        components.setdefault(f"refiners.{number}", []).append(refiner)
            elif dimension.component in components:
                components[dimension.component] += dimension.range.choice
    found = {"refiners"}
    for place, offered in components.items():
        if offered:
            found.add(place)
        for written in offered:
            found |= {f"{place}.{path}" for path in _paths_of(place, written)}
    return found


def _paths_of(place: str, written: Any) -> Iterator[str]:
    """The options of a component as it is written in a recipe, those of mappings with their names before them."""
    role = "refiner" if place.startswith("refiners") else place
    try:
        spec = ComponentSpec.model_validate(written)
        model = registry_of(role).load(spec.name, place).options_model
    except ValidationError:
        return
    yield from _paths_in(model)


def _paths_in(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        inner = field.get_default(call_default_factory=True, validated_data={})
        if isinstance(inner, BaseModel):
            yield from (f"{name}.{path}" for path in _paths_in(type(inner)))


def _check_values(space: Space, dimension: Dimension, suite: Suite) -> None:
    """Raise UserError where the option does not take the bounds, the choices, or what lies between the bounds."""
    written = dimension.range
    for value in samples_of(written):
        values = {**written.when, dimension.path: value}
        needed = _needed_choice(space, dimension)
        try:
            components_of(space.name, space.recipe_of(needed | values), suite)
        except Impossible:
            continue
        except UserError as error:
            where = _place(dimension.path, suite, space.name)
            line = str(error).partition(": found ")[2] or str(error)
            found, _, expected = line.partition("; expected ")
            # Of a component the error tells what in it is wrong, of an option the value says all.
            raise UserError(where, label_of(value) if dimension.option else found, expected) from None


def _needed_choice(space: Space, dimension: Dimension) -> Values:
    """The first choice of a component with which the option is there; nothing where it is there anyway."""
    if not dimension.option or _has_option(_component_at(space.made_of({}), dimension), dimension):
        return {}
    for other in space.dimensions:
        for value in other.range.choice or ():
            if not other.option and _has_option(
                _component_at(space.made_of({other.path: value}), dimension), dimension
            ):
                return {other.path: value}
    return {}


def samples_of(written: Range) -> list[Any]:
    """Values of a range that stand for all of them."""
    if written.choice is not None:
        return list(written.choice)
    assert written.bounds is not None
    low, high = written.bounds
    if written.is_whole:
        return [low, high]
    if written.step is not None:
        return [low, stepped(low, written.step, int((high - low) / written.step + 1e-9))]
    return [low, high, low + WITHIN * (high - low)]


def stepped(low: float, step: float, count: int) -> float:
    """The value so many steps above the lower end, without the dust of binary fractions."""
    return round(low + count * step, 12)


def label_of(value: Any) -> str:
    """A value as tables and plots show it: numbers in four digits, a component by its name and options."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, sort_keys=True)
    return str(value)


def label_within(dimension: Dimension, value: Any) -> str:
    """A value as tables show it beside the others of its range: components by their names where these differ."""
    choices = dimension.range.choice
    if dimension.option or choices is None:
        return label_of(value)
    names = [_name_of(choice) for choice in choices]
    return _name_of(value) if len(set(names)) == len(names) else label_of(value)


def _name_of(component: Any) -> str:
    """The name of a component, or those of a chain of refiners, without options."""
    if isinstance(component, list | tuple):
        return " + ".join(map(_name_of, component)) or "none"
    return str(component["name"]) if isinstance(component, Mapping) else label_of(component)


def _has_option(component: Any, dimension: Dimension) -> bool:
    if component is None:
        return False
    return ".".join(dimension.option) in set(_paths_of(dimension.component, component))


def _component_at(content: Mapping[str, Any], dimension: Dimension) -> Any:
    """What the recipe has at the component's place; None where there is nothing."""
    role, _, place = dimension.component.partition(".")
    if role != "refiners":
        return content.get(role)
    chain = content.get("refiners") or []
    if not place:
        return chain
    return chain[int(place)] if place.isdigit() and int(place) < len(chain) else None


def _value_at(content: Mapping[str, Any], path: str) -> Any:
    """What the recipe has at a path: a component by its name alone, an option with its default where none is written.

    None where the component has no such option, or does not take what is written.
    """
    dimension = Dimension(path, Range(free=True))
    component = _component_at(content, dimension)
    if not dimension.option:
        return component["name"] if isinstance(component, Mapping) else component
    role, _, place = dimension.component.partition(".")
    try:
        spec = ComponentSpec.model_validate(component)
        model = registry_of("refiner" if place else role).load(spec.name, dimension.component).options_model
        value: Any = model.model_validate(spec.options)
        for part in dimension.option:
            value = value[part] if isinstance(value, Mapping) else getattr(value, part)
    except (ValidationError, LookupError, AttributeError):
        return None
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else _plain(value)


def _set(content: dict[str, Any], dimension: Dimension, value: Any) -> None:
    """Put a value into a recipe's content, in place; a path that is not there is left to the checks of recipes."""
    role, _, place = dimension.component.partition(".")
    if not dimension.option:
        if not place:
            content[role] = value
        else:
            content["refiners"][int(place)] = value
        return
    component = _component_at(content, dimension)
    if component is None:
        return
    spec = ComponentSpec.model_validate(component).model_dump(mode="json")
    inner: dict[str, Any] = spec["options"]
    *parents, last = dimension.option
    for part in parents:
        inner = inner.setdefault(part, {})
    inner[last] = value
    if place:
        content["refiners"][int(place)] = spec
    else:
        content[role] = spec


def _as_written(component: Any) -> Any:
    """A component, or a chain of them, as users would write it: the bare name where it has no options."""
    if isinstance(component, list):
        return [_as_written(one) for one in component]
    options = component.get("options", {})
    return {"name": component["name"], **options} if options else component["name"]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
