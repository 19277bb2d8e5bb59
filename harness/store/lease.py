"""Leases keep two processes off one stage; they spare work, while exclusive publishing keeps results right."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from uuid import uuid4

from harness.store.layout import EVICTED
from settings.errors import UserError
from settings.files import create_exclusively, read_plain

__all__ = [
    "HEARTBEAT_S",
    "TIMEOUT_S",
    "FileLease",
    "Lease",
    "declared_timeout_s",
    "lives",
    "process_start",
    "this_process",
]

TIMEOUT = "SEEDBED_LEASE_TIMEOUT"
USUAL_TIMEOUT_S = 30.0


def declared_timeout_s() -> float:
    """What the environment variable `SEEDBED_LEASE_TIMEOUT` says, else what is usual; UserError for what is no time."""
    text = os.environ.get(TIMEOUT, "") or str(USUAL_TIMEOUT_S)
    # Without units, and no more than a day.
    if not re.fullmatch(r"\d{1,5}(\.\d+)?", text) or float(text) < 1:
        raise UserError(TIMEOUT, f"'{text}'", "seconds from 1 on, such as 30", "unset it, or set it right")
    return float(text)


def _timeout_s() -> float:
    # Importing fails for nobody: `main` tells what is wrong.
    try:
        return declared_timeout_s()
    except UserError:
        return USUAL_TIMEOUT_S


TIMEOUT_S = _timeout_s()
"""A holder whose process nobody can see, or that is paused, is taken for dead after so many seconds without a sign."""
HEARTBEAT_S = min(5.0, TIMEOUT_S / 5)


class Lease(ABC):
    """The right to work on a stage."""

    @abstractmethod
    def acquire(self) -> bool:
        """Take the lease if it is free or its holder is dead; False when somebody else works on it."""

    @abstractmethod
    def is_held(self) -> bool:
        """Whether this holder still has it: one that was paused past its lease finds another's in its place."""

    @abstractmethod
    def release(self) -> None:
        """Give it back, so that somebody else can take it at once; nothing happens where it is another's by now."""

    @abstractmethod
    def is_alive(self) -> bool:
        """Whether somebody has it and lives; nothing is taken or changed."""

    @abstractmethod
    def is_dead(self) -> bool:
        """Whether it was left by a holder that does not live any more; nothing is taken or changed."""

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class FileLease(Lease):
    """A file that names its holder and is touched while the holder lives."""

    def __init__(self, path: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._path, self._timeout_s = path, timeout_s
        self._token = uuid4().hex
        self._stop = threading.Event()

    def acquire(self) -> bool:
        """Take the lease if it is free or its holder is dead; False when somebody else works on it."""
        if not self._create():
            if not self._is_abandoned():
                return False
            self._evict()
            if not self._create():
                return False
        # A daemon, and no process: it must not outlive the holder for whom it speaks.
        threading.Thread(target=self._beat, daemon=True).start()
        return True

    def is_held(self) -> bool:
        """Whether the file still has this holder's token."""
        return self._read().get("token") == self._token

    def release(self) -> None:
        """Remove the file, if it is still this holder's."""
        self._stop.set()
        if self.is_held():
            with suppress(OSError):  # on a disk that has become read-only it dies with its holder
                self._path.unlink(missing_ok=True)

    def is_alive(self) -> bool:
        """Whether there is a file and its holder lives; one whose content is damaged lives by its heartbeat alone."""
        return self._path.exists() and not self._is_abandoned()

    def is_dead(self) -> bool:
        """Whether there is a file that nobody holds any more."""
        return self._path.exists() and self._is_abandoned()

    def _create(self) -> bool:
        holder = {"token": self._token, **this_process()}
        return create_exclusively(self._path, json.dumps(holder).encode())

    def _read(self) -> Mapping[str, object]:
        try:
            content = json.loads(read_plain(self._path))
        except (OSError, ValueError, RecursionError):
            return {}
        # Anything else than a holder (a damaged file) is left to the heartbeat.
        if not isinstance(content, dict) or not isinstance(content.get("pid"), int):
            return {}
        return content

    def _is_abandoned(self) -> bool:
        # One that lives but is paused is as good as dead after a while: whoever waits for it goes on.
        if lives(self._read()) is False:
            return True
        try:
            return time.time() - self._path.stat().st_mtime > self._timeout_s
        except FileNotFoundError:
            return True

    def _evict(self) -> None:
        """Move the dead holder's file away, if another evictor has not done it."""
        aside = self._path.with_name(f"{EVICTED}{self._token}")
        with suppress(FileNotFoundError):
            self._path.rename(aside)
            aside.unlink()

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            if not self.is_held():
                return
            with suppress(OSError):
                os.utime(self._path)


def lives(process: Mapping[str, object]) -> bool | None:
    """Whether a process that `this_process` has described is there; None where that cannot be told from here."""
    here = this_process()
    on_this_machine = (process.get("host"), process.get("boot")) == (here["host"], here["boot"])
    pid, start = process.get("pid"), process.get("start")
    # Pids are used again: the process that bears it now must have started when the holder did.
    # Where the kernel does not tell start times, only the heartbeat speaks.
    if not on_this_machine or not start or not isinstance(pid, int):
        return None
    return process_start(pid) == start


@cache
def this_process() -> Mapping[str, object]:
    """Host, boot id, pid and process start time: what tells a living holder from a dead one."""
    pid = os.getpid()
    return {"host": socket.gethostname(), "boot": _boot_id(), "pid": pid, "start": process_start(pid)}


def process_start(pid: int) -> str | None:
    """When the process was started, in the kernel's clock ticks; None when there is no such process."""
    try:
        # The command name (field 2) may hold blanks; the start time is the 20th field after its bracket.
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[19]
    except OSError:
        return None


def _boot_id() -> str:
    # After a reboot pids and start times begin anew: a holder of before would otherwise be found in another process.
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return ""
