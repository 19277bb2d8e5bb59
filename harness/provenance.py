"""Where results come from: commit, packages, hardware, and the sources that a component consists of."""

from __future__ import annotations

import ast
import os
import platform
import subprocess
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness.numerics import cpu_class

ROOT = Path(__file__).parent.parent
OURS = ("harness", "methods", "settings", "results")
PACKAGES = ("seedbed", "torch", "torchvision", "timm", "segmentation-models-pytorch", "ray", "numpy", "pillow")


@cache
def provenance() -> dict[str, Any]:
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
    """sha256 over the texts of a module of ours and of all modules of ours that it imports, directly or not."""
    texts = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in _closure(module)}
    return sha256(b"\0".join(name.encode() + b"\0" + text for name, text in sorted(texts.items()))).hexdigest()


def _closure(module: str) -> set[Path]:
    found: set[Path] = set()
    pending = [module]
    while pending:
        path = _file_of(pending.pop())
        if path is not None and path not in found:
            found.add(path)
            pending += _imports(path)
    return found


@cache
def _imports(path: Path) -> tuple[str, ...]:
    return tuple(_names(ast.parse(path.read_text(encoding="utf-8"))))


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _file_of(module: str) -> Path | None:
    """The file of a module of ours; None for other packages and for names that are no modules."""
    if module.split(".")[0] not in OURS:
        return None
    base = ROOT.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _git(*arguments: str) -> str:
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
