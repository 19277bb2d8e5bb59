"""`seedbed run smoke`, or another command, as a process group of its own, which can be killed as a whole."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SEEDBED = ("-m", "harness.commands.main")
SERIAL = ("--executor", "serial")
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
"""Debian's package faketime: a clock for some processes alone; None where it is not installed."""


class Run:
    """A run on a store, alive until its block ends; `module` is what Python is given to start it.

    `clock` is a file with the seconds by which the run's clock is wrong, for a serial run: Ray does not start so.
    """

    def __init__(
        self,
        store: Path,
        module: Sequence[str] = SEEDBED,
        how: Sequence[str] = SERIAL,
        clock: Path | None = None,
        suite: str | Path = "smoke",
        command: str = "run",
        **variables: str,
    ) -> None:
        self.store, self.clock = store, clock
        if clock:
            # Waits are by a clock that nobody sets.
            kept = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1"}
            variables |= {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(clock), **kept}
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 — closed when the block ends
        self.process = subprocess.Popen(
            [sys.executable, *module, command, str(suite), *how, "--store", str(store)],
            cwd=REPOSITORY,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,
            env={**os.environ, **variables},
        )

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.process.wait()
        self._errors.close()

    def kill(self) -> None:
        """SIGKILL to the whole group, unless it has ended."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)

    def was_killed(self) -> bool:
        """How it ended; a run that ended by itself must have ended well."""
        code = self.process.wait()
        self._errors.seek(0)
        assert code in (0, -signal.SIGKILL), self._errors.read()
        return code != 0
