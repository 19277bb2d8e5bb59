"""What each stage is, kept in the store by the run that planned it, so that it can be named and run alone later."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress

from harness.stages.graph import Stage
from harness.store.layout import STAGES, document_of, key_of_document
from harness.store.store import Store

__all__ = ["describe", "described", "find_described"]


def describe(store: Store, stages: Iterable[Stage]) -> None:
    """Write down what stages are; descriptions that are there already, and whole, stay as they are."""
    contents: dict[str, bytes] = {}
    for stage in stages:
        text = json.dumps(stage.to_json(), indent=1, sort_keys=True)
        contents[document_of(STAGES, stage.key)] = text.encode()
    store.write_documents(contents)


def described(store: Store) -> dict[str, Stage]:
    """The stages that runs have written down, by key; a damaged description is passed over, the next run mends it."""
    stages: dict[str, Stage] = {}
    for name, content in store.documents(STAGES).items():
        with suppress(ValueError, TypeError, LookupError, AttributeError, RecursionError):
            stage = Stage.from_json(json.loads(content))
            if stage.key == key_of_document(name):
                stages[stage.key] = stage
    return stages


def find_described(store: Store, beginning: str) -> list[Stage]:
    """The stages that runs have written down and whose key or label begins with these letters."""
    found: list[Stage] = []
    for stage in described(store).values():
        if stage.key.startswith(beginning) or stage.label.startswith(beginning):
            found.append(stage)
    return found
