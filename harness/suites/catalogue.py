"""Every component that suites may name, with its options: what `seedbed components` prints."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from textwrap import shorten
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from settings.discovery import REGISTRIES, Registry
from settings.errors import UserError, unknown_name

__all__ = ["ComponentEntry", "OptionEntry", "catalogue", "described_component", "to_lines"]

PLAIN_TYPES = {"bool": "true or false", "int": "whole number", "float": "number", "str": "text", "Path": "path"}
ABOUT = 120
"""Letters that the list shows of what a component says of itself."""
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "multiple_of": "a multiple of"}


class OptionEntry(NamedTuple):
    """One option of a component; those of a mapping are named with it: `training.epochs`."""

    name: str
    type: str
    """In the words of YAML, with the bounds of numbers."""
    default: str
    """As YAML writes it; empty where the option must be given."""
    description: str
    apply_only: bool = False
    """Whether a change of it trains nothing anew."""


class ComponentEntry(NamedTuple):
    """One component as suites name it."""

    kind: str
    """In the plural: `localizers`."""
    name: str
    about: str
    """The first paragraph of what its file says of itself."""


def catalogue() -> list[ComponentEntry]:
    """All components that are installed, kind by kind; what another distribution breaks is told in its place."""
    found: list[ComponentEntry] = []
    for kind, registry in REGISTRIES.items():
        for name in registry.names():
            try:
                about = _about(registry.load(name))
            except UserError as error:
                about = f"cannot be used: {error}"
            found.append(ComponentEntry(kind, name, about))
    return found


def described_component(name: str) -> list[tuple[ComponentEntry, list[OptionEntry]]]:
    """The components of this name, of whatever kind, each with its options.

    Raises UserError, with the nearest name, where there is none.
    """
    kinds = [registry for registry in REGISTRIES.values() if name in registry.names()]
    if not kinds:
        every = {each for registry in REGISTRIES.values() for each in registry.names()}
        raise unknown_name("components", "component", name, every)
    return [_described(registry, name) for registry in kinds]


def to_lines(entries: Sequence[ComponentEntry]) -> Iterator[str]:
    """The list for a terminal: a line for each kind, and below it one for each component."""
    width = max(len(entry.name) for entry in entries)
    kind = ""
    for entry in entries:
        if entry.kind != kind:
            kind = entry.kind
            yield kind
        yield f"  {entry.name:{width}}  {shorten(entry.about, ABOUT, placeholder=' …')}"


def _described(registry: Registry, name: str) -> tuple[ComponentEntry, list[OptionEntry]]:
    component = registry.load(name)
    apply_only: frozenset[str] = getattr(component, "apply_options", frozenset())
    options = list(_options(component.options_model, None, "", apply_only))
    return ComponentEntry(registry.kind, name, _about(component)), options


def _about(component: Any) -> str:
    """The first paragraph of its module's docstring; of its own where the module has none."""
    text = sys.modules[component.__module__].__doc__ or component.__doc__ or ""
    return " ".join(text.strip().partition("\n\n")[0].split())


def _options(
    model: type[BaseModel], defaults: BaseModel | None, prefix: str, apply_only: frozenset[str]
) -> Iterator[OptionEntry]:
    """The options of a model; `defaults` has the values of a mapping that is an option's default itself."""
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        if defaults is not None:
            default = getattr(defaults, name)
        is_apply_only = name in apply_only
        if isinstance(default, BaseModel):
            # A mapping: its entries are what somebody may write.
            inner = apply_only
            if is_apply_only:
                inner = frozenset(type(default).model_fields)
            yield from _options(type(default), default, f"{prefix}{name}.", inner)
            continue
        description = field.description or ""
        yield OptionEntry(f"{prefix}{name}", _type(field), _default(default), description, is_apply_only)
        # A mapping that may be left out: what its entries would be.
        for each in get_args(field.annotation):
            if _is_mapping(each):
                yield from _options(
                    each, None, f"{prefix}{name}.", frozenset(each.model_fields if is_apply_only else ())
                )


def _is_mapping(annotation: Any) -> bool:
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return is_model and annotation.__name__ != "ComponentSpec"


def _type(field: FieldInfo) -> str:
    bounds: list[str] = []
    for constraint in field.metadata:
        for name, sign in BOUNDS.items():
            bound = getattr(constraint, name, None)
            if bound is not None:
                bounds.append(f"{sign} {bound:g}")
    return ", ".join([_words(field.annotation), *bounds])


def _words(annotation: Any) -> str:
    """A type in the words of YAML; what has none is told by its name."""
    if annotation is None or annotation is type(None):
        return "null"
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    if get_origin(annotation) in (tuple, list, frozenset, set):
        each = [argument for argument in get_args(annotation) if argument is not Ellipsis]
        return f"list of {_words(each[0])}" if each else "list"
    if get_origin(annotation) in (dict,):
        return "mapping"
    arguments = get_args(annotation)
    # `Annotated[X, …]` has X as its first argument, and a union its members.
    if hasattr(annotation, "__metadata__"):
        return _words(arguments[0])
    if arguments:
        return " | ".join(map(_words, arguments))
    name = getattr(annotation, "__name__", str(annotation))
    if name == "ComponentSpec":
        return "component"
    if _is_mapping(annotation):
        return "mapping"
    return PLAIN_TYPES.get(name, name)


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return ""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list | frozenset):
        return f"[{', '.join(map(_default, value))}]"
    return str(value) or "''"
