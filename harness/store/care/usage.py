"""What fills a store, and whether every artefact in it is whole. What can go is in `waste`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field

from harness.store.backends.backend import Part, Slot
from harness.store.layout import BESIDE, COSTS, DAMAGED, MARKER, Ref
from harness.store.store import Absent, Damaged, Store

__all__ = ["Amount", "Progress", "Usage", "published", "readable", "usage", "verify"]

Progress = Callable[[int, int], None]
"""Told how much is done and how much there is in all: bytes, or artefacts."""
CHECKPOINTS, UNDER_WAY, DISCARDED, OTHER = "checkpoints", "attempts under way", "discarded attempts", "other"
Counts = dict[str, int]


@dataclass
class Amount:
    """How many things of one sort there are, and how many bytes they take together."""

    count: int = 0
    bytes: int = 0

    def add(self, count: int, size: int) -> None:
        """Count `count` more things, which take `size` bytes together."""
        self.count += count
        self.bytes += size


def _nothing_beside() -> dict[str, Amount]:
    return {name: Amount() for name in (CHECKPOINTS, UNDER_WAY, DISCARDED, DAMAGED, OTHER)}


@dataclass(frozen=True)
class Usage:
    """What fills a store: artefacts by kind, and what lies beside them; every byte is in one of the two."""

    kinds: dict[str, Amount] = field(default_factory=dict)
    beside: dict[str, Amount] = field(default_factory=_nothing_beside)

    @property
    def total(self) -> Amount:
        """How many artefacts there are, and the bytes of everything, artefacts or not."""
        total = Amount()
        for amount in self.kinds.values():
            total.add(amount.count, amount.bytes)
        for amount in self.beside.values():
            total.add(0, amount.bytes)
        return total

    def to_json(self) -> dict[str, Counts | dict[str, Counts]]:
        """What `du --json` prints: counts and bytes in plain types, everything by its name."""
        return {"kinds": _plain(self.kinds), "beside": _plain(self.beside), "total": asdict(self.total)}

    def to_text(self) -> str:
        """What `du` prints: a line a kind, a line for each sort of thing beside, and the total."""
        beside = {name: amount for name, amount in self.beside.items() if amount.count}
        rows = {**dict(sorted(self.kinds.items())), **beside, "total (artefacts)": self.total}
        lines = [f"{name:20} {one.count:7} {readable(one.bytes):>10}" for name, one in rows.items()]
        return "\n".join(lines)


def usage(store: Store) -> Usage:
    """Bytes and artefacts by kind, and what lies beside artefacts; every byte is counted once."""
    used = Usage()
    for slot in store.backend.slots():
        _count_slot(used, slot)
    for entry in store.backend.leavings():
        place = OTHER
        if entry.part == "damaged":
            place = DAMAGED
        used.beside[place].add(1, entry.bytes)
    for folder in BESIDE:
        if folder != DAMAGED:
            sizes = store.backend.sizes(folder)
            used.beside[OTHER].add(len(sizes), sum(sizes.values()))
    for name in (MARKER, COSTS):
        with suppress(FileNotFoundError):
            used.beside[OTHER].add(1, len(store.read_document(name)))
    return used


def published(store: Store) -> list[Ref]:
    """All artefacts, by kind and key; none of them is verified."""
    return [slot.ref for slot in store.backend.slots() if slot.published]


def verify(store: Store, progress: Progress = lambda done, total: None) -> tuple[int, list[Ref]]:
    """Hash every published artefact anew, whatever the hash cache believes; the damaged ones are set aside.

    Returns how many were looked at, and which were damaged (in a read-only store those stay where they are).
    """
    sizes: dict[Ref, int] = {}
    for slot in store.backend.slots():
        if slot.published:
            sizes[slot.ref] = sum(entry.bytes for entry in slot.of("artefact"))
    done, total, damaged = 0, sum(sizes.values()), []
    for ref, size in sizes.items():
        try:
            store.verify(ref)
        except Damaged:
            damaged.append(ref)
        except Absent:  # removed by somebody since it was listed
            pass
        done += size
        progress(done, total)
    return len(sizes), damaged


def readable(size: float) -> str:
    """Bytes for people: 812 B, 3.1 MB."""
    if size < 1000:
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 1000:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} TB"


def _count_slot(used: Usage, slot: Slot) -> None:
    attempts = UNDER_WAY if slot.is_busy else DISCARDED
    names: dict[Part, str] = {"checkpoint": CHECKPOINTS, "attempt": attempts}
    if slot.published:
        size = sum(entry.bytes for entry in slot.of("artefact"))
        used.kinds.setdefault(slot.ref.kind, Amount()).add(1, size)
    for entry in slot.entries:
        if entry.part != "artefact":
            used.beside[names.get(entry.part, OTHER)].add(1, entry.bytes)


def _plain(amounts: dict[str, Amount]) -> dict[str, Counts]:
    return {name: asdict(amount) for name, amount in sorted(amounts.items())}
