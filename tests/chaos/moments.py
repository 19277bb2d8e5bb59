"""When a run is struck: after some seconds, while a stage of some kind runs, or right before a file operation."""

import json
import random
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from typing import Any

from harness.store.events import EventReader
from tests.chaos.runs import SEEDBED, Run

POLL_S = 0.01


class Moment(ABC):
    """A moment in the life of a run."""

    module: tuple[str, ...] = SEEDBED
    """What Python is given to start a run that is to be struck then."""

    @abstractmethod
    def wait(self, run: Run) -> None:
        """Until the moment comes, or the run ends before it."""

    @abstractmethod
    def sooner(self) -> "Moment":
        """A moment of the same sort that comes earlier, for a run that ended before this one."""


@dataclass(frozen=True)
class After(Moment):
    """So many seconds after the start."""

    seconds: float

    def __str__(self) -> str:
        return f"after {self.seconds:.2f} s"

    def wait(self, run: Run) -> None:
        with suppress(subprocess.TimeoutExpired):
            run.process.wait(self.seconds)

    def sooner(self) -> Moment:
        return After(self.seconds / 2)


@dataclass(frozen=True)
class During(Moment):
    """So many seconds after the event log says that the run has begun a stage of a kind."""

    kind: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s into {self.kind}"

    def wait(self, run: Run) -> None:
        readers: dict[Path, EventReader] = {}
        while run.process.poll() is None and not any(self._begins(run, event) for event in _new_events(run, readers)):
            time.sleep(POLL_S)
        After(self.seconds).wait(run)

    def _begins(self, run: Run, event: dict[str, Any]) -> bool:
        if event["event"] != "started" or event["pid"] != run.process.pid:
            return False
        stage = json.loads((run.store / "stages" / f"{event['stages'][0]}.json").read_text())
        return bool(stage["kind"] == self.kind)

    def sooner(self) -> Moment:
        return replace(self, seconds=self.seconds / 2)


@dataclass(frozen=True)
class Before(Moment):
    """Right before the nth file operation (Python's audit event) on a path that holds `place`."""

    operation: str
    place: str
    nth: int
    module: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        struck = ("-m", "tests.chaos.struck", self.operation, self.place, str(self.nth))
        object.__setattr__(self, "module", struck)

    def __str__(self) -> str:
        return f"before {self.operation} no. {self.nth} of {self.place}"

    def wait(self, run: Run) -> None:
        run.process.wait()

    def sooner(self) -> Moment:
        return replace(self, nth=max(1, self.nth // 2))


def _new_events(run: Run, readers: dict[Path, EventReader]) -> list[dict[str, Any]]:
    paths = run.store.glob("events/*.jsonl")
    return [event for path in paths for event in readers.setdefault(path, EventReader(path)).new()]


def drawn(rng: random.Random, undisturbed_s: Callable[[], float]) -> Iterator[Moment]:
    """By turns a moment that hits training, publishing, gathering or a checkpoint, and one at any time."""
    for number in cycle(range(5)):
        yield [
            During("segmenter_fit", rng.uniform(0, 0.3)),
            Before("os.link", "done.json", rng.randint(1, 60)),
            Before("os.rename", "leaderboards", rng.randint(1, 12)),
            During("localizer_fit", rng.uniform(0, 0.2)),
            Before("os.rename", "checkpoint", rng.randint(1, 4)),
        ][number]
        yield After(rng.uniform(0, undisturbed_s()))
