"""What stages cost, before they run: measured seconds of this store where there are some, else its kind's guess."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from statistics import median

from harness.stages.graph import Stage
from harness.store.layout import Ref
from harness.store.store import Store, write_json

__all__ = ["Costs"]

OVERHEAD_S = 0.02
"""What any stage takes, whatever it does: to be leased, opened, hashed and published."""


class Costs:
    """Seconds and bytes of stages; `learn` keeps what a run measured."""

    def __init__(self, store: Store) -> None:
        self._path = store.root / "costs.json"
        with suppress(OSError):  # a guess is better than no run
            store.pull(self._path.name)
        self._measured = _read(self._path)

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
        store.prepare(ref for ref in stages if store.has(*ref))
        for stage in stages.values():
            if stage.photos and store.has(*stage.ref):
                seen.setdefault(stage.group, []).append(store.record(*stage.ref)["seconds"] / stage.photos)
        if seen:
            self._measured |= {group: median(values) for group, values in seen.items()}
            write_json(self._path, self._measured)
            store.push(self._path)


def _read(path: Path) -> dict[str, float]:
    """Seconds a photo by group; empty where nothing was measured, or the file is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(group): float(seconds) for group, seconds in content.items()}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return {}
