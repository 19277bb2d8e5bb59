"""Where stages run: in this process, on this machine's cores, or on a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.execution import ExecutorName, Packages
from harness.execution.token import show_token
from harness.stages.numerics import usable_cores
from settings.errors import UserError

if TYPE_CHECKING:
    from harness.execution.driver import Executor


@dataclass(frozen=True)
class Workers:
    """Which executor, with how many slots, on which cluster; nothing is started yet."""

    executor: ExecutorName | None = None
    """None: `ray` where there is more than one slot."""
    slots: int | None = None
    """Compute threads at once; None: all cores of this machine, or of the cluster."""
    address: str | None = None
    """Of a Ray cluster that exists (`auto`, `host:port`, `ray://host:port`); None: one of this run's own."""
    packages: Packages = "installed"

    @classmethod
    def of(cls, workers: Workers | ExecutorName) -> Workers:
        """An executor's name stands for all that it can have."""
        return workers if isinstance(workers, Workers) else cls(workers)

    @property
    def name(self) -> ExecutorName:
        """The executor."""
        return self.executor or ("ray" if self.address or (self.slots or usable_cores()) > 1 else "serial")

    @property
    def known_slots(self) -> int | None:
        """How many stages of one thread run at once, where that is known before a cluster is asked."""
        if self.name == "serial":
            return 1
        return self.slots or (None if self.address else usable_cores())

    def make(self) -> Executor:
        """Start it; Ray is imported only here. Raises UserError where no cluster answers."""
        if self.name == "serial":
            if self.address:
                raise UserError("--address", f"'{self.address}' beside --executor serial", "one of them")
            from harness.execution.serial import Serial

            return Serial()
        if self.address:
            show_token()
        from harness.execution.ray import Ray

        return Ray(self.slots, self.address, self.packages)
