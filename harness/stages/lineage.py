"""What a row comes from: the union of its ancestors' ledgers, costs and sources."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.stages.provenance import provenance, sources_of
from harness.stages.work import AnyWork
from harness.store.layout import Ref
from harness.store.record import Record
from settings.supervision import LedgerEntry


@dataclass(frozen=True)
class Lineage:
    """The records of all ancestors of a stage, each once."""

    records: Mapping[Ref, Record]

    @classmethod
    def of(cls, work: AnyWork) -> Lineage:
        """Follow the inputs' records to the beginning."""
        store = work.store
        records: dict[Ref, Record] = {}
        # A row opens its weak set to tell of it: what was read counts where something was trained on it.
        pending = {ref for role, refs in work.stage.inputs.items() if role != "weak_set" for ref in refs}
        while pending:
            read = store.records(pending)
            for ref in pending:
                # What is not among them is asked for by itself, to be told why.
                records[ref] = read.get(ref) or store.record(ref)
            pending = {other for ref in pending for other in records[ref].inputs} - records.keys()
        return cls(records)

    def ledger(self) -> list[LedgerEntry]:
        """Every entry that an ancestor wrote."""
        return [LedgerEntry.from_json(entry) for record in self.records.values() for entry in record.ledger]

    def sources(self) -> dict[str, str]:
        """Module → hash of the sources that made its artefacts."""
        return {name: sha for record in self.records.values() for name, sha in record.sources.items()}

    def row_fields(self) -> dict[str, Any]:
        """The part of a row that tells supervision, cost and provenance."""
        ledger = self.ledger()
        records = self.records.values()
        seconds = [record.seconds for record in records]
        on_gpu = [record.seconds * record.gpus for record in records if record.device == "cuda"]
        return {
            "labels_read": _distinct(ledger, "train", "image_labels"),
            "masks_scored": _distinct(ledger, "score"),
            "masks_chosen": _distinct(ledger, "choose"),
            "masks_trained": _distinct(ledger, "train"),
            "seconds": round(sum(seconds), 3),
            "gpu_seconds": round(sum(on_gpu), 3),
            "peak_memory_bytes": max((record.peak_memory_bytes for record in records), default=0),
            **self._processes(),
            "provenance": json.dumps(provenance(), sort_keys=True),
        }

    def _processes(self) -> dict[str, Any]:
        """How many processes trained the networks that a row comes from, and how they did batch norm."""
        numerics = [record.numerics for record in self.records.values()]
        together = [each for each in numerics if each.get("train_processes", 1) > 1]
        if not together:
            return {}
        synchronised = all(each["sync_batch_norm"] for each in together)
        return {
            "train_processes": max(each["train_processes"] for each in together),
            "batch_norm": "synchronised" if synchronised else "per process",
        }


def stale_sources(made_by: Mapping[str, str]) -> list[str]:
    """The modules whose sources are no longer those that made an artefact."""
    return sorted(module for module, sha in made_by.items() if sources_of(module) != sha)


def _distinct(ledger: list[LedgerEntry], purpose: str, kind: str = "mask") -> int:
    entries = (entry for entry in ledger if entry.purpose == purpose and entry.kind == kind)
    return len({photo_id for entry in entries for photo_id in entry.ids})
