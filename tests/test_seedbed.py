"""`import seedbed`: the Python API, in a folder whose own modules have the names of Seedbed's packages too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


def python(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run Python in a folder, which comes first on its path, as it does for scripts and notebooks there."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, env=environment)


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """A folder with a `settings.py`, a folder `results` without code and a package `methods`."""
    (tmp_path / "settings.py").write_text("RATE = 0.1\n")
    (tmp_path / "results").mkdir()
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "__init__.py").write_text("")
    return tmp_path


def test_it_works_beside_modules_of_the_same_names(crowded: Path) -> None:
    code = (
        "import sys, seedbed\n"
        "seedbed.run, seedbed.load, seedbed.UserError\n"
        "estimate = seedbed.plan('smoke', store='runs')\n"
        "print(estimate.to_do > 0, set(seedbed.__all__) == {'UserError', 'load', 'plan', 'run'})\n"
        # What is started from here finds the same packages.
        "import subprocess, multiprocessing\n"
        "import settings, methods, results, harness\n"
        "print(len({module.__file__.rsplit('/', 2)[0] for module in (settings, methods, results, harness)}))\n"
    )
    ran = python(crowded, "-c", code)
    assert (ran.stdout.split(), ran.stderr) == (["True", "True", "1"], "")


def test_a_module_that_was_imported_before_is_named(crowded: Path) -> None:
    ran = python(crowded, "-c", "import settings, seedbed")
    assert ran.returncode == 1
    assert f"{crowded}/settings.py hides Seedbed's package 'settings': rename it, or import seedbed before it" in (
        ran.stderr
    )


def test_it_is_the_command_too(crowded: Path) -> None:
    ran = python(crowded, "-m", "seedbed", "data", "list")
    assert ran.returncode == 0 and "scenes" in ran.stdout, ran.stderr


def test_what_is_unknown_is_no_attribute() -> None:
    ran = python(REPOSITORY, "-c", "import seedbed; seedbed.rum")
    assert "module 'seedbed' has no attribute 'rum'" in ran.stderr
