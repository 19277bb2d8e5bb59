"""Imports among the four packages: they never lead round in a circle, and what others may import is declared."""

import ast
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

OURS = ("harness", "methods", "settings", "results")


def module_files() -> dict[str, Path]:
    """The files of all modules, by name; a package's is its `__init__.py`."""
    files = {}
    for package in OURS:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            parts = path.relative_to(REPOSITORY).with_suffix("").parts
            files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


FILES = module_files()


def executed(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a syntax tree that may run: all but those under `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield other
                yield from executed(other)
            continue
        yield child
        yield from executed(child)


def imports_in(text: str, importing: str, is_package: bool) -> set[str]:
    """The modules of ours that a text imports: of `from a import b` the module a.b, else a."""
    found = set()
    for node in executed(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = importing if is_package else importing.rpartition(".")[0]
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names = {f"{base}.{alias.name}" for alias in node.names}
            found |= names & FILES.keys()
            if names - FILES.keys():
                found.add(base)
    return found & FILES.keys() - {importing}


def module_graph() -> dict[str, set[str]]:
    return {
        name: imports_in(path.read_text(encoding="utf-8"), name, path.name == "__init__.py")
        for name, path in FILES.items()
    }


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The modules that lead back to themselves, in groups that reach each other (Tarjan's algorithm), sorted."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = lowest[name] = len(order)
        open_.append(name)
        for imported in sorted(graph[name]):
            if imported not in order:
                visit(imported)
                lowest[name] = min(lowest[name], lowest[imported])
            elif imported in open_:
                lowest[name] = min(lowest[name], order[imported])
        if lowest[name] == order[name]:
            group = open_[open_.index(name) :]
            del open_[open_.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in graph:
        if name not in order:
            visit(name)
    return sorted(found)


def test_imports_never_lead_round_in_a_circle() -> None:
    assert circles(module_graph()) == []


def declared(name: str, path: Path) -> set[str] | None:
    """The names in a module's `__all__`; None where it has none."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            is_plain = not any(isinstance(each, ast.Starred) for each in ast.walk(node.value))
            return set(ast.literal_eval(node.value) if is_plain else importlib.import_module(name).__all__)
    return None


DECLARED = {name: declared(name, path) for name, path in FILES.items()}


@pytest.mark.parametrize("package", ["results", "settings"])
def test_every_module_declares_what_others_may_import(package: str) -> None:
    modules = {name for name, path in FILES.items() if path.name != "__init__.py" and name.startswith(f"{package}.")}
    assert {name for name in modules if DECLARED[name] is None} == set()


def test_what_is_imported_is_declared() -> None:
    stray = set()
    for importing, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = DECLARED.get(node.module or "") if isinstance(node, ast.ImportFrom) else None
            if names is not None and isinstance(node, ast.ImportFrom):
                others = {alias.name for alias in node.names if f"{node.module}.{alias.name}" not in FILES}
                stray |= {f"{importing} imports {node.module}.{name}" for name in others - names}
    assert stray == set()


def test_what_is_declared_is_there() -> None:
    for name, names in DECLARED.items():
        tree = ast.parse(FILES[name].read_text(encoding="utf-8"))
        bound = {module.removeprefix(f"{name}.") for module in FILES}
        bound |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        bound |= {getattr(node, "name", "") for node in tree.body}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                bound |= {alias.asname or alias.name for alias in node.names}
        assert (names or set()) <= bound, name


def test_a_circle_is_found_where_there_is_one() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"f"}, "f": {"g"}, "g": {"e", "a"}}
    assert circles(graph) == [["b", "c"], ["e", "f", "g"]]


def test_what_counts_as_an_import() -> None:
    text = """
from typing import TYPE_CHECKING
import settings.records
from settings import errors
from settings.hashing import cache_folder
if TYPE_CHECKING:
    from settings.dataset import Dataset
else:
    import settings.lists
def late():
    from .options import Options
"""
    expected = {"records", "errors", "hashing", "lists", "options"}
    assert imports_in(text, "settings.guard", False) == {f"settings.{name}" for name in expected}
    relative = "from . import voc12\nfrom .. import records\nfrom ..lists import read_ids"
    expected = {"datasets.voc12", "records", "lists"}
    assert imports_in(relative, "settings.datasets", True) == {f"settings.{name}" for name in expected}
