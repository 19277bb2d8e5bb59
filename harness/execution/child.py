"""Jobs with a time limit run in a child process, which can be ended whatever it does, with all that it has started."""

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
    """Run the job in this process, or in this process's child where it has a time limit; how its stages ended."""
    # A thread would not do: a stage that hangs with the interpreter locked lets no other thread end it.
    if job.timeout_s:
        return _child().run(job)
    return run_job(job)


def timed_out(job: Job) -> list[Outcome]:
    """The outcomes of a job whose time was up: every stage of it ended so, whichever it was that took too long."""
    return job.ended(Ending.TIMED_OUT, f"not done after {job.timeout_s:g} s, its `timeout`")


@cache
def _child() -> Child:
    child = Child()
    # When the program ends multiprocessing waits for its processes, and this one only waits for jobs; what is
    # registered last is called first, so it is gone by then.
    atexit.register(child.end)
    return child


@dataclass
class Child:
    """One process beside this one, kept from job to job; it is started when needed, and anew after it was ended."""

    process: SpawnProcess | None = None
    connection: Connection | None = None

    def run(self, job: Job) -> list[Outcome]:
        """The job's outcomes; all its stages have timed out, or their worker died, when the process ended before."""
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
        """Kill the child with all that it has started (SIGKILL); its exit code, or None where there was no child."""
        process = self.process
        if process is None or process.pid is None:
            return None
        # It may not have made its group yet: then nothing was started either, and the second signal is enough.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()
        self.process = self.connection = None
        return process.exitcode

    def _connected(self) -> Connection:
        """The pipe to the child, which is started where there is none, and is ready for a job."""
        if self.connection is None:
            # A fork would inherit torch's threads and locks as they are at this moment.
            context = multiprocessing.get_context("spawn")
            self.connection, theirs = context.Pipe()
            self.process = context.Process(target=_serve, args=(theirs, os.getpid()))
            self.process.start()
            # With a copy of its end open here, the pipe would not tell that the child has died.
            theirs.close()
            # It says that it is ready: what its imports took is not on the job's time.
            self.connection.recv()
        return self.connection


def _serve(connection: Connection, parent: int) -> None:
    """Run jobs as they come, in a process group of its own, until the parent is gone."""
    os.setsid()
    # The pipe tells of the parent's end between jobs only, and a job may hang for ever.
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    # It takes seconds, which belong to the start and not to the first job.
    import torch  # noqa: F401

    with suppress(EOFError, OSError):
        connection.send("ready")
        while True:
            connection.send(run_job(connection.recv()))


def _end_with(parent: int) -> None:
    """Kill this process's group once it has another parent than the one that started it."""
    while os.getppid() == parent:
        time.sleep(ORPHAN_POLL_S)
    os.killpg(0, signal.SIGKILL)
