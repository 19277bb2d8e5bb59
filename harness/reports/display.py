"""What a run shows while it works: the groups of stages, what is being done, how fast, and the time left."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.execution.costs import Costs
from harness.stages.graph import Stage
from harness.store.events import EventLog
from harness.store.layout import Ref
from harness.store.store import Store

ENDED = ("finished", "failed", "input_lost", "retried", "stopped", "out_of_memory")
"""Events after which a stage does not run any more."""
REFRESH_S = 0.5
PLAIN_INTERVAL_S = 10.0


@dataclass
class State:
    """A run as its events tell it; `take` is fed with every event."""

    stages: Mapping[str, Stage]
    costs: Costs
    finished: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    running: dict[str, dict[str, Any]] = field(default_factory=dict)
    started: float = field(default_factory=time.time)
    slots: int = 0
    """As the log tells; 0 until it does."""

    def take(self, event: Mapping[str, Any]) -> None:
        """Update by one event."""
        keys = event.get("stages", ())
        if isinstance(slots := event.get("slots"), int):
            self.slots = slots
        if event["event"] == "started":
            self.running |= {key: {"since": event["t"]} for key in keys}
        elif event["event"] == "progress":
            self.running |= {key: {**self.running.get(key, {"since": event["t"]}), **event} for key in keys}
        elif event["event"] in ENDED:
            for key in keys:
                self.running.pop(key, None)
            if event["event"] == "finished":
                self.finished |= set(keys)
            elif event["event"] == "failed":
                self.failed |= dict.fromkeys(keys, event["reason"])

    def seconds_left(self, now: float | None = None) -> float:
        """From the estimated cost of what is not finished, at the pace of this run so far (until `now`)."""
        work = {key: self.costs.seconds(stage) * stage.slots for key, stage in self.stages.items()}
        ended = sum(work[key] for key in self.finished | set(self.failed) if key in work)
        under_way = sum(work[key] * self._fraction(key) for key in self.running if key in work)
        left = max(0.0, sum(work.values()) - ended - under_way)
        elapsed = (time.time() if now is None else now) - self.started
        # The estimate corrects itself: after a while the measured pace outweighs the table of costs.
        pace = (ended + under_way) / elapsed if ended + under_way > 20 else max(self.slots, 1)
        return left / max(pace, 0.1)

    def lines(self) -> list[str]:
        """What is running, one line a job."""
        shown: dict[str, str] = {}
        for key, now in self.running.items():
            stage = self.stages.get(key)
            if stage is not None:
                shown[stage.bundle or key] = self._line(stage, now)
        return list(shown.values())

    def _fraction(self, key: str) -> float:
        now = self.running[key]
        return now["done"] / max(now["total"], 1) if "done" in now else 0.0

    def _line(self, stage: Stage, now: Mapping[str, Any]) -> str:
        if "done" not in now:
            return stage.label
        values = " · ".join(f"{name} {value:g}" for name, value in now["values"].items())
        rate = now["done"] / max(now["t"] - now["since"], 1e-3)
        return f"{stage.label}: {now['done']}/{now['total']} {now['unit']} · {rate:.3g} {now['unit']}/s" + (
            f" · {values}" if values else ""
        )


class Display:
    """Reads a run's events in a thread of its own and shows them: live on a terminal, as plain lines elsewhere."""

    def __init__(self, log: EventLog, stages: Mapping[Ref, Stage], store: Store) -> None:
        self._reader = store.reader(log.path)
        self._state = State({stage.key: stage for stage in stages.values()}, Costs(store))
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
        failed: set[str] = set()
        while not self._stop.wait(REFRESH_S):
            self._read()
            for key in set(self._state.failed) - failed:
                print(
                    f"failed: {self._state.stages[key].label}: {self._state.failed[key]}", file=sys.stderr, flush=True
                )
            failed = set(self._state.failed)
            if time.monotonic() - last >= PLAIN_INTERVAL_S:
                last = time.monotonic()
                print(" | ".join([self._summary(), *self._state.lines()]), file=sys.stderr, flush=True)

    def _read(self) -> None:
        for event in self._reader.new():
            self._state.take(event)

    def _summary(self) -> str:
        state = self._state
        left = duration(state.seconds_left())
        return (
            f"{len(state.finished)}/{len(state.stages)} stages · {duration(time.time() - state.started)} · {left} left"
        )

    def _view(self) -> RenderableType:
        groups: dict[str, list[str]] = {}
        for key, stage in self._state.stages.items():
            groups.setdefault(stage.group, []).append(key)
        table = Table.grid(padding=(0, 2))
        for group, keys in groups.items():
            done = sum(key in self._state.finished for key in keys)
            failed = sum(key in self._state.failed for key in keys)
            mark = f"{failed} failed" if failed else ""
            table.add_row(group, ProgressBar(len(keys), done, width=24), f"{done}/{len(keys)}", Text(mark, style="red"))
        running = [Text(f"  {line}", style="cyan", no_wrap=True, overflow="ellipsis") for line in self._state.lines()]
        return Group(table, *running, Text(self._summary(), style="bold"))


def duration(seconds: float) -> str:
    """8 s, 3 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
