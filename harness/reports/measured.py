"""From a run's artefacts to what its folder tells beside the rows: diagnostics and training curves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.execution.running import Run
from harness.reports.holes import reason_of
from harness.stages.graph import Stage
from harness.store.layout import Ref
from harness.store.store import Lost, Store
from results.diagnostics import Measured

STEPS = {"localizer_fit": "localizer", "segmenter_fit": "segmenter"}


def diagnostics_of(run: Run) -> tuple[Measured, ...]:
    """All measures in plan order; a stage that made none is a hole with its reason."""
    store = Store.at(run.location)
    return tuple(record for ref in run.plan.diagnostics for record in _measured(store, run, ref))


def _measured(store: Store, run: Run, ref: Ref) -> Iterator[Measured]:
    stage = run.plan.graph[ref]
    shown = stage.runtime["shown"]
    try:
        content = json.loads(store.open(ref).path("measures.json").read_text(encoding="utf-8"))
    except Lost:
        yield Measured(**shown, measure="", value=None, reason=reason_of(run, stage))
        return
    for name, value in content["measures"].items():
        yield Measured(**shown, measure=name, value=value)


def write_curves(run: Run, folder: Path) -> None:
    """Write training.csv and training.png; nothing where no localizer was trained."""
    records = list(_logged(run))
    if not any(record["step"] == "localizer" for record in records):
        return
    from results.curves import curves, plot_curves

    frame = curves(records)
    frame.to_csv(folder / "training.csv", index=False, lineterminator="\n")
    plot_curves(frame, folder / "training.png")


def _logged(run: Run) -> Iterator[dict[str, Any]]:
    """One record a fit, epoch and term; not of fits whose options a policy chose, nor of held-out ones."""
    store = Store.at(run.location)
    for ref, stage in run.plan.graph.items():
        if ref.kind in STEPS and not (stage.runtime.get("held_out") or stage.runtime.get("chosen")):
            yield from _records(store, stage)


def _records(store: Store, stage: Stage) -> Iterator[dict[str, Any]]:
    try:
        log = json.loads(store.open(stage.ref).path("log.json").read_text(encoding="utf-8"))
    except Lost:
        return
    shown = {
        "recipe": stage.runtime["recipe"],
        "setting": stage.runtime["setting_label"],
        "rng_seed": stage.identity["rng_seed"],
        "step": STEPS[stage.kind],
    }
    for epoch, row in enumerate(log):
        terms = {name: value for name, value in row.items() if name != "epoch"}
        yield from ({**shown, "epoch": row.get("epoch", epoch), "term": n, "value": v} for n, v in terms.items())
