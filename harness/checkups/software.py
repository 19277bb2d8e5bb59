"""Python and packages: their versions, whether they can be imported, and files that hide ours."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

from harness.checkups import Finding
from harness.stages.provenance import OURS, ROOT

REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[\w,.-]*\])?\s*>=\s*(?P<least>[\d.]+)(?P<extra>.*extra\s*==.*)?")
IMPORTED = ("numpy", "pyarrow", "torch", "torchvision", "timm", "segmentation_models_pytorch", "ray")
IMPORT_TIMEOUT_S = 120
INSTALL = f"{sys.executable} -m pip install"


def python() -> Iterator[Finding]:
    """The interpreter against what Seedbed's metadata asks for."""
    here = f"{platform.python_version()} ({sys.executable})"
    try:
        least = re.sub(r"[^\d.]", "", metadata("seedbed")["Requires-Python"] or "")
    except PackageNotFoundError:
        yield Finding("seedbed", "error", f"not installed; read from {ROOT}", f"{INSTALL} -e {ROOT}")
        return
    yield Finding("seedbed", "ok", f"{version('seedbed')} at {ROOT}")
    old = _numbers(platform.python_version()) < _numbers(least)
    yield Finding("python", "error" if old else "ok", here, f"use Python {least} or newer" if old else "")


def packages() -> Iterator[Finding]:
    """Each package that Seedbed needs against the lower bound of its metadata; all that are right in one line."""
    right, absent_extras = [], []
    for name, least, optional in requirements():
        found = _version(name)
        if found and _numbers(found) >= _numbers(least):
            right.append(f"{name} {found}")
        elif optional and not found:
            absent_extras.append(name)
        else:
            mend = f"{INSTALL} '{name}>={least}'"
            yield Finding(name, "error", f"{found or 'absent'}, and {least} or newer is needed", mend)
    yield Finding("packages", "ok", ", ".join(right) or "none")
    if absent_extras:
        mend = f"{INSTALL} {' '.join(absent_extras)}, if a suite asks for them"
        yield Finding("optional packages", "ok", f"absent: {', '.join(absent_extras)}", mend)


def imports() -> Iterator[Finding]:
    """Import the large packages in a process of its own: one that is broken may end it."""
    for name in IMPORTED:
        try:
            command = [sys.executable, "-c", f"import {name}"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_TIMEOUT_S, check=False)
            last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
        except subprocess.TimeoutExpired:
            last, done = f"no end after {IMPORT_TIMEOUT_S} s", None
        broken = done is None or done.returncode != 0
        mend = f"{INSTALL} --force-reinstall {name.replace('_', '-')}"
        yield Finding(
            f"import {name}", "error" if broken else "ok", last if broken else "works", mend if broken else ""
        )


def shadows() -> Iterator[Finding]:
    """Files that Python finds before our packages when it is started here, or through PYTHONPATH."""
    folders = [Path.cwd(), *(Path(part) for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part)]
    found = [path for folder in dict.fromkeys(folders) if folder.resolve() != ROOT for path in _hiding(folder)]
    for path in found:
        what = f"{path} hides Seedbed's package '{path.stem}' in notebooks and `python -m`"
        yield Finding("hidden packages", "warning", what, "rename it, or start Python in another folder")
    if not found:
        yield Finding("hidden packages", "ok", "none")


def _hiding(folder: Path) -> list[Path]:
    modules = [folder / f"{name}.py" for name in OURS if (folder / f"{name}.py").is_file()]
    # A folder without __init__.py hides nothing: Python prefers a whole package further on.
    return modules + [folder / name for name in OURS if (folder / name / "__init__.py").is_file()]


def requirements() -> list[tuple[str, str, bool]]:
    """(package, lower bound, whether it is optional), without what only developers need."""
    try:
        matches = [REQUIREMENT.match(text) for text in requires("seedbed") or ()]
    except PackageNotFoundError:
        return []
    found = [(match["name"], match["least"], match["extra"] or "") for match in matches if match]
    return [(name, least, bool(extra)) for name, least, extra in found if "dev" not in extra]


def _version(package: str) -> str:
    try:
        return version(package) or ""
    except PackageNotFoundError:
        return ""


def _numbers(text: str) -> tuple[int, ...]:
    """2.10.1+cu128 → (2, 10, 1)."""
    leading = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in leading[0].split(".")) if leading else ()
