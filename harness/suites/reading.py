"""Reading suites: plain YAML without surprises, includes, overrides and environment variables."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from types import NoneType
from typing import TypeGuard

import yaml

from settings.errors import UserError, unknown_name
from settings.options import HOME_OF_A_USER

__all__ = ["expand_variables", "merged", "override", "put", "read_with_includes"]

# A suite is a page of text; what is larger is another file, given by mistake.
MAX_BYTES = 1 << 20
MAX_DEPTH = 50
"""Of lists and mappings in each other: what Python walks through by calling itself ends at some hundreds."""
NAMES = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("bool", "int", "float"))
"""YAML's tags of plain keys that are taken as text: `on`, `3`, `0.5`."""
UNREADABLE = (yaml.YAMLError, RecursionError, ValueError, LookupError, TypeError, AttributeError)
"""What PyYAML raises: its own errors, and those of Python for values that its tags do not fit."""


class _Loader(yaml.SafeLoader):
    """Plain YAML: a key given twice is an error, and aliases are refused (they can grow without bound)."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
            raise yaml.YAMLError(f"an alias in line {line}; write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        keys = set()
        for key_node, _ in node.value:
            # A level of a grid may be called on, or 3: the names of keys are text as it was written.
            if key_node.tag in NAMES:
                key_node.tag = "tag:yaml.org,2002:str"
            key = self.construct_object(key_node, deep=True)
            if key in keys:
                raise yaml.YAMLError(f"key '{key}' twice in line {node.start_mark.line + 1} or below")
            keys.add(key)
        return super().construct_mapping(node, deep)


def read_with_includes(path: Path, find: Callable[[str], Path], seen: tuple[Path, ...] = ()) -> dict[str, object]:
    """The file's mapping over those that its `include:` names (beside it, or by `find`); raises UserError."""
    if path.resolve() in seen:
        raise UserError(path, "an include of itself", "includes that lead to other files")
    content = _read_yaml(path)
    # Before merging, which forgets which of the files named them.
    if "plugins" in content:
        content["plugins"] = _beside(path, content["plugins"])
    includes = content.pop("include", [])
    if not isinstance(includes, list):
        includes = [includes]
    base: dict[str, object] = {}
    for name in includes:
        included = _included(path, name, find)
        base = merged(base, read_with_includes(included, find, (*seen, path.resolve())))
    # Name and description are of the included suite alone.
    base.pop("name", None)
    base.pop("description", None)
    return merged(base, content)


def merged(base: Mapping[str, object], over: Mapping[str, object]) -> dict[str, object]:
    """`over` wins; mappings are merged key by key, everything else is replaced.

    A component of another name is another component: it takes none of the old one's options. The size at
    which a backbone sees photos is the suite's, whichever backbone it is.
    """
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        if _is_mapping(old) and _is_mapping(value) and value.get("name", old.get("name")) == old.get("name"):
            result[key] = merged(old, value)
        elif key == "backbone" and _is_mapping(old) and _is_mapping(value) and "size" in old:
            result[key] = {"size": old["size"], **value}
        else:
            result[key] = value
    return result


def override(content: dict[str, object], assignment: str) -> None:
    """Apply one `key.path=value` (a YAML value) in place; raises UserError for another form."""
    path, equals, text = assignment.partition("=")
    if not equals or not path:
        raise UserError("--set", f"'{assignment}'", "key.path=value")
    where = f"--set {path}"
    value = _parsed(text, where, "a YAML value")
    parents = path.split(".")[:-1]
    if len(parents) >= MAX_DEPTH:
        raise UserError("--set", f"a key of {len(parents) + 1} parts", f"at most {MAX_DEPTH}")
    recipes = content.get("recipes")
    # A mistyped recipe would be a new one without parts, refused for what it lacks and not for its name.
    if parents[:1] == ["recipes"] and len(parents) > 1 and isinstance(recipes, dict) and parents[1] not in recipes:
        raise unknown_name(where, "recipe", parents[1], map(str, recipes))
    put(content, path, value, where)


def put(content: dict[str, object], path: str, value: object, where: str) -> None:
    """Set what lies at a dotted path, in place; raises UserError, at `where`, for a path through what is no mapping."""
    *parents, last = _keys(path)
    place = content
    for key in parents:
        child = place.setdefault(key, {})
        if isinstance(child, str):
            # A component written as its bare name takes options now.
            child = place[key] = {"name": child}
        if not isinstance(child, dict):
            raise UserError(where, f"'{key}' that holds {child!r}", "a mapping at that place")
        place = child
    place[last] = value


