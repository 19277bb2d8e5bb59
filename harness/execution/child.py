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
from multiprocessing.context import SpawnProcess

from harness.execution.job import Job, Outcome
from harness.execution.worker import run_job
from harness.store.events import Ending

__all__ = ["Child", "run_within_time", "timed_out"]

ORPHAN_POLL_S = 1.0


def run_within_time(job: Job) -> list[Outcome]:
    """Run the job here, or in this process's child where it has a time limit."""
    return _child().run(job) if job.timeout_s else run_job(job)


def timed_out(job: Job) -> list[Outcome]:
    """The outcomes of a job whose time was up."""
    return job.ended(Ending.TIMED_OUT, f"not done after {job.timeout_s:g} s, its `timeout`")


@cache
def _child() -> Child:
    child = Child()
    atexit.register(child.end)  # before multiprocessing waits for it
    return child


@dataclass
class Child:
    """One process beside this one; it is started when it is needed, and again after it was ended."""

    process: SpawnProcess | None = None
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
            return job.ended(Ending.WORKER_DIED, f"the worker ended: {self.end()}")
        self.end()
        return timed_out(job)

    def end(self) -> int | None:
        """SIGKILL to the child's process group; its exit code."""
        process = self.process
        if process is None or process.pid is None:
            return None
        with suppress(ProcessLookupError):  # it may not have made its group yet
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()
        self.process = self.connection = None
        return process.exitcode

    def _connected(self) -> Connection:
        """The way to the child, which is ready for a job."""
        if self.connection is None:
            # A fork would inherit torch's threads and locks as they are at this moment.
            context = multiprocessing.get_context("spawn")
            self.connection, theirs = context.Pipe()
            self.process = context.Process(target=_serve, args=(theirs, os.getpid()))
            self.process.start()
            theirs.close()
            self.connection.recv()  # it is ready: what its imports took is not on the job's time
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
    """Kill this process's group once it has another parent than the one that started it."""
    while os.getppid() == parent:
        time.sleep(ORPHAN_POLL_S)
    os.killpg(0, signal.SIGKILL)
