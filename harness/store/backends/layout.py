"""Where things lie at the remote, and what a record there must hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from harness.store.layout import Ref
from harness.store.store import REQUIRED

FORMAT = "remote-1"
MARKER = "seedbed-store.json"


def done_at(ref: Ref) -> str:
    """The record, whose creation publishes."""
    return f"done/{ref.kind}/{ref.key}.json"


def files_at(ref: Ref, attempt: str = "") -> str:
    """The folder of an attempt, or of all attempts of a key."""
    return f"files/{ref.kind}/{ref.key}/{attempt}".rstrip("/")


def plain(content: bytes) -> dict[str, Any]:
    """A JSON object; empty for anything else."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def is_record(record: Mapping[str, Any]) -> bool:
    """Whether it names files that lie within its attempt."""
    if not record.keys() >= REQUIRED or not isinstance(record["files"], dict):
        return False
    paths = [PurePosixPath(str(name)) for name in (record["attempt"], *record["files"])]
    return not any(path.is_absolute() or ".." in path.parts for path in paths)
