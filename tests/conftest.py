"""What all tests share: one compute thread, a cache and a configuration of their own, repeatable examples."""

import fcntl
import gc
import os
import pickle
import shutil
import sys

os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported, which only some tests do

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir

if TYPE_CHECKING:
    from harness.reports.leaderboard import Finished

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")

gc.disable()  # nothing is garbage yet: until all tests are collected it would only look

REPOSITORY = Path(__file__).resolve().parent.parent
set_hypothesis_home_dir(REPOSITORY / ".pytest_cache" / "hypothesis")


def pytest_collection_finish() -> None:
    """Modules and tests stay to the end: from here on garbage is looked for among what is made later."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def _surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither the user's cache nor the user's configuration is seen or touched."""
    folder = tmp_path_factory.mktemp("surroundings")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEEDBED_CACHE", str(folder / "cache"))
        patch.setenv("SEEDBED_CONFIG", str(folder / "config.yaml"))
        yield


@pytest.fixture(autouse=True)
def _arithmetic() -> Iterator[None]:
    """A stage that ran in this process leaves torch's threads and rounding set; the next test starts without."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real photos; a test that needs it is skipped, with this reason, where it is absent."""
    folder = Path(os.environ.get("SEEDBED_REAL_DATA") or REPOSITORY / ".." / "shared" / "data").resolve()
    if not folder.is_dir():
        pytest.skip(f"no real data: '{folder}' is not a folder (set SEEDBED_REAL_DATA)")
    return folder


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> "Finished":
    """One undisturbed smoke run, which many tests look at and none may change.

    Processes that test side by side run it once, and have a copy each.
    """
    from harness.reports.leaderboard import run_and_gather
    from harness.suites.suite import load_suite

    base = tmp_path_factory.getbasetemp()
    common = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    run, told = common / "smoke-run", common / "smoke-run.pickle"
    with (common / "smoke-run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not told.exists():
            told.write_bytes(pickle.dumps(run_and_gather(load_suite("smoke"), run, "serial")))
    finished: Finished = pickle.loads(told.read_bytes())
    store = tmp_path_factory.mktemp("smoke") / "store"
    shutil.copytree(run, store)
    moved = replace(finished.run, store_folder=store, location=str(store))
    return replace(finished, run=moved, folder=store / finished.folder.relative_to(run))
