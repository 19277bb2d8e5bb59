"""What each stage is, kept in the store by the run that planned it, so that it can be named and run alone later."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from harness.stages.graph import Stage
from harness.store.store import Store, write_json

__all__ = ["Descriptions"]


class Descriptions:
    """The descriptions in one store, by the keys of stages."""

    def __init__(self, store: Store) -> None:
        self._store, self._folder = store, store.root / "stages"

    def write(self, stages: Iterable[Stage]) -> None:
        """Describe the stages that are not described yet, or whose description is damaged."""
        self._folder.mkdir(exist_ok=True)
        for stage in stages:
            if self.read(stage.key) is None:
                write_json(self._path(stage.key), stage.to_json())
        self._store.push(self._folder, absent_only=True)

    def fetch(self) -> None:
        """See what runs on other machines have described."""
        self._store.pull(self._folder.name)

    def read(self, key: str) -> Stage | None:
        """The stage of that key; None where no run described it, or its description is damaged."""
        try:
            stage = Stage.from_json(json.loads(self._path(key).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return None
        return stage if stage.key == key else None

    def find(self, beginning: str) -> list[Stage]:
        """The stages whose key or label begins so, by their keys."""
        self.fetch()
        found: list[Stage] = []
        for path in sorted(self._folder.glob("*.json")):
            stage = self.read(path.stem)
            if stage and (stage.key.startswith(beginning) or stage.label.startswith(beginning)):
                found.append(stage)
        return found

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"
