"""Jobs with a time limit run in a child process of their own group, which can be ended whatever it does."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from typing import Any

from harness.execution.worker import Job, Outcome, run_job

ORPHAN_POLL_S = 1.0


def run_within_time(job: Job) -> list[Outcome]:
    """Run the job here, or in this process's child where it has a time limit."""
    return _child().run(job) if job.timeout_s else run_job(job)


def timed_out(job: Job) -> list[Outcome]:
    """The outcomes of a job whose time was up."""
    reason = f"not done after {job.timeout_s:g} s, its `timeout`"
    return [Outcome(stage.ref, "timed_out", reason=reason) for stage in job.stages]


@cache
def _child() -> Child:
    child = Child()
    atexit.register(child.end)  # before multiprocessing waits for it
    return child


@dataclass
class Child:
    """One process beside this one; it is started when it is needed, and again after it was ended."""

    process: Any = None
    connection: Connection | None = None

    def run(self, job: Job) -> list[Outcome]:
        """The job's outcomes; `timed_out` or `worker_died` for all its stages when the process ended before."""
        connection = self._connected()
        try:
            connection.send(job)
            if connection.poll(job.timeout_s):
                outcomes: list[Outcome] = connection.recv()
                return outcomes
        except (EOFError, OSError):
            code = self.end()
            return [Outcome(stage.ref, "worker_died", reason=f"the worker ended: {code}") for stage in job.stages]
        self.end()
        return timed_out(job)

    def end(self) -> int | None:
        """SIGKILL to the child's process group; its exit code."""
        if self.process is None:
            return None
        with suppress(ProcessLookupError):  # it may not have made its group yet
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        code: int | None = self.process.exitcode
        self.process = self.connection = None
        return code

    def _connected(self) -> Connection:
        if self.connection is None:
            context = multiprocessing.get_context("spawn")
            self.connection, theirs = context.Pipe()
            self.process = context.Process(target=_serve, args=(theirs, os.getpid()))
            self.process.start()
            theirs.close()
            self.connection.recv()
        return self.connection


def _serve(connection: Connection, parent: int) -> None:
    """Run jobs as they come, in a process group of its own, until the parent is gone."""
    os.setsid()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    import torch  # noqa: F401 - which takes seconds, and starting does not count

    with suppress(EOFError, OSError):
        connection.send("ready")
        while True:
            connection.send(run_job(connection.recv()))


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(ORPHAN_POLL_S)
    os.killpg(0, signal.SIGKILL)
