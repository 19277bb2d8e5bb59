"""Artefacts that other sources made than today's: a table marks their rows, and `--strict` has them made again."""

from __future__ import annotations

from harness.stages.planning import Plan
from harness.stages.provenance import stale_sources
from harness.store.care.waste import Waste, remove
from harness.store.layout import Ref
from harness.store.store import Store

__all__ = ["remove_stale"]


def remove_stale(plan: Plan, store: Store) -> None:
    """Remove what other sources than today's made for a plan, and all that came of it: its run makes it again.

    What a living process works on stays.
    """
    records = store.records(plan.graph)
    stale: set[Ref] = set()
    # In the graph's order: what comes of a stale artefact is looked at after it, and is as stale.
    for ref, stage in plan.graph.items():
        record = records.get(ref)
        is_stale = record is not None and bool(stale_sources(record.sources))
        if is_stale or not stale.isdisjoint(stage.needs()):
            stale.add(ref)
    for ref in stale & records.keys():
        remove(store, Waste(ref.kind, (), ref, is_whole_key=True))
