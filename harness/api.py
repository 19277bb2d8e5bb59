"""The Python API: `harness.run(suite)` and `harness.plan(suite)`; rows come from `results.load(store)`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.execution import ExecutorName
from harness.execution.workers import Workers
from harness.reports.estimate import Estimate, estimate
from harness.reports.leaderboard import Finished, run_and_gather
from harness.store.layout import DEFAULT_STORE
from harness.suites.suite import Suite, load_suite
from settings.errors import UserError

__all__ = ["UserError", "plan", "run"]


def run(
    suite: str | Path | Suite,
    store: str | Path = DEFAULT_STORE,
    executor: ExecutorName | None = None,
    overrides: Sequence[str] = (),
    slots: int | None = None,
    address: str | None = None,
    strict: bool = False,
) -> Finished:
    """Run what is missing of a suite (a ready one's name, a YAML file, or a Suite) and write its leaderboard.

    `executor`: `serial` or `ray` (default: `ray` where there is more than one slot); `slots`: compute threads at once;
    `address`: of a Ray cluster that exists; `strict`: make again what other sources than today's made, and all that
    came of it. Stages that fail are holes in the returned board, not exceptions. Raises
    UserError for what the user can mend.
    """
    return run_and_gather(_suite(suite, overrides), store, Workers(executor, slots, address), strict=strict)


def plan(
    suite: str | Path | Suite,
    store: str | Path = DEFAULT_STORE,
    overrides: Sequence[str] = (),
    address: str | None = None,
) -> Estimate:
    """What a run would do and cost; nothing is run or written. Raises UserError for what a run would refuse.

    `address`: of the Ray cluster that is to run it; without, the GPUs that the suite asks for must be here.
    """
    return estimate(_suite(suite, overrides), store, address)


def _suite(suite: str | Path | Suite, overrides: Sequence[str]) -> Suite:
    if isinstance(suite, Suite):
        return suite
    return load_suite(suite, overrides)
