"""From a suite to its leaderboard: run what is missing, gather it, write the folder that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.execution import ExecutorName
from harness.execution.running import ANYWHERE, Run, run_suite
from harness.execution.workers import Workers
from harness.reports.display import Display, Follower
from harness.reports.files import LeaderboardFiles
from harness.reports.folder import unscored, write_leaderboard
from harness.reports.gathering import Leaderboard, gather
from harness.reports.progress import duration
from harness.store.backends.urls import Location, absolute
from harness.store.store import Store
from harness.suites.suite import Suite
from settings.errors import UserError

__all__ = ["Finished", "run_and_gather"]


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
        if result.failures or self.board.holes or self.unwritten:
            return 1
        return 0

    def user_errors(self) -> list[str]:
        """What the user can mend: one line for each mistake, however many stages failed by it."""
        lines: dict[str, None] = {}
        for ref, reason in self.run.result.failures.items():
            if ref in self.run.result.user_errors:
                lines[reason] = None
        return list(lines)

    def summary(self) -> str:
        """One line: how many stages ran in what time, how many holes there are, and where the results lie."""
        run = self.run
        ending = f"{self.board.holes} holes"
        if run.result.interrupted:
            ending = "stopped; run it again to continue"
        words = [f"{run.stages_run} stages in {duration(run.seconds)}", ending]
        if run.plan.unscored:
            words.append(unscored(run.plan, "nothing to score"))
        if self.unwritten:
            words.append(f"the leaderboard could not be written ({self.unwritten}); mend that and run it again")
        return " · ".join([*words, str(self.folder)])


def run_and_gather(
    suite: Suite,
    store: Location,
    workers: Workers | ExecutorName = ANYWHERE,
    folder: Path | None = None,
    shown: bool = False,
    strict: bool = False,
) -> Finished:
    """Run what is missing of a suite and write its leaderboard into `folder`; `shown` displays progress.

    `strict`: make again what other sources than today's made, and all that came of it. Without a folder it is the
    suite's own below the store. On the way it gets provisional tables. Raises UserError for what the user can mend
    before any work.
    """
    wanted, folder = folder, folder or Store.at(absolute(store)).leaderboard_folder(suite.folder_name)
    _check_not_shared(folder)
    _check_writable(wanted)
    follower = Follower
    if shown:
        follower = Display
    # The run ends with the block: until its artefacts are gathered no `gc` may take them away.
    with run_suite(suite, store, workers, partial(follower, folder=folder), strict) as run:
        board = gather(run)
        unwritten = ""
        # Most rows of a stopped run are holes, and the board of the run before may be whole.
        if not run.result.interrupted:
            unwritten = _write(run, board, folder)
        return Finished(run, board, folder, unwritten)


def _write(run: Run, board: Leaderboard, folder: Path) -> str:
    """Write the leaderboard where it is to be found; returns why it cannot be written, or nothing."""
    store = Store.at(run.location)
    try:
        store.check_there(folder)
    except UserError as gone:
        return str(gone)
    # What was computed is in the store: a board that cannot be written is no reason to end with a traceback.
    try:
        write_leaderboard(run, board, folder)
        store.share(folder)
        store.withdraw(LeaderboardFiles(folder).provisional)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _check_not_shared(folder: Path) -> None:
    """Raise UserError for a leaderboard that rows were added to: the run would drop them."""
    if LeaderboardFiles(folder).log.exists():
        found = f"'{folder}', a leaderboard that rows were added to"
        raise UserError("--output", found, "another folder", "`seedbed leaderboard merge` adds a run's rows to it")


def _check_writable(folder: Path | None) -> None:
    """Raise UserError where the folder cannot be written: better before a night's work than after."""
    try:
        if folder is not None:
            # One that is there keeps what it says; a new, empty one says that the folder shows nothing.
            folder.mkdir(parents=True, exist_ok=True)
            LeaderboardFiles(folder).state.touch()
    except OSError as error:
        raise UserError("--output", f"'{folder}', which cannot be written ({error.strerror})", "a folder") from None
