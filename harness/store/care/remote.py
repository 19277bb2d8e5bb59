"""Care of a store behind a URL: what fills it, whether its artefacts are whole, and their removal."""

from __future__ import annotations

from collections.abc import Iterable

from harness.store.backends.mirror import Mirror
from harness.store.care.upkeep import Amount, Progress, Usage
from harness.store.layout import Ref
from harness.store.store import Absent, Lost
from settings.errors import UserError


def usage(mirror: Mirror) -> Usage:
    """Bytes and artefacts by kind, and what lies beside them, from two listings."""
    used, remote = Usage(), mirror.remote
    published = set(_refs(mirror))
    for ref in published:
        used.kinds.setdefault(ref.kind, Amount()).add(1, 0)
    others: dict[Ref, int] = {}
    for path, size in remote.sizes("files").items():
        kind, key, *_ = path.split("/")
        if (ref := Ref(kind, key)) in published:
            used.kinds[kind].add(0, size)
        else:
            others[ref] = others.get(ref, 0) + size
    for size in others.values():
        used.beside["discarded attempts"].add(1, size)
    for folder, name in (("damaged", "damaged"), *((each, "other") for each in ("events", "stages", "failures"))):
        sizes = remote.sizes(folder)
        used.beside[name].add(len(sizes), sum(sizes.values()))
    return used


def verify(mirror: Mirror, progress: Progress = lambda done, total: None) -> tuple[int, list[Ref]]:
    """Fetch every artefact and hash it; the damaged ones are set aside. How many were looked at, and which were bad."""
    refs, damaged = list(_refs(mirror)), []
    for count, ref in enumerate(refs):
        progress(count, len(refs))
        try:
            mirror.verify(*ref)
        except Absent:  # removed by somebody since it was listed
            pass
        except Lost:
            damaged.append(ref)
    return len(refs), damaged


def chosen(mirror: Mirror, names: Iterable[str]) -> list[Ref]:
    """The artefacts that kinds or beginnings of keys name; raises UserError for an unclear name."""
    every = list(_refs(mirror))
    return list(dict.fromkeys(ref for name in names for ref in _named(every, name)))


def remove(mirror: Mirror, ref: Ref) -> bool:
    """Remove an artefact under its lease; False when somebody works on it."""
    lease = mirror.lease(*ref)
    if not lease.acquire():
        return False
    with lease:
        mirror.remove(*ref)
    return True


def _refs(mirror: Mirror) -> Iterable[Ref]:
    for path in mirror.remote.sizes("done"):
        kind, _, name = path.partition("/")
        yield Ref(kind, name.removesuffix(".json"))


def _named(every: list[Ref], name: str) -> list[Ref]:
    if of_kind := [ref for ref in every if ref.kind == name]:
        return of_kind
    found = [ref for ref in every if ref.key.startswith(name)]
    if len(found) != 1:
        where = f"'{name}', which fits {len(found)} artefacts"
        raise UserError("store rm", where, "a kind, or the beginning of one key", "see seedbed store du")
    return found
