"""Care of a store: what fills it, and whether every artefact is whole. What can go is in `waste`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.store.care.inventory import NOT_KINDS, Slot, entries, size_of, slots
from harness.store.layout import Ref
from harness.store.store import Absent, Damaged, Store
from settings.hashing import HashCache, cache_folder

Progress = Callable[[int, int], None]
"""Told bytes done and bytes in all."""


@dataclass
class Amount:
    """How many, and how large together."""

    count: int = 0
    bytes: int = 0

    def add(self, count: int, size: int) -> None:
        """Count more."""
        self.count += count
        self.bytes += size


@dataclass(frozen=True)
class Usage:
    """What fills a store."""

    kinds: dict[str, Amount] = field(default_factory=dict)
    """Artefacts by kind."""
    beside: dict[str, Amount] = field(
        default_factory=lambda: {
            name: Amount() for name in ("checkpoints", "attempts under way", "discarded attempts", "damaged", "other")
        }
    )

    @property
    def total(self) -> Amount:
        """Artefacts, and bytes of everything."""
        every = [*self.kinds.values(), *self.beside.values()]
        return Amount(sum(amount.count for amount in self.kinds.values()), sum(amount.bytes for amount in every))

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {"kinds": _plain(self.kinds), "beside": _plain(self.beside), "total": asdict(self.total)}

    def to_text(self) -> str:
        """A table: what, how many, how large."""
        beside = {name: amount for name, amount in self.beside.items() if amount.count}
        rows = {**dict(sorted(self.kinds.items())), **beside, "total (artefacts)": self.total}
        return "\n".join(f"{name:20} {one.count:7} {readable(one.bytes):>10}" for name, one in rows.items())


def usage(store: Store) -> Usage:
    """Bytes and artefacts by kind, and what lies beside artefacts."""
    used = Usage()
    for slot in slots(store):
        _count_slot(used, slot)
    for path in entries(store.root):
        if path.is_file() or path.name in NOT_KINDS:
            name = "damaged" if path.name == "damaged" else "other"
            used.beside[name].add(len(entries(path)) if path.is_dir() else 1, size_of(path))
    return used


def verify(store: Store, progress: Progress = lambda done, total: None) -> tuple[int, list[Ref]]:
    """Hash every published artefact anew, whatever the hash cache believes; the damaged ones are set aside.

    Returns how many were looked at, and which were damaged (in a read-only store those stay where they are).
    """
    anew = Store(store.root, _Anew(cache_folder() / "hashes.sqlite"))
    sizes = {slot.ref: sum(map(size_of, slot.parts["artefact"])) for slot in slots(store) if slot.published}
    done, damaged = 0, []
    for ref, size in sizes.items():
        try:
            anew.open(*ref)
        except (Damaged, OSError):
            damaged.append(ref)
        except Absent:  # removed by somebody since it was listed
            pass
        done += size
        progress(done, sum(sizes.values()))
    return len(sizes), damaged


class _Anew(HashCache):
    """Reads every file again; what it finds replaces what the cache believed."""

    def sha256(self, path: Path) -> str:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.remember(path, digest)
        return digest


def _count_slot(used: Usage, slot: Slot) -> None:
    sizes = {part: sum(map(size_of, paths)) for part, paths in slot.parts.items()}
    parts = {part: len(paths) for part, paths in slot.parts.items()}
    if slot.published:
        used.kinds.setdefault(slot.ref.kind, Amount()).add(1, sizes.pop("artefact", 0))
    attempts = "attempts under way" if slot.lease.is_alive() else "discarded attempts"
    for part, size in sizes.items():
        name = {"checkpoint": "checkpoints", "attempt": attempts}.get(part, "other")
        used.beside[name].add(parts[part], size)


def readable(size: float) -> str:
    """Bytes for people: 812 B, 3.1 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _plain(amounts: dict[str, Amount]) -> dict[str, Any]:
    return {name: asdict(amount) for name, amount in sorted(amounts.items())}
