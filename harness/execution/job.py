"""What a driver hands to an executor, and what it gets back: jobs of stages, and how each stage ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from harness.stages.graph import Stage
from harness.store.events import Ending
from harness.store.layout import Ref
from harness.suites.resources import Wants

__all__ = ["Job", "Outcome"]


@dataclass(frozen=True)
class Job:
    """Stages that one process runs, one after the other or as a bundle, and what it needs for that."""

    stages: tuple[Stage, ...]
    store: str | Path
    """A folder or a URL: what `Store.at` opens."""
    log: Path
    wants: Wants = field(default_factory=lambda: {"threads": 1})
    """What the job holds while it runs."""
    halvings: int = 0
    """How often the batches of photos are halved, because a GPU had too little memory."""
    gpu: int | None = None
    """Which of the node's GPUs it computes on; None: torch's current one."""

    @property
    def timeout_s(self) -> float:
        """Seconds after which the job's processes are ended, whatever they are doing; 0: never."""
        # A stage with a limit is never joined with others; those of a bundle are of one kind, and so is their limit.
        return max(stage.demand.timeout_s for stage in self.stages)

    def parts(self) -> list[tuple[Stage, ...]]:
        """What runs together: the stages of a bundle, else each stage alone."""
        # The queue takes bundles whole, so stages of one stand side by side here, as `groupby` wants them.
        grouped = groupby(self.stages, key=lambda stage: stage.bundle or stage.key)
        return [tuple(stages) for _, stages in grouped]

    def ended(self, status: Ending, reason: str) -> list[Outcome]:
        """The outcomes of a job that ended as a whole, so that no worker could tell of its stages one by one."""
        return [Outcome(stage.ref, status, reason=reason) for stage in self.stages]


@dataclass(frozen=True)
class Outcome:
    """How one stage of a job ended: what the driver is told, and decides by."""

    ref: Ref
    status: Ending
    seconds: float = 0.0
    reason: str = ""
    lost: Ref | None = None
    """The damaged input, where one was found."""
    is_users: bool = False
    """Whether it failed by something that the user can mend: a damaged photo, weights that do not fit."""
