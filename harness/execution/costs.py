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
    """Seconds and bytes of stages; `learn` keeps what a run measured."""

    def __init__(self, store: Store) -> None:
        self._measured = _read(store)

    def seconds(self, stage: Stage) -> float:
        """Estimated seconds of a stage, on the threads that it asks for."""
        a_photo = self._measured.get(stage.group)
        seconds = stage.kind.seconds(stage) if a_photo is None else a_photo * stage.photos
        return seconds + OVERHEAD_S

    def bytes(self, stage: Stage) -> int:
        """Estimated bytes of a stage's artefact."""
        return stage.kind.bytes(stage)

    def learn(self, store: Store, stages: Mapping[Ref, Stage]) -> None:
        """Keep the median seconds a photo of each group of stages that are published now."""
        seen: dict[str, list[float]] = {}
        for ref, record in store.records(ref for ref in stages if store.has(ref)).items():
            stage = stages[ref]
            if stage.photos:
                seen.setdefault(stage.group, []).append(record.seconds / stage.photos)
        if seen:
            self._measured |= {group: median(values) for group, values in seen.items()}
            text = json.dumps(self._measured, indent=1, sort_keys=True)
            store.write_documents({COSTS: text.encode()})


def _read(store: Store) -> dict[str, float]:
    """Seconds a photo by group; empty where nothing was measured, or the file is damaged."""
    try:
        content = json.loads(store.read_document(COSTS))
        return {str(group): float(seconds) for group, seconds in content.items()}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return {}
