"""What stages cost, before they run: measured seconds of this store where there are some, else its kind's guess."""

from __future__ import annotations

import json
from collections.abc import Mapping
from statistics import median

from harness.stages.graph import Stage
from harness.store.layout import COSTS, Ref
from harness.store.store import Store

__all__ = ["Costs"]

OVERHEAD_S = 0.02
"""What any stage takes, whatever it does: to be leased, opened, hashed and published."""


class Costs:
    """Estimated seconds of stages, from what earlier runs on a store measured; `learn` keeps what a run measured."""

    def __init__(self, store: Store) -> None:
        self._measured = _read(store)

    def seconds(self, stage: Stage) -> float:
        """Estimated seconds of a stage on the threads that it asks for, from its lease to its publication."""
        a_photo = self._measured.get(stage.group)
        if a_photo is None:
            return stage.kind.seconds(stage) + OVERHEAD_S
        return a_photo * stage.photos + OVERHEAD_S

    def is_measured(self, stage: Stage) -> bool:
        """Whether the stage's seconds rest on what this store measured of its group; else they are its kind's guess."""
        return stage.group in self._measured

    def learn(self, store: Store, stages: Mapping[Ref, Stage]) -> None:
        """Keep the median seconds a photo of each group, over those of the stages that are published now."""
        seen: dict[str, list[float]] = {}
        published = [ref for ref in stages if store.has(ref)]
        for ref, record in store.records(published).items():
            stage = stages[ref]
            if stage.photos:
                seen.setdefault(stage.group, []).append(record.seconds / stage.photos)
        if seen:
            # Groups that this run had no stage of keep what earlier ones measured.
            self._measured |= {group: median(values) for group, values in seen.items()}
            text = json.dumps(self._measured, indent=1, sort_keys=True)
            store.write_documents({COSTS: text.encode()})


def _read(store: Store) -> dict[str, float]:
    """Seconds a photo by group; empty where nothing was measured, or the file is damaged."""
    try:
        content = json.loads(store.read_document(COSTS))
        return {str(group): float(seconds) for group, seconds in content.items()}
    # Whatever the file holds: a guess is better than no run.
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return {}
