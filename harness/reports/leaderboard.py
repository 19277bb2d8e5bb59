"""From a suite to its leaderboard: run what is missing, gather it, write the folder that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.execution import ExecutorName
from harness.execution.running import ANYWHERE, Run, run_suite
from harness.execution.workers import Workers
from harness.reports.display import Display
from harness.reports.folder import LeaderboardFiles, unscored, write_leaderboard
from harness.reports.gathering import Leaderboard, gather
from harness.reports.progress import duration
from harness.store.backends.urls import Location
from harness.store.store import Store
from harness.suites.suite import Suite
from settings.errors import UserError

__all__ = ["Finished", "Leaderboard", "gather", "run_and_gather"]


@dataclass(frozen=True, repr=False)
class Finished:
    """What `harness.run` returns: the run, its leaderboard, and the folder that shows it."""

    run: Run
    board: Leaderboard
    folder: Path
    unwritten: str = ""
    """Why the folder does not show the board: a full disk, say."""

    def __repr__(self) -> str:
        return f"<{self.run.plan.suite.name}: {self.summary()}>"

    @property
    def exit_code(self) -> int:
        """0, 1 when something failed, 2 when all that failed is for the user to mend, 130 when it was stopped."""
        result = self.run.result
        if result.interrupted:
            return 130
        if result.failures and set(result.failures) == result.user_errors:
            return 2
        return 1 if result.failures or self.board.holes or self.unwritten else 0

    def user_errors(self) -> list[str]:
        """What the user can mend, each line once."""
        result = self.run.result
        return list(dict.fromkeys(reason for ref, reason in result.failures.items() if ref in result.user_errors))

    def summary(self) -> str:
        """One line: stages, time, holes, where the results lie."""
        run = self.run
        ending = "stopped; run it again to continue" if run.result.interrupted else f"{self.board.holes} holes"
        words = [f"{run.stages_run} stages in {duration(run.seconds)}", ending]
        if run.plan.unscored:
            words.append(unscored(run.plan, "nothing to score"))
        if self.unwritten:
            words.append(f"the leaderboard could not be written ({self.unwritten}); make room and run it again")
        return " · ".join([*words, str(self.folder)])


def run_and_gather(
    suite: Suite,
    store: Location,
    workers: Workers | ExecutorName = ANYWHERE,
    folder: Path | None = None,
    shown: bool = False,
) -> Finished:
    """Run what is missing of a suite and write its leaderboard into `folder`; `shown` displays progress.

    Without a folder it is the suite's own below the store. Raises UserError for what the user can mend before any work.
    """
    _check_writable(folder)
    with run_suite(suite, store, workers, Display if shown else None) as run:
        board = gather(run)
        opened = Store.at(run.location)
        folder = folder or opened.leaderboard_folder(suite.folder_name)
        unwritten = ""
        try:
            if not run.result.interrupted:
                write_leaderboard(run, board, folder)
                opened.share(folder)
        except OSError as error:
            unwritten = error.strerror or str(error)
        return Finished(run, board, folder, unwritten)


def _check_writable(folder: Path | None) -> None:
    """A folder that cannot be written is better told before a night's work than after."""
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            LeaderboardFiles(folder).state.touch()
    except OSError as error:
        raise UserError("--output", f"'{folder}', which cannot be written ({error.strerror})", "a folder") from None
