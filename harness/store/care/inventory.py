"""What lies in a store's folder: artefacts by key, and beside them what work in progress or a kill left there."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from harness.store.layout import Ref
from harness.store.lease import FileLease
from harness.store.store import Store

KEY = re.compile(r"[0-9a-f]{64}")
NOT_KINDS = frozenset({"damaged", "events", "failures", "leaderboards", "stages"})
PARTIAL_S = 60
"""A writer replaces its partial file within moments; one that is older than this was left by a kill."""
PARTIAL_FOLDER = ".partial-"
"""How the names of folders begin in which leaderboards are made."""
Part = Literal["artefact", "attempt", "checkpoint", "lease", "partial", "other"]


class LeaseProbe(FileLease):
    """Looks at a lease without taking or changing it; one whose content is damaged lives by its heartbeat alone."""

    def is_alive(self) -> bool:
        """Whether there is a lease and its holder lives."""
        return self._path.exists() and not self._is_abandoned()

    def is_dead(self) -> bool:
        """Whether there is a lease that nobody holds any more."""
        return self._path.exists() and self._is_abandoned()

    def _read(self) -> dict[str, Any]:
        content: object = super()._read()
        return content if isinstance(content, dict) and isinstance(content.get("pid"), int) else {}


@dataclass(frozen=True)
class Slot:
    """The folder of one key."""

    ref: Ref
    folder: Path

    @property
    def published(self) -> bool:
        """Whether it holds an artefact (nothing is verified)."""
        return (self.folder / "done.json").exists()

    @property
    def lease(self) -> LeaseProbe:
        """To look at, not to take."""
        return LeaseProbe(self.folder / "lease.json")

    @cached_property
    def parts(self) -> dict[Part, list[Path]]:
        """The folder's entries by what they are."""
        parts: dict[Part, list[Path]] = {}
        for path in entries(self.folder):
            parts.setdefault(self._part_of(path), []).append(path)
        return parts

    @cached_property
    def _attempts_that_count(self) -> frozenset[str]:
        """The published attempt's name; all attempts where the record cannot tell: `verify` looks into that."""
        try:
            return frozenset({str(json.loads((self.folder / "done.json").read_text(encoding="utf-8"))["attempt"])})
        except FileNotFoundError:
            return frozenset()
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return frozenset(path.name for path in self.folder.glob("attempt-*"))

    def _part_of(self, path: Path) -> Part:
        if path.name == "done.json" or path.name in self._attempts_that_count:
            return "artefact"
        if path.name in ("checkpoint", "lease.json"):
            return "checkpoint" if path.name == "checkpoint" else "lease"
        if path.name.startswith("attempt-"):
            return "attempt"
        return "partial" if path.name.startswith(".") else "other"


def slots(store: Store) -> Iterator[Slot]:
    """Every key's folder, published or not, by kind and key; other folders are none of a store's business."""
    for kind in entries(store.root):
        if kind.is_dir() and kind.name not in NOT_KINDS:
            for folder in entries(kind):
                if KEY.fullmatch(folder.name) and folder.is_dir():
                    yield Slot(Ref(kind.name, folder.name), folder)


def stale_partials(folder: Path) -> list[Path]:
    """Partial files and leaderboards right in a folder whose writer was killed."""
    partials = [path for path in entries(folder) if path.name.startswith("." if path.is_file() else PARTIAL_FOLDER)]
    return [path for path in partials if is_old(path)]


def is_old(path: Path) -> bool:
    """Whether no living writer can be at this partial file or folder: nothing in it was touched for a while."""
    try:
        newest = max(inner.stat().st_mtime for inner in (path, *path.rglob("*")))
    except FileNotFoundError:
        return False
    return time.time() - newest > PARTIAL_S


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; what vanishes meanwhile counts nothing."""
    try:
        if path.is_dir() and not path.is_symlink():
            return sum(size_of(entry) for entry in entries(path))
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def entries(folder: Path) -> list[Path]:
    """A folder's entries by name; none where it is not there, or not any more."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
