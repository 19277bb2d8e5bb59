"""Artefacts that other sources made than today's: a table marks their rows, and `--strict` has them made again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.stages.planning import Plan
from harness.stages.provenance import stale_sources
from harness.store.care.waste import Waste, remove
from harness.store.layout import Ref
from harness.store.record import Record
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
        inputs = set(stage.needs())
        if not stale.isdisjoint(inputs) or (ref in records and _is_of_others(records[ref], inputs, records)):
            stale.add(ref)
    for ref in stale & records.keys():
        remove(store, Waste(ref.kind, (), ref, is_whole_key=True))


def _is_of_others(record: Record, inputs: Iterable[Ref], records: Mapping[Ref, Record]) -> bool:
    """Whether other sources made it, or it came of what lay where a later run made an input again."""
    if stale_sources(record.sources):
        return True
    made = [records[ref] for ref in inputs if ref in records]
    # By run and by time: runs side by side make what each other needs, and clocks are set.
    return any("" < record.run < one.run and record.finished < one.finished for one in made)
