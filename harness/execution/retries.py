"""Which stages are retried after they ended badly, how often, and what they are given then: change it here.

No other module decides it: executors and workers retry nothing, they tell the driver how a stage ended. An error that a
component raises is a failure at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from harness.stages.graph import Stage
from harness.store.events import Ending
from harness.store.layout import Ref
from harness.suites.resources import Wants

__all__ = ["MAX_REPAIRS", "Retries"]

MAX_RETRIES = 3
"""How often a stage is begun again after its worker died or its time was up: it runs once more than that."""
MAX_HALVINGS = 1
"""How often a stage is begun again with half the batch after a whole GPU had too little memory."""
MAX_REPAIRS = 10
"""How often artefacts that turn out damaged are made again within one run: more than stages lie behind each other."""


class Retries:
    """What was tried of each stage in one drive through a graph, and what follows from that for the next try."""

    def __init__(self) -> None:
        self._retries: Counter[Ref] = Counter()
        self._halvings: Counter[Ref] = Counter()
        self._whole: set[Ref] = set()
        """What a part of a GPU was too little for."""

    def begins_again(self, stage: Stage, ending: Ending, had: Wants) -> bool:
        """Whether a stage is begun again that ended so with what it `had`; counts the retry."""
        if ending in (Ending.WORKER_DIED, Ending.TIMED_OUT):
            self._retries[stage.ref] += 1
            return self._retries[stage.ref] <= MAX_RETRIES
        if ending is not Ending.OUT_OF_MEMORY:
            return False
        # More room first: half the batch takes longer, and only some kinds can have it. Once a stage asks for a whole
        # GPU it comes by here no more, so this is not counted.
        if had.get("gpus", 1.0) < 1:
            self._whole.add(stage.ref)
            return True
        self._halvings[stage.ref] += 1
        return stage.kind.halves_when_out_of_memory and self._halvings[stage.ref] <= MAX_HALVINGS

    def wants(self, stage: Stage) -> Wants:
        """What the stage asks for now: a whole GPU where a part of one was too little."""
        wants = stage.wants()
        if stage.ref in self._whole and "gpus" in wants:
            return {**wants, "gpus": max(1.0, wants["gpus"])}
        return wants

    def halvings(self, stages: Iterable[Stage]) -> int:
        """How often a job of these stages halves its batches of photos."""
        return max(self._halvings[stage.ref] for stage in stages)
