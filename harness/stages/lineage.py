"""What a row comes from: the records of all its ancestors, and what they add up to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypedDict

from harness.stages.provenance import provenance, stale_sources
from harness.stages.work import AnyWork
from harness.store.layout import Ref
from harness.store.record import Record
from settings.supervision import LedgerEntry

__all__ = ["CostFields", "Lineage"]


class CostFields(TypedDict, total=False):
    """The part of a row that tells supervision, cost and provenance."""

    labels_read: int
    masks_scored: int
    masks_chosen: int
    masks_declared: int
    masks_trained: int
    seconds: float
    gpu_seconds: float
    """Seconds on GPUs, counted once for each GPU."""
    peak_memory_bytes: int
    train_processes: int
    """How many processes trained the networks together; left out where one did."""
    batch_norm: str
    provenance: str


@dataclass(frozen=True)
class Lineage:
    """The records of all ancestors of a stage, each once however many ways lead to it, by reference."""

    records: Mapping[Ref, Record]

    @classmethod
    def of(cls, work: AnyWork) -> Lineage:
        """Follow the inputs' records to the beginning, generation by generation: each is read at once."""
        store = work.store
        records: dict[Ref, Record] = {}
        pending: set[Ref] = set()
        for role, refs in work.stage.inputs.items():
            # A row opens its weak set to tell of it: what was read counts where something was trained on it.
            if role != "weak_set":
                pending |= set(refs)
        while pending:
            read = store.records(pending)
            inputs: set[Ref] = set()
            for ref in pending:
                # What is not among them is asked for by itself, to be told why.
                records[ref] = read.get(ref) or store.record(ref)
                inputs |= set(records[ref].inputs)
            pending = inputs - records.keys()
        return cls(records)

    def sources(self) -> dict[str, str]:
        """Module → hash of the sources that made the ancestors' artefacts: a table marks rows whose sources changed.

        Where a module's sources changed between two of them, those that are not today's are told.
        """
        found: dict[str, str] = {}
        for record in self.records.values():
            found = record.sources | found
            found |= {module: record.sources[module] for module in stale_sources(record.sources)}
        return found

    def row_fields(self, declared_on: Mapping[str, int]) -> CostFields:
        """What the row has read, cost and used, as entries of `results.rows.Row`.

        `declared_on` is how many masks of each split its options were chosen on before the run.
        """
        ledger: list[LedgerEntry] = []
        seconds = gpu_seconds = 0.0
        peak_memory_bytes = 0
        for record in self.records.values():
            ledger += [LedgerEntry.from_json(entry) for entry in record.ledger]
            seconds += record.seconds
            # The processes of a team have a GPU each: an hour of four GPUs costs four.
            if record.device == "cuda":
                gpu_seconds += record.seconds * record.gpus
            peak_memory_bytes = max(peak_memory_bytes, record.peak_memory_bytes)
        fields: CostFields = {
            "labels_read": _distinct(ledger, "train", "image_labels"),
            "masks_scored": _distinct(ledger, "score", "mask"),
            "masks_chosen": _chosen(ledger, declared_on),
            "masks_declared": sum(declared_on.values()),
            "masks_trained": _distinct(ledger, "train", "mask"),
            "seconds": round(seconds, 3),
            "gpu_seconds": round(gpu_seconds, 3),
            "peak_memory_bytes": peak_memory_bytes,
            "provenance": json.dumps(provenance(), sort_keys=True),
        }
        numerics = [record.numerics for record in self.records.values()]
        # Records of stages without torch, and those older than teams, name no number of processes.
        together = [each for each in numerics if each.get("train_processes", 1) > 1]
        if together:
            fields["train_processes"] = max(each["train_processes"] for each in together)
            fields["batch_norm"] = "per process"
            if all(each["sync_batch_norm"] for each in together):
                fields["batch_norm"] = "synchronised"
        return fields


def _chosen(ledger: Iterable[LedgerEntry], declared_on: Mapping[str, int]) -> int:
    """How many masks options were chosen on, in the run or before it: a mask that served both times counts once.

    Which masks of a split were used before nobody knows: those that the run read are taken to be among them.
    """
    by_split: dict[str, list[LedgerEntry]] = {split: [] for split in declared_on}
    for entry in ledger:
        by_split.setdefault(entry.split, []).append(entry)
    chosen = 0
    for split, entries in by_split.items():
        chosen += max(_distinct(entries, "choose", "mask"), declared_on.get(split, 0))
    return chosen


def _distinct(ledger: Iterable[LedgerEntry], purpose: str, kind: str) -> int:
    """How many photos' masks (or labels) were read for a purpose: one that several stages read counts once."""
    ids: set[str] = set()
    for entry in ledger:
        if entry.purpose == purpose and entry.kind == kind:
            ids |= set(entry.ids)
    return len(ids)
