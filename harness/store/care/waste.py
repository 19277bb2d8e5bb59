"""What can go from a store, and its removal: each key under its lease, so that living holders are left alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.store.care.inventory import Slot, entries, is_old, size_of, slots, stale_partials
from harness.store.care.underway import needed_by_runs
from harness.store.layout import Ref
from harness.store.store import Store
from settings.errors import UserError, unknown_name


@dataclass(frozen=True)
class Waste:
    """Something that can go: a path, and the key whose lease guards it, if any."""

    what: str
    path: Path
    ref: Ref | None = None

    @property
    def bytes(self) -> int:
        """What its removal frees."""
        return size_of(self.path)


def waste_of(store: Store, needed: set[Ref]) -> list[Waste]:
    """What can go when only `needed` must stay, and what runs that go on right now need.

    A checkpoint of a stage that is needed and not yet published stays: the next run continues from it.
    """
    every = list(slots(store))
    busy = {slot.ref for slot in every if slot.lease.is_alive()}
    kept = needed | needed_by_runs(store, busy)
    found = [waste for slot in every if slot.ref not in busy for waste in _waste_of_slot(slot, slot.ref in kept)]
    found += [Waste("damaged", path) for path in entries(store.root / "damaged")]
    for folder in (store.root, store.root / "stages", store.root / "failures", *entries(store.root / "leaderboards")):
        found += [Waste("partial files", path) for path in stale_partials(folder)]
    keys = {ref.key for ref in kept}
    for name in ("stages", "failures"):
        paths = sorted((store.root / name).glob("*.json"))
        found += [Waste(f"records of {name}", path) for path in paths if path.stem not in keys]
    return found


def chosen(store: Store, names: Iterable[str]) -> list[Waste]:
    """The keys that kinds or beginnings of keys name; raises UserError for an unclear name or a running stage."""
    every = list(slots(store))
    found = {slot.ref: slot for name in names for slot in _named(every, name)}
    for ref, slot in found.items():
        if slot.lease.is_alive():
            raise UserError(ref, "a stage that is running", "one that nobody works on", "stop its run first")
    return [Waste(ref.kind, slot.folder, ref) for ref, slot in found.items()]


def remove(store: Store, waste: Waste) -> bool:
    """Remove it; False, and nothing is done, when a living process has taken its key meanwhile."""
    if waste.ref is None:
        _delete(waste.path)
        return True
    lease = store.lease(*waste.ref)
    if not lease.acquire():
        return False
    with lease:
        if waste.path == store.root.joinpath(*waste.ref):
            store.remove(*waste.ref)
        else:
            _delete(waste.path)
    return True


def needed_by(store: Store, suites: Sequence[str], overrides: Sequence[str] = ()) -> set[Ref]:
    """Every stage of the suites' plans.

    Raises UserError where a store that holds artefacts has none of a suite's: a plan made with other options, or for
    another kind of CPU, would take all that is there for waste.
    """
    from harness.stages.planning import make_plan
    from harness.suites.suite import load_suite

    there = {slot.ref for slot in slots(store) if slot.published}
    needed: set[Ref] = set()
    for name in suites:
        refs = set(make_plan(load_suite(name, overrides)).graph)
        if there and not there & refs:
            mend = "name it with the --set options of its run, on the same kind of machine; or use `seedbed store rm`"
            raise UserError(store.root, f"no artefact of {name}", "a suite that was run on this store", mend)
        needed |= refs
    return needed


def published(store: Store, suites: Sequence[str], overrides: Sequence[str] = ()) -> list[Ref]:
    """The artefacts that are there of the suites' plans; without suites, every one."""
    needed = needed_by(store, suites, overrides)
    return [slot.ref for slot in slots(store) if slot.published and (not suites or slot.ref in needed)]


def _waste_of_slot(slot: Slot, needed: bool) -> list[Waste]:
    if not needed:
        return [Waste(slot.ref.kind if slot.published else "unpublished keys", slot.folder, slot.ref)]
    parts = slot.parts
    found = [Waste("discarded attempts", path, slot.ref) for path in parts.get("attempt", ())]
    if slot.published:
        found += [Waste("checkpoints", path, slot.ref) for path in parts.get("checkpoint", ())]
    found += [Waste("partial files", path, slot.ref) for path in parts.get("partial", ()) if is_old(path)]
    return found + [Waste("leases of dead holders", path, slot.ref) for path in parts.get("lease", ())]


def _named(every: Sequence[Slot], name: str) -> list[Slot]:
    if of_kind := [slot for slot in every if slot.ref.kind == name]:
        return of_kind
    kind, _, prefix = name.rpartition("/")
    found = [slot for slot in every if slot.ref.key.startswith(prefix) and kind in ("", slot.ref.kind)]
    if not prefix or not found:
        raise unknown_name("KEY|KIND", "key or kind", name, {slot.ref.kind for slot in every})
    if len(found) > 1:
        several = ", ".join(str(slot.ref) for slot in found[:3])
        raise UserError("KEY|KIND", f"'{name}', which fits {len(found)} keys ({several} …)", "the beginning of one key")
    return found


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
