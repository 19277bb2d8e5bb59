"""The stages that score: sweeps of maps, counts of masks, a policy's choice, and the row they end in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from harness.stages import weak_set as offered
from harness.stages.lineage import Lineage
from harness.stages.work import Work
from results.evaluation import evaluation_fingerprint, mask_digest
from results.metrics.counts import Counts, Coverage, count, coverage, fill_void
from results.metrics.miou import mean_iou, nullable, precision_recall
from results.metrics.sweep import Sweep, threshold_sweep
from results.metrics.winner import winner_and_score
from results.per_image import (
    confusion_table,
    image_ids,
    joined,
    read_table,
    sweep_table,
    total_counts,
    total_sweep,
    write_table,
)
from results.protocols import protocol
from results.rows import Row, write_rows
from results.selection import chooser
from settings.masks import read_mask
from settings.records import Mask
from settings.supervision import LedgerEntry


def sweep(work: Work) -> None:
    """Localization maps of a shard against true masks, at every threshold, per image."""
    from methods.localization import read_maps
    from methods.upsampling import upsample

    (shard,) = work.inputs["maps"]
    maps = {record.photo_id: record for record in read_maps(shard.path("maps.safetensors"))}

    def swept(photo_id: str, truth_HW: Mask) -> Sweep:
        winner = winner_and_score(upsample(maps[photo_id]), maps[photo_id].class_ids)
        return threshold_sweep(winner.score, winner.winner, truth_HW, _classes(work), work.identity["steps"])

    write_table(work.attempt.path("counts.parquet"), sweep_table(_over_truth(work, swept)))


def score(work: Work) -> None:
    """Masks of a shard against true masks, per image; 255 in a pseudo label counts as the stage's `void` says."""
    (shard,) = work.inputs["masks"]
    void = work.identity["void"]
    covered = Coverage(0, 0)

    def counted(photo_id: str, truth_HW: Mask) -> Counts:
        nonlocal covered
        prediction_HW = read_mask(shard.path(f"{photo_id}.png"))
        if void == "error":
            return count(prediction_HW, truth_HW, _classes(work))
        covered = covered.merged(coverage(prediction_HW, truth_HW))
        return count(*fill_void(prediction_HW, truth_HW, void), _classes(work))

    write_table(work.attempt.path("counts.parquet"), confusion_table(_over_truth(work, counted)))
    work.attempt.path("coverage.json").write_text(json.dumps(covered._asdict()), encoding="utf-8")


def select(work: Work) -> None:
    """Sweep counts → the threshold that a policy chooses."""
    table = joined([read_table(artefact.path("counts.parquet")) for artefact in work.inputs["sweeps"]])
    total = total_sweep(table, work.identity["classes"], work.identity["steps"])
    declared = work.identity["declared"]
    chosen = chooser(work.identity["policy"]).threshold(total, 0.0 if declared is None else declared)
    entry = LedgerEntry("mask", work.stage.runtime["split"], "choose", work.stage.kind, image_ids(table))
    work.write_ledger((entry,))
    content = {"threshold": chosen, "policy": work.identity["policy"], "curve": total.curve().tolist()}
    work.attempt.path("choice.json").write_text(json.dumps(content), encoding="utf-8")


def row(work: Work) -> None:
    """Counts of all shards → one row, with its ledger and its cost from everything it comes from."""
    identity = work.identity["row"]
    table = joined([read_table(artefact.path("counts.parquet")) for artefact in work.inputs["counts"]])
    threshold = _threshold(work)
    if work.inputs["counts"][0].kind == "sweep":
        swept = total_sweep(table, len(identity["classes"]), work.identity["steps"])
        index = round((threshold or 0.0) * work.identity["steps"])
        result = _result(swept.counts(index), identity["classes"])
    else:
        result = _result(total_counts(table, len(identity["classes"])), identity["classes"])
        if identity["stage"] == "pseudo_labels":
            result |= {"coverage": nullable(_coverage(work).share), "void": "background"}
    result["photos"] = len(image_ids(table))
    result |= {"evaluation_fingerprint": _evaluation_fingerprint(work), "threshold": threshold}
    lineage = Lineage.of(work)
    costs = lineage.row_fields()
    (weak_set,) = work.inputs["weak_set"]
    told = offered.row_fields(
        offered.read(weak_set), work.offer, identity["supervision"], costs["masks_trained"] + costs["masks_chosen"]
    )
    record = Row(**_row_identity(identity), **result, **costs, **told)
    work.attempt.path("sources.json").write_text(json.dumps(lineage.sources()), encoding="utf-8")
    write_rows(work.attempt.path("rows.parquet"), [record])
    write_table(work.attempt.path("counts.parquet"), table)


ROW_STAGES: Mapping[str, Callable[[Work], None]] = {"sweep": sweep, "score": score, "select": select, "row": row}


def _over_truth(work: Work, measure: Callable[[str, Mask], Any]) -> Iterator[tuple[str, Any]]:
    """Measure each photo against its true mask; notes the truth's digest and the ledger beside."""
    gate, digests = work.gate(work.identity["purpose"]), {}
    split = work.stage.runtime["split"]
    for done, photo_id in enumerate(work.stage.runtime["ids"], 1):
        truth_HW = gate.mask(split, photo_id)
        digests[photo_id] = mask_digest(truth_HW)
        yield photo_id, measure(photo_id, truth_HW)
        work.progress(done)
    work.attempt.path("truth.json").write_text(json.dumps(digests), encoding="utf-8")
    work.write_ledger(gate.entries())


def _classes(work: Work) -> int:
    return work.dataset.label_space.foreground + 1


def _threshold(work: Work) -> float | None:
    if "select" in work.inputs:
        (choice,) = work.inputs["select"]
        return float(json.loads(choice.path("choice.json").read_text(encoding="utf-8"))["threshold"])
    declared: float | None = work.identity["threshold"]
    return declared


def _result(counts: Counts, classes: Sequence[str]) -> dict[str, Any]:
    iou = mean_iou(counts)
    macro = precision_recall(counts)
    return {
        "miou": nullable(iou.mean),
        "per_class": [nullable(value) for value in iou.per_class],
        "undefined": [classes[index] for index in iou.undefined],
        "precision": nullable(macro.precision),
        "recall": nullable(macro.recall),
    }


def _row_identity(identity: Mapping[str, Any]) -> dict[str, Any]:
    return {**identity, "protocol_version": protocol(identity["protocol"]).version}


def _coverage(work: Work) -> Coverage:
    total = Coverage(0, 0)
    for artefact in work.inputs["counts"]:
        total = total.merged(Coverage(**json.loads(artefact.path("coverage.json").read_text(encoding="utf-8"))))
    return total


def _evaluation_fingerprint(work: Work) -> str:
    """What the row was scored on, from the digests that lie beside the counts of each shard."""
    digests: dict[str, str] = {}
    for artefact in work.inputs["counts"]:
        digests |= json.loads(artefact.path("truth.json").read_text(encoding="utf-8"))
    return evaluation_fingerprint(work.identity["row"]["classes"], digests)
