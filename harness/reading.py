"""Reading suites: plain YAML without surprises, includes, overrides and environment variables."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import yaml

from settings.errors import UserError, unknown_name


class _Loader(yaml.SafeLoader):
    """Plain YAML: a key given twice is an error, and aliases are refused (they can grow without bound)."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
            raise yaml.YAMLError(f"an alias in line {line}; write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"key '{key}' twice in line {node.start_mark.line + 1} or below")
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise UserError(path, f"no readable YAML ({error})", "a suite in YAML") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(path, f"a {type(content).__name__}", "a mapping with names as keys")
    return content


def read_with_includes(path: Path, find: Callable[[str], Path], seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The file's mapping over those that its `include:` names (beside it, or by `find`); raises UserError."""
    if path.resolve() in seen:
        raise UserError(path, "an include of itself", "no circle")
    content = _read_yaml(path)
    includes = content.pop("include", [])
    base: dict[str, Any] = {}
    for name in [includes] if isinstance(includes, str) else includes:
        if not isinstance(name, str):
            raise UserError(f"{path}: include", repr(name), "a suite's name or a YAML file")
        beside = path.parent / name
        included = beside if beside.is_file() else find(name)
        base = _merged(base, read_with_includes(included, find, (*seen, path.resolve())))
    return _merged(base, content)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` wins; mappings are merged key by key, everything else is replaced.

    A component of another name is another component: it takes none of the old one's options.
    """
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = _merged(old, value) if _extends(old, value) else value
    return result


def _extends(old: Any, new: Any) -> TypeGuard[Mapping[str, Any]]:
    both = isinstance(new, Mapping) and isinstance(old, Mapping)
    return both and new.get("name", old.get("name")) == old.get("name")


def override(content: dict[str, Any], assignment: str) -> None:
    """Apply one `key.path=value` (a YAML value) in place; raises UserError for another form."""
    keys, equals, text = assignment.partition("=")
    if not equals or not keys:
        raise UserError("--set", f"'{assignment}'", "key.path=value")
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise UserError(f"--set {keys}", f"no readable YAML ({error})", "a YAML value") from None
    *parents, last = keys.split(".")
    recipes = content.get("recipes")
    if parents[:1] == ["recipes"] and len(parents) > 1 and isinstance(recipes, dict) and parents[1] not in recipes:
        raise unknown_name(f"--set {keys}", "recipe", parents[1], map(str, recipes))
    place: Any = content
    for key in parents:
        child = place.setdefault(key, {})
        if isinstance(child, str):
            # A component written as its bare name takes options now.
            child = place[key] = {"name": child}
        if not isinstance(child, dict):
            raise UserError(f"--set {keys}", f"'{key}' that holds {child!r}", "a mapping at that place")
        place = child
    place[last] = value


def expand_variables(content: Any, where: str) -> Any:
    """`${NAME}` in any text becomes the environment variable; raises UserError where it is not set."""
    if isinstance(content, dict):
        return {key: expand_variables(value, f"{where}: {key}") for key, value in content.items()}
    if isinstance(content, list):
        return [expand_variables(value, where) for value in content]
    return re.sub(r"\$\{(\w+)\}", lambda m: _variable(m[1], where), content) if isinstance(content, str) else content


def _variable(name: str, where: str) -> str:
    if name not in os.environ:
        raise UserError(where, f"${{{name}}}, which is not set", "an environment variable", f"export {name}=…")
    return os.environ[name]
