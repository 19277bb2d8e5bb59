"""Where results come from: commit, packages, hardware, and the sources that a component consists of."""

from __future__ import annotations

import ast
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

from harness.stages.numerics import cpu_class
from settings.discovery import REGISTRIES

__all__ = ["OURS", "PACKAGES", "ROOT", "modules_imported_by", "provenance", "sources_of", "stale_sources"]

ROOT = Path(__file__).parent.parent.parent
"""The folder that our packages lie in."""
OURS = ("harness", "methods", "settings", "results")
_CODE = "code-1:"
"""How hashes of sources begin that `sources_of` makes in this way; another way gets another beginning."""
_PARSING = Lock()
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
    """`code-1:` and the sha256 over what computes in a module and in all modules that it imports, directly or not.

    Of these, ours count, and those of the module's own package, where it comes from another distribution. What computes
    is the syntax tree without docstrings: neither comments nor layout are in it.
    """
    return _CODE + _hash_over(module, _code_in)


@cache
def _texts_of(module: str) -> str:
    """What records had before `code-1`: the sha256 over the whole texts of the same modules."""
    return _hash_over(module, Path.read_bytes)


def _hash_over(module: str, content_of: Callable[[Path], bytes]) -> str:
    contents: dict[str, bytes] = {}
    for path, root in _closure(module).items():
        # Named from the package's root on: a checkout in another place has the same sources.
        contents[path.relative_to(root).as_posix()] = content_of(path)
    parts = [name.encode() + b"\0" + content for name, content in sorted(contents.items())]
    return sha256(b"\0".join(parts)).hexdigest()


@cache
def _code_in(path: Path) -> bytes:
    words: list[str] = []
    _spell(_parsed(path), words)
    return "\n".join(words).encode("utf-8", "surrogatepass")


def _spell(node: object, words: list[str]) -> None:
    """Write a syntax tree down so that all versions of Python spell it alike: they differ in entries that are empty."""
    if isinstance(node, ast.AST):
        words.append(type(node).__name__)
        for name, entry in ast.iter_fields(node):
            if entry is not None and entry != [] and name != "kind":
                words.append(name)
                _spell(entry, words)
        words.append(")")
    elif isinstance(node, list):
        for entry in node:
            if not _is_text_alone(entry):
                _spell(entry, words)
        words.append("]")
    else:
        words.append(repr(node))


def _is_text_alone(node: object) -> bool:
    """Whether it is a docstring, or one below an entry of a class: a statement that is a text and does nothing."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def stale_sources(made_by: Mapping[str, str]) -> list[str]:
    """The modules whose sources are no longer those that made an artefact, by its record of module → hash."""
    found = []
    for module, sha in made_by.items():
        # By the kind of hash that the record has: older ones are of whole texts.
        now = sources_of(module) if sha.startswith(_CODE) else _texts_of(module)
        if now != sha:
            found.append(module)
    return sorted(found)


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
    return tuple(_names(_parsed(path), package))


# Not kept: trees take fifty times the memory of what is read off them.
def _parsed(path: Path) -> ast.Module:
    # CPython counts the depth of trees for all threads together: where two parse at once, one may end in a SystemError.
    with _PARSING:
        return ast.parse(path.read_text(encoding="utf-8"))


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
