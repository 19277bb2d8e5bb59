"""Event logs of runs on several machines: every process has a file of its own, and readers merge them in time.

A run is named by the path that its log has on one machine, `<store>/events/<run>.jsonl`; its files lie in the folder
`<store>/events/<run>/`, here and at the remote. A file only grows, so the longer one of two is the newer one.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from harness.store.backends._remote import Remote
from harness.store.events import Event, EventLog, EventReader, Told, append
from harness.store.layout import EVENTS, LOG_SUFFIX, RemotePlaces, run_of
from settings.files import write_bytes

# Every push and every look is a request to the server.
PUSH_S = PULL_S = 2.0
# An object cannot be appended to, each push sends the whole file: one that has grown so long is left for another.
PART_BYTES = 1 << 16


class SharedLog(EventLog):
    """Appends to this process's own file and sends it: every beginning and end at once, progress now and then."""

    def __init__(self, path: Path, remote: Remote) -> None:
        super().__init__(path)
        self._remote = remote
        self._run = run_of(path)
        self._folder = path.with_name(self._run)
        self._process = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}"
        self._part = 0
        self._pushed = 0.0
        self._stop_name = RemotePlaces.stop(self._run)
        self._looked: float | None = None
        self._stopping = False

    def ask_to_stop(self) -> None:
        """Ask every process of the run, on this machine and on others."""
        super().ask_to_stop()
        with suppress(OSError):
            self._remote.write(self._stop_name, b"stop")

    def forget_stopping(self) -> None:
        """Take the question back after the run, here and at the remote: nobody is left to be asked."""
        super().forget_stopping()
        with suppress(OSError):
            self._remote.delete(self._stop_name)

    def is_stopping(self) -> bool:
        """Whether somebody has asked the run to stop, on this machine or another; the remote is asked now and then."""
        now = time.monotonic()
        if not self._stopping and (self._looked is None or now - self._looked >= PULL_S):
            self._looked = now
            with suppress(OSError):
                self._stopping = bool(self._remote.read(self._stop_name))
        return self._stopping or super().is_stopping()

    def _append(self, event: str, line: str) -> None:
        name = RemotePlaces.log(self._run, self._process, self._part)
        own = self._folder / Path(name).name
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
        append(own, line)
        if event != Event.PROGRESS or time.monotonic() - self._pushed >= PUSH_S:
            self._pushed = time.monotonic()
            # A remote that does not answer now gets it with the next event.
            with suppress(OSError):
                content = own.read_bytes()
                self._remote.write(name, content)
                self._part += len(content) > PART_BYTES


class MergedReader(EventReader):
    """Reads what all processes of a run have written since the last call."""

    def __init__(self, path: Path, remote: Remote) -> None:
        super().__init__(path)
        self._remote = remote
        self._name = f"{EVENTS}/{run_of(path)}"
        self._folder = path.with_name(run_of(path))
        self._pulled: float | None = None
        self._readers: dict[Path, EventReader] = {}

    def new(self) -> Iterator[Told]:
        """Events in the order of their times, as far as they came together; a run begins and ends with its own."""
        events: list[Told] = []
        for reader in self._newest():
            events += reader.new()
        return iter(sorted(events, key=_order))

    def last(self) -> Told | None:
        """The newest event of all processes."""
        found = [event for reader in self._newest() if (event := reader.last()) is not None]
        return max(found, key=_order, default=None)

    def silence_s(self) -> float:
        """For how many seconds no process has sent anything; infinite where there is no log."""
        silences = [float("inf")]
        for name in self._remote.sizes(self._name):
            with suppress(FileNotFoundError):
                # Where the remote tells no times nobody can say that a run is silent.
                silences.append(self._remote.age(f"{self._name}/{name}") or 0.0)
        return min(silences)

    def _newest(self) -> list[EventReader]:
        """A reader for each file of the run, once what is new at the remote was fetched."""
        now = time.monotonic()
        if self._pulled is None or now - self._pulled >= PULL_S:
            self._pulled = now
            with suppress(OSError):
                self._pull()
        paths = sorted(self._folder.glob(f"*{LOG_SUFFIX}"))
        return [self._readers.setdefault(path, EventReader(path)) for path in paths]

    def _pull(self) -> None:
        """Fetch the files that are longer there than here."""
        wanted: list[str] = []
        for name, size in self._remote.sizes(self._name).items():
            copy = self._folder / name
            if not copy.exists() or copy.stat().st_size < size:
                wanted.append(f"{self._name}/{name}")
        for place, content in self._remote.read_all(wanted).items():
            write_bytes(self._folder / Path(place).name, content)


def _order(event: Told) -> tuple[int, float]:
    # Clocks of machines differ: a worker's first event may bear an earlier time than the run's own beginning.
    place = 1
    if event["event"] == Event.RUN_STARTED:
        place = 0
    elif event["event"] == Event.RUN_FINISHED:
        place = 2
    return place, event["t"]
