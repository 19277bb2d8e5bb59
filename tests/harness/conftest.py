"""One undisturbed smoke run, which many tests look at and none may change."""

from pathlib import Path

import pytest

from harness.gathering import Finished, run_and_gather
from harness.suite import load_suite


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    store: Path = tmp_path_factory.mktemp("smoke") / "store"
    return run_and_gather(load_suite("smoke"), store, "serial")


def results_of(finished: Finished) -> list[tuple[object, ...]]:
    """What two runs of one suite must agree on, bit by bit."""
    return [(*row.identity, row.miou, tuple(row.per_class), row.threshold) for row in finished.board.rows]
