"""A component as users name it, and its options as its own model; mistakes become one line that names the key."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from settings.discovery import Registry, registry_of
from settings.errors import Contradictory, UserError, unknown_name
from settings.options import Options

__all__ = ["ComponentSpec", "build_component", "constructed", "normalised", "option_error", "validated_options"]

EXPECTED = {
    **dict.fromkeys(("tuple_type", "list_type"), "a list"),
    **dict.fromkeys(("dict_type", "model_type"), "a mapping"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "string_type": "text",
    "string_too_short": "text of at least {min_length} characters",
    "string_pattern_mismatch": "text of the form {pattern}",
    "too_short": "a list of at least {min_length}",
}
"""pydantic's types of error, and what users should have written."""


class ComponentSpec(Options):
    """A component and its options; in YAML a bare name, or `{name: …, option: value, …}`."""

    name: str = Field(min_length=1)
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, content: Any) -> Any:
        if isinstance(content, str):
            return {"name": content, "options": {}}
        if isinstance(content, Mapping) and set(content) != {"name", "options"}:
            return {"name": content.get("name", ""), "options": {k: v for k, v in content.items() if k != "name"}}
        return content


def build_component(kind: Registry | str, component: ComponentSpec | Mapping[str, Any], where: str) -> Any:
    """The component object.

    `kind` is a registry, or a role in the singular (`localizer`); `component` is what a suite says, or a mapping with
    `name` and `options`, as stages carry it, whole. What a suite leaves out of options that belong together, as
    `training: {epochs: 5}` does, is as the component has it. Raises UserError, at the place `where`, for an unknown
    name (with the nearest one) and for unknown or wrong options.
    """
    registry = registry_of(kind) if isinstance(kind, str) else kind
    if isinstance(component, ComponentSpec):
        component_class = registry.load(component.name, where)
        return constructed(component_class, filled(component_class.options_model, component.options), where)
    return constructed(registry.load(component["name"], where), component["options"], where)


def filled(model: type[BaseModel], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with every mapping of a model's own options completed by what its default says otherwise than it."""
    found = dict(options)
    for name, field in model.model_fields.items():
        given, default = found.get(name), field.default
        if isinstance(given, Mapping) and isinstance(default, Options):
            found[name] = default.model_dump(exclude_unset=True) | filled(type(default), given)
    return found


def constructed(component_class: Any, options: Mapping[str, Any], where: str) -> Any:
    """An object of a component's class, its options checked; raises UserError that names a wrong option."""
    return component_class(validated_options(component_class.options_model, options, where))


def normalised(registry: Registry, component: ComponentSpec, where: str) -> ComponentSpec:
    """The component with its options in the one form that stages carry to any machine.

    Paths are absolute, and a component among the options is a mapping of `name` and `options`, however it was written.
    Options that were not given stay away. Raises UserError for unknown names, unknown options and wrong values.
    """
    options = validated_options(registry.load(component.name, where).options_model, component.options, where)
    content = options.model_dump(mode="json", exclude_unset=True)
    for name, field in type(options).model_fields.items():
        nested = getattr(options, name)
        kinds = [each for each in field.metadata if isinstance(each, Registry)]
        if name in content and kinds and isinstance(nested, ComponentSpec):
            content[name] = normalised(kinds[0], nested, f"{where}.{name}").model_dump(mode="json")
    return ComponentSpec(name=component.name, options=content)


def validated_options(model: type[BaseModel], options: Mapping[str, Any], where: str) -> Any:
    """A component's options as its own model; raises UserError that names the option."""
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        raise option_error(error, model, lambda key: ".".join(filter(None, [where, key]))) from None


def option_error(error: ValidationError, model: type[BaseModel], place: Callable[[str], str]) -> UserError:
    """One of the validation errors as one line; `place` says where a key of the model was given.

    An unknown key comes first, since it is often why another one is missing, and with the nearest known key. What a
    model refuses as a whole, all its keys being right, is Contradictory.
    """
    errors = error.errors()
    first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    location = [str(part) for part in first["loc"]]
    name = place(".".join(location))
    if first["type"] == "extra_forbidden":
        return unknown_name(name, "key", location[-1], _known_keys(model, location[:-1]))
    if first["type"] == "missing":
        return UserError(name, "nothing", "a value")
    if first["type"] == "value_error" and not location:
        return Contradictory(name, "options that do not go together", _expected(first))
    return UserError(name, repr(first["input"])[:80], _expected(first))


def _expected(error: ErrorDetails) -> str:
    """What pydantic expected, in the words of YAML where pydantic speaks of Python."""
    if plain := EXPECTED.get(error["type"]):
        return plain.format(**error.get("ctx", {}))
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return message[:1].lower() + message[1:]


def _known_keys(model: type[BaseModel], location: Sequence[str]) -> list[str]:
    """The keys that are allowed at a place inside a model."""
    for part in location:
        field = model.model_fields.get(part)
        nested = _model_in(field.annotation) if field else None
        model = nested or model
    # As users write them, where Python has another name for it.
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in getattr(annotation, "__args__", ()) if (model := _model_in(part))), None)
