"""Where results come from: commit, packages, hardware, and the sources that a component consists of."""

from __future__ import annotations

import ast
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from harness.stages.numerics import cpu_class
from settings.discovery import REGISTRIES

__all__ = ["OURS", "PACKAGES", "ROOT", "modules_imported_by", "provenance", "sources_of", "stale_sources"]

ROOT = Path(__file__).parent.parent.parent
"""The folder that our packages lie in."""
OURS = ("harness", "methods", "settings", "results")
# Those that decide outcomes: rows name their versions, and a cluster's nodes must have the driver's.
PACKAGES = ("seedbed", "torch", "torchvision", "timm", "numba", "ray", "numpy", "pillow")


@cache
def provenance() -> dict[str, object]:
    """Commit and dirty flag (where this is a checkout), package versions, Python and CPU."""
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "packages": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "cpu": cpu_class(),
        "cores": os.cpu_count(),
    }


@cache
def sources_of(module: str) -> str:
    """sha256 over the texts of a module and of all modules that it imports, directly or not.

    Of these, ours count, and those of the module's own package, where it comes from another distribution.
    """
    texts: dict[str, bytes] = {}
    for path, root in _closure(module).items():
        # Named from the package's root on: a checkout in another place has the same sources.
        texts[path.relative_to(root).as_posix()] = path.read_bytes()
    parts = [name.encode() + b"\0" + text for name, text in sorted(texts.items())]
    return sha256(b"\0".join(parts)).hexdigest()


def stale_sources(made_by: Mapping[str, str]) -> list[str]:
    """The modules whose sources are no longer those that made an artefact, by its record of module → hash."""
    return sorted(module for module, sha in made_by.items() if sources_of(module) != sha)


def modules_imported_by(tree: ast.Module) -> list[str]:
    """The modules of ours that a plug-in's file imports itself, by name; what those import is not followed here."""
    found = set()
    for name in _names(tree, ""):
        # `from methods.base import Fit` yields the name of a class too, which has no file.
        if name.split(".")[0] in OURS and _file_of(name, ROOT):
            found.add(name)
    return sorted(found)


def _closure(module: str) -> dict[Path, Path]:
    """The files of a module and of all that it imports, by path, each with the folder that its package lies in."""
    top = module.split(".")[0]
    roots = dict.fromkeys(OURS, ROOT) | {top: _root_of(top)}
    found: dict[Path, Path] = {}
    pending = [module]
    while pending:
        name = pending.pop()
        root = roots.get(name.split(".")[0])
        if root is None:
            continue  # of a library: its version is told by `provenance`
        path = _file_of(name, root)
        if path is not None and path not in found:
            found[path] = root
            package = name
            if path.name != "__init__.py":
                package = name.rpartition(".")[0]
            pending += _imports(path, package)
    return found


def _root_of(top: str) -> Path | None:
    """The folder that a top-level package or module lies in; None for all that offers no component."""
    if top in OURS:
        return ROOT
    offering: set[str] = set()
    for registry in REGISTRIES.values():
        offering |= {point.module.split(".")[0] for point in registry.points().values()}
    if top not in offering:
        return None
    spec = find_spec(top)
    if spec is None:
        return None
    # A package names its folders, a module of one file that file.
    places = [*(spec.submodule_search_locations or ()), spec.origin or ""]
    return Path(places[0]).parent


@cache
def _imports(path: Path, package: str) -> tuple[str, ...]:
    return tuple(_names(ast.parse(path.read_text(encoding="utf-8")), package))


def _names(tree: ast.AST, package: str) -> Iterator[str]:
    """All names that might be modules, relative ones resolved within the package that the file belongs to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            above: list[str] = []
            if node.level:
                # One dot is the package itself, each further one the package above.
                parts = package.split(".")
                above = parts[: len(parts) + 1 - node.level]
            if node.module:
                above.append(node.module)
            base = ".".join(above)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _file_of(module: str, root: Path) -> Path | None:
    """The file of a module below a folder; None for names that are no modules."""
    base = root.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _git(*arguments: str) -> str:
    # Where our packages are installed, a repository above them would be somebody else's.
    if not (ROOT / ".git").exists():
        return ""
    try:
        result = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
