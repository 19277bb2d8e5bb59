"""What a run shows while it works: the groups of stages, what is being done, how fast, and the time left."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.execution.costs import Costs
from harness.reports.progress import RunState, duration
from harness.stages.graph import Stage
from harness.store.events import EventLog
from harness.store.layout import Ref
from harness.store.store import Store

__all__ = ["Display"]

REFRESH_S = 0.5
"""How often the log is read."""
PLAIN_INTERVAL_S = 10.0
"""How often a line goes into a file, which nobody watches."""


class Display:
    """Reads a run's events in a thread of its own and shows them: live on a terminal, as plain lines elsewhere."""

    def __init__(self, log: EventLog, stages: Mapping[Ref, Stage], store: Store) -> None:
        self._reader = store.reader(log.path)
        self._state = RunState({stage.key: stage for stage in stages.values()}, Costs(store))
        self._groups: dict[str, list[str]] = {}
        for stage in stages.values():
            self._groups.setdefault(stage.group, []).append(stage.key)
        # The output of `seedbed run` is its tables: what is shown on the way must not be among them.
        self._console = Console(stderr=True)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Display:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        # A terminal or disk that hangs must not keep the run from ending.
        self._thread.join(timeout=5)

    def _follow(self) -> None:
        if self._console.is_terminal:
            self._follow_live()
        else:
            self._follow_plain()

    def _follow_live(self) -> None:
        with Live(console=self._console, refresh_per_second=4, transient=True) as live:
            while not self._stop.wait(REFRESH_S):
                self._read()
                live.update(self._view())

    def _follow_plain(self) -> None:
        last = time.monotonic()
        told: set[str] = set()
        while not self._stop.wait(REFRESH_S):
            self._read()
            for key in self._state.reasons.keys() - told:
                label = self._state.stages[key].label
                print(f"failed: {label}: {self._state.reasons[key]}", file=sys.stderr, flush=True)
                told.add(key)
            if time.monotonic() - last >= PLAIN_INTERVAL_S:
                last = time.monotonic()
                print(" | ".join([self._summary(), *self._state.lines()]), file=sys.stderr, flush=True)

    def _read(self) -> None:
        for event in self._reader.new():
            self._state.take(event)

    def _summary(self) -> str:
        state = self._state
        spent, left = duration(time.time() - state.started), duration(state.seconds_left())
        return f"{state.count('done')}/{len(state.stages)} stages · {spent} · {left} left"

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
