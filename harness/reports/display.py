"""What a run shows while it works: groups of stages, what is being done, the time left, and provisional tables."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.execution.costs import Costs
from harness.reports.files import LeaderboardFiles
from harness.reports.folder import shows
from harness.reports.progress import RunState, duration
from harness.reports.provisional import Provisional, Standing
from harness.stages.graph import Stage
from harness.stages.planning import Plan
from harness.stages.rounds import round_of_stages, rounds_of
from harness.store.events import EventLog
from harness.store.layout import Ref
from harness.store.store import Store
from settings.errors import UserError
from settings.files import write_bytes

__all__ = ["PLAIN_WIDTH", "Display", "Follower"]

REFRESH_S = 0.5
"""How often the log is read."""
ESTIMATES_SHARE = 100
"""An estimate of the time left is made again after so many times what the last one took."""
PLAIN_INTERVAL_S = 10.0
"""How often a line goes into a file, which nobody watches."""
PLAIN_WIDTH = 160
"""Letters a line of tables that go into a file, where no terminal tells its width."""


class Follower:
    """Reads a run's events in a thread of its own and keeps the provisional tables in `folder` up with them.

    Without a folder, and for a plan without rows, there are no such tables.
    """

    def __init__(
        self, log: EventLog, stages: Mapping[Ref, Stage], store: Store, plan: Plan, folder: Path | None = None
    ) -> None:
        self._reader = store.reader(log.path)
        rounds = round_of_stages(plan.graph, rounds_of(plan.graph[ref] for ref in plan.rows))
        self._state = RunState({stage.key: stage for stage in stages.values()}, Costs(store), rounds)
        self._store, self._plan, self._folder = store, plan, folder
        rows: tuple[Ref, ...] = ()
        if folder is not None:
            rows = plan.rows
        self._provisional = Provisional(plan.graph, rows, self._state.stages.keys(), self._state, store)
        self._stop = threading.Event()
        self._is_over = False
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        # A terminal or disk that hangs must not keep the run from ending.
        self._thread.join(timeout=5)
        self._is_over = True

    def _follow(self) -> None:
        """Read until the run has ended, and once more: what it was stopped with is written too."""
        while not self._stop.wait(REFRESH_S):
            self._read()
        self._read()

    def _read(self) -> Standing | None:
        """Take what happened since; the provisional tables where there are new ones, which are written then."""
        for event in self._reader.new():
            self._state.take(event)
        # A disk that is full, or a place that does not answer, is told by the stages.
        with suppress(OSError, UserError):
            if standing := self._provisional.advance():
                self._write(standing)
                return standing
        return None

    def _write(self, standing: Standing) -> None:
        # The final tables may be there: of another run on this store, or when this thread hung.
        if self._folder is None or self._is_over or shows(self._plan, self._folder):
            return
        self._store.check_there(self._folder)
        path = LeaderboardFiles(self._folder).provisional
        text = standing.to_markdown(self._plan.suite.name, time.time() - self._state.started)
        write_bytes(path, text.encode())
        self._store.share(self._folder)


class Display(Follower):
    """A follower that shows what it reads: live on a terminal, as plain lines elsewhere."""

    def __init__(
        self, log: EventLog, stages: Mapping[Ref, Stage], store: Store, plan: Plan, folder: Path | None = None
    ) -> None:
        super().__init__(log, stages, store, plan, folder)
        self._groups: dict[str, list[str]] = {}
        for stage in stages.values():
            self._groups.setdefault(stage.group, []).append(stage.key)
        self._end = self._again = 0.0
        """When the run will end, by estimate; and when that is estimated anew."""
        # The output of `seedbed run` is its tables: what is shown on the way must not be among them.
        self._console = Console(stderr=True)
        if not self._console.is_terminal:
            self._console = Console(stderr=True, width=PLAIN_WIDTH)

    def _follow(self) -> None:
        if self._console.is_terminal:
            self._follow_live()
        else:
            self._follow_plain()
        self._read()

    def _follow_live(self) -> None:
        with Live(console=self._console, refresh_per_second=4, transient=True) as live:
            while not self._stop.wait(REFRESH_S):
                # Printed to the live console, tables stand above what it redraws.
                self._show(self._read())
                live.update(self._view())

    def _follow_plain(self) -> None:
        last = time.monotonic()
        told: set[str] = set()
        while not self._stop.wait(REFRESH_S):
            self._show(self._read())
            for key in self._state.reasons.keys() - told:
                label = self._state.stages[key].label
                print(f"failed: {label}: {self._state.reasons[key]}", file=sys.stderr, flush=True)
                told.add(key)
            if time.monotonic() - last >= PLAIN_INTERVAL_S:
                last = time.monotonic()
                print(" | ".join([self._summary(), *self._state.lines()]), file=sys.stderr, flush=True)

    def _show(self, standing: Standing | None) -> None:
        """Print provisional tables, where there are new ones."""
        # After the last round the final tables are near.
        if standing is not None and not standing.is_last:
            spent = duration(time.time() - self._state.started)
            self._console.print(f"\nafter {spent}: {standing.name}; provisional, nothing is ranked", highlight=False)
            for table in standing.shown_tables():
                self._console.print(table.to_rich())

    def _summary(self) -> str:
        state = self._state
        spent, left = duration(time.time() - state.started), duration(self._seconds_left())
        return f"{state.count('done')}/{len(state.stages)} stages · {spent} · {left} left"

    def _seconds_left(self) -> float:
        """The estimate, made anew now and then, and counted down in between."""
        now = time.time()
        if now >= self._again:
            # By this thread's own time: it may have to wait for one that computes.
            start = time.thread_time()
            self._end = now + self._state.seconds_left(now)
            # Of thousands of stages it takes a while, and this process has a run to drive.
            self._again = now + max(REFRESH_S, ESTIMATES_SHARE * (time.thread_time() - start))
        return max(0.0, self._end - now)

    def _view(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        for group, keys in self._groups.items():
            done, failed = self._state.count("done", keys), self._state.count("failed", keys)
            mark = ""
            if failed:
                mark = f"{failed} failed"
            table.add_row(group, ProgressBar(len(keys), done, width=24), f"{done}/{len(keys)}", Text(mark, style="red"))
        running = [Text(f"  {line}", style="cyan", no_wrap=True, overflow="ellipsis") for line in self._state.lines()]
        return Group(table, *running, Text(self._summary(), style="bold"))
