"""Where stages run: in this process, on this machine's cores, or on a cluster."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.execution import ExecutorName, Packages
from harness.stages.numerics import usable_cores
from settings.errors import UserError

if TYPE_CHECKING:
    from harness.execution.executor import Executor

__all__ = ["Workers", "show_token"]

TOKEN = Path("~/.ray/auth_token")
"""Made by Ray itself with the first local cluster."""


@dataclass(frozen=True)
class Workers:
    """Which executor is to run stages, with how many slots, on which cluster; nothing is started before `make`."""

    executor: ExecutorName | None = None
    """None: `ray` where there is more than one slot."""
    slots: int | None = None
    """Compute threads at once; None: all cores of this machine, or of the cluster."""
    address: str | None = None
    """Of a Ray cluster that exists (`auto`, `host:port`, `ray://host:port`); None: one of this run's own."""
    packages: Packages = "installed"

    @classmethod
    def of(cls, workers: Workers | ExecutorName) -> Workers:
        """The workers themselves, or those that an executor's name stands for: with all slots that there are."""
        if isinstance(workers, Workers):
            return workers
        return cls(workers)

    @property
    def name(self) -> ExecutorName:
        """The executor, which may be left to us: Ray where it has more than one slot to fill."""
        if self.executor:
            return self.executor
        slots = self.slots or usable_cores()
        if self.address or slots > 1:
            return "ray"
        return "serial"

    @property
    def known_slots(self) -> int | None:
        """How many stages of one thread run at once, where that is known before a cluster is asked."""
        if self.name == "serial":
            return 1
        if self.slots or self.address:
            return self.slots
        return usable_cores()

    def make(self) -> Executor:
        """Start the executor, and with it a cluster where it needs one of its own; UserError where none answers."""
        # Whatever imports Ray is imported in here: that takes seconds, and what needs no worker runs without.
        if self.name == "serial":
            if self.address:
                raise UserError("--address", f"'{self.address}' beside --executor serial", "one of them")
            from harness.execution.executor import Serial

            return Serial()
        if self.address:
            show_token()
        from harness.execution.ray import Ray

        return Ray(self.slots, self.address, self.packages)


def show_token() -> None:
    """Have Ray show this user's token to clusters; without, an address fails after 20 s and many warnings.

    To be called before Ray is imported: it reads the variables then, and never again.
    """
    if TOKEN.expanduser().is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