def _keys(path: str) -> list[str]:
    """The keys of a dotted path; the ranges of a search are by paths of their own, each of which is one key."""
    keys = path.split(".")
    for ranges in (["search", "ranges"], ["search", "ranges_of"]):
        if keys[:2] == ranges:
            # Of `ranges_of` the recipe's name comes first.
            before = 2 if ranges[1] == "ranges" else 3
            return [*keys[:before], ".".join(keys[before:])] if keys[before:] else keys
    return keys


def expand_variables(content: Mapping[str, object], where: str) -> dict[str, object]:
    """`${NAME}` in any text becomes the environment variable; raises UserError where it is not set."""
    return {key: _expanded(value, f"{where}: {key}") for key, value in content.items()}


def _expanded(value: object, where: str) -> object:
    if isinstance(value, dict):
        return expand_variables(value, where)
    if isinstance(value, list):
        return [_expanded(child, where) for child in value]
    if isinstance(value, str):
        return re.sub(r"\$\{(\w+)\}", lambda found: _variable(found[1], where), value)
    return value


def _variable(name: str, where: str) -> str:
    if name not in os.environ:
        raise UserError(where, f"${{{name}}}, which is not set", "an environment variable", f"export {name}=…")
    return os.environ[name]


def _read_yaml(path: Path) -> dict[str, object]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(path, f"{path.stat().st_size} bytes", f"a suite of at most {MAX_BYTES}")
        # Editors on Windows begin a file with a byte order mark.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(path, f"unreadable YAML ({error})", "a suite in YAML") from None
    content = _parsed(text, path, "a suite in YAML")
    if not isinstance(content, dict):
        raise UserError(path, f"a {type(content).__name__}", "a mapping with names as keys")
    return content


def _parsed(text: str, where: object, expected: str) -> object:
    """The plain value that YAML text stands for: text, numbers, lists, mappings with names as keys."""
    try:
        content: object = yaml.load(text, _Loader)
    except UNREADABLE as error:
        raise UserError(where, f"unreadable YAML ({error})", expected) from None
    _refuse_odd(content, where)
    return content


def _refuse_odd(value: object, where: object, depth: int = 0) -> None:
    """Raise UserError for what YAML knows and suites do not: dates, bytes, sets, numbers and nesting without end."""
    if depth > MAX_DEPTH:
        raise UserError(where, "lists and mappings in each other without end", f"at most {MAX_DEPTH} deep")
    if isinstance(value, dict):
        for key, child in value.items():
            if not isinstance(key, str):
                raise UserError(where, f"the key {key!r}"[:80], "a name", "put it in quotes")
            _refuse_odd(child, where, depth + 1)
    elif isinstance(value, list):
        for child in value:
            _refuse_odd(child, where, depth + 1)
    elif isinstance(value, int) and value.bit_length() > 63:
        # Sizes and rng seeds end in arrays of 64 bits.
        raise UserError(where, f"a number of {value.bit_length()} bits", "at most 63")
    elif not isinstance(value, (str, int, float, NoneType)):
        found = f"{value!r}, a {type(value).__name__}"
        raise UserError(where, found, "text, numbers, lists and mappings", "put text in quotes")


def _included(path: Path, name: object, find: Callable[[str], Path]) -> Path:
    try:
        if isinstance(name, str):
            beside = path.parent / _at_home(name, f"{path}: include")
            if beside.is_file():
                return beside
            return find(name)
    except OSError:  # no file system holds such a name
        pass
    raise UserError(f"{path}: include", repr(name), "a suite's name or a YAML file")


def _beside(path: Path, plugins: object) -> object:
    """Plug-in files are named relative to the file that names them, whoever includes it."""
    if not isinstance(plugins, list):
        return plugins
    where = f"{path.name}: plugins"
    found = []
    for plugin in plugins:
        name = _expanded(plugin, where)
        if isinstance(name, str):
            name = str(path.parent / _at_home(name, where))
        found.append(name)
    return found


def _at_home(name: str, where: str) -> Path:
    """The path with its `~` as the home that it stands for; raises UserError where nobody is called so."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise UserError(where, repr(name), HOME_OF_A_USER) from None


def _is_mapping(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, Mapping)
