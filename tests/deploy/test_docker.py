"""The image: hadolint, and that what is copied, pinned and run is what the docs say."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from setuptools import find_packages

from tests.conftest import REPOSITORY

FILE = REPOSITORY / "deploy" / "Dockerfile"
PROJECT: Mapping[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    """(instruction, the rest), comments gone and continued lines joined."""
    lines = [line for line in FILE.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines)).splitlines()
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in joined)]


def of(steps: list[tuple[str, str]], name: str) -> list[str]:
    return [rest for instruction, rest in steps if instruction == name]


def test_hadolint_finds_nothing() -> None:
    program = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert program, "pip install -e '.[dev]'"
    done = subprocess.run([program, str(FILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_user_is_nobody_special_and_starts_seedbed(steps: list[tuple[str, str]]) -> None:
    assert of(steps, "USER") == ["1000:1000"]
    assert [name for name, _ in steps].index("USER") > max(i for i, (name, _) in enumerate(steps) if name == "RUN")
    assert of(steps, "ENTRYPOINT") == ['["seedbed"]']
    assert "RAY_AUTH_MODE=token" in of(steps, "ENV")[0]


def test_everything_is_pinned_and_torch_is_a_cpu_build_unless_asked(steps: list[tuple[str, str]]) -> None:
    assert of(steps, "ARG") == ["PYTHON=3.11", "TORCH=cpu", "EXTRAS=cluster,s3"]
    assert of(steps, "FROM") == ["python:${PYTHON}-slim-bookworm"]
    pips = [rest for rest in of(steps, "RUN") if "pip install" in rest]
    assert all("--constraint constraints.txt" in rest for rest in pips)
    torch, rest = pips
    assert '--index-url "https://download.pytorch.org/whl/${TORCH}" torch torchvision' in torch and "--no-deps" in torch
    assert '".[${EXTRAS}]"' in rest


def test_extras_and_pins_are_there(steps: list[tuple[str, str]]) -> None:
    extras = of(steps, "ARG")[2].partition("=")[2].split(",")
    offered = PROJECT["project"]["optional-dependencies"]
    assert set(extras) <= set(offered)
    pinned = {line.partition("==")[0].lower() for line in (REPOSITORY / "constraints.txt").read_text().splitlines()}
    # KubeRay asks the dashboard whether a node lives, ray:// goes over gRPC: neither is in plain Ray.
    assert offered["cluster"] == ["ray[client,default]>=2.50"]
    assert {"ray", "torch", "torchvision", "grpcio", "aiohttp", "virtualenv"} <= pinned


def test_what_is_copied_exists_and_nothing_else_is_sent(steps: list[tuple[str, str]]) -> None:
    copied = {source for rest in of(steps, "COPY") for source in rest.split()[:-1]}
    assert all((REPOSITORY / source).exists() for source in copied)
    ignored = [line for line in FILE.with_name("Dockerfile.dockerignore").read_text().splitlines() if line[:1] != "#"]
    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
    assert {"results/leaderboards", "**/__pycache__"} == {line for line in ignored[1:] if not line.startswith("!")}
    packages = {pattern.rstrip("*") for pattern in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]}
    modules = {f"{name}.py" for name in PROJECT["tool"]["setuptools"]["py-modules"]}
    assert packages | modules <= copied


def test_the_wheel_holds_none_of_it() -> None:
    found = find_packages(str(REPOSITORY), **PROJECT["tool"]["setuptools"]["packages"]["find"])
    assert {name.partition(".")[0] for name in found} == {"harness", "methods", "settings", "results"}
    assert set(PROJECT["tool"]["setuptools"]["package-data"]) == {"settings", "results"}
