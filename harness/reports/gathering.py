"""From a run's artefacts to what a leaderboard says: rows, measures of diagnostics, and holes with their reasons."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from harness.execution.running import Run
from harness.reports.doubts import doubts
from harness.reports.grids import grids_of_plan
from harness.stages.diagnostics import DiagnosticRuntime, read_measures
from harness.stages.graph import Stage
from harness.stages.provenance import stale_sources
from harness.stages.rows import RowIdentity
from harness.store.layout import CountFiles, MeasureFiles, Ref, RowFiles
from harness.store.store import Artefact, Lost, Store
from results.counted import ImageSums, image_sums
from results.diagnostics import Measured
from results.grids import Grids
from results.per_image import read_table
from results.rows import Row, frame, shared_rows
from results.shown import Table
from results.tables import tables

__all__ = ["Leaderboard", "gather", "hole", "read_row", "reason_of", "row_of"]


@dataclass(frozen=True)
class Leaderboard:
    """The rows of a run, holes included, their tables, and what was measured beside them."""

    rows: tuple[Row, ...]
    tables: tuple[Table, ...]
    diagnostics: tuple[Measured, ...] = ()
    notes: tuple[str, ...] = ()
    """What is to be known of the settings, which recipes were skipped under which, and why, and what is doubtful."""
    grids: Grids | None = None
    """What was measured of the suite's grid."""

    @property
    def grid_tables(self) -> list[Table]:
        """The tables of the grid; none without one."""
        return self.grids.tables if self.grids else []

    @property
    def holes(self) -> int:
        """How many rows and diagnostics are not there, since they failed or were blocked."""
        rows = sum(row.status == "failed" for row in self.rows)
        return rows + sum(bool(measured.reason) for measured in self.diagnostics)


def gather(run: Run) -> Leaderboard:
    """What a run made: rows and measures in plan order; one that could not be made is a hole with its reason."""
    store = Store.at(run.location)
    rows = tuple(_row(store, run, ref) for ref in run.plan.rows)
    diagnostics: list[Measured] = []
    for ref in run.plan.diagnostics:
        diagnostics += _measured(store, run, ref)
    notes = (*run.plan.notes, *doubts(store, run))
    refs = {row.identity: ref for row, ref in zip(rows, run.plan.rows, strict=True)}

    def counts(row: Row) -> ImageSums | None:
        return _sums(store, refs[row.identity], row)

    shown = tables(frame(rows), counts=counts)
    return Leaderboard(rows, tuple(shown), tuple(diagnostics), notes, grids_of_plan(run.plan, rows, counts))


def reason_of(run: Run, stage: Stage) -> str:
    """Why the stage made nothing: its own failure, or that of the one before it, by name."""
    root = run.result.blocked.get(stage.ref, stage.ref)
    lost = run.result.lost.get(root)
    if root in run.result.failures:
        reason = run.result.failures[root]
    elif lost:
        reason = f"its input {lost} was lost"
    else:
        reason = "not run: the run was stopped before it"
    if root == stage.ref:
        return reason
    return f"{run.plan.graph[root].label}: {reason}"


def _row(store: Store, run: Run, ref: Ref) -> Row:
    """A row as its stage wrote it; a hole where there is none."""
    stage = run.plan.graph[ref]
    try:
        return read_row(store, ref)
    except Lost:
        return hole(stage, reason_of(run, stage))


def _sums(store: Store, ref: Ref, row: Row) -> ImageSums | None:
    """What a row was scored from, image by image; None where it is lost."""
    try:
        counts = read_table(CountFiles(store.open(ref).folder).counts)
    except Lost:
        return None
    return image_sums(counts, len(row.classes), row.threshold)


def read_row(store: Store, ref: Ref) -> Row:
    """A row as its stage wrote it, with what of its sources differs from today's; raises Lost where there is none."""
    return row_of(store.open(ref))


def row_of(artefact: Artefact) -> Row:
    """A row from its artefact, with what of its sources differs from today's."""
    files = RowFiles(artefact.folder)
    (row,) = shared_rows().read(files.rows, artefact.record.files[RowFiles.rows.name])
    made_by = json.loads(files.sources.read_text(encoding="utf-8"))
    # Found now and not when the row was made: the sources change while the artefact stays.
    return replace(row, stale=stale_sources(made_by))


def hole(stage: Stage, reason: str) -> Row:
    """A row that says why there is no score, with all that its stage tells of it."""
    assert isinstance(stage.identity, RowIdentity)
    # Fingerprints are of masks and photos as they were read, and nothing was.
    fields = {**stage.identity.row.fields(), "evaluation_fingerprint": "", "training_fingerprint": ""}
    return Row(**fields, miou=None, status="failed", reason=reason)


def _measured(store: Store, run: Run, ref: Ref) -> Iterator[Measured]:
    """What one diagnostic measured, one entry a measure; a single one with the reason where it measured nothing."""
    stage = run.plan.graph[ref]
    assert isinstance(stage.runtime, DiagnosticRuntime)
    shown = asdict(stage.runtime.shown)
    try:
        measures = read_measures(MeasureFiles(store.open(ref).folder))
    except Lost:
        yield Measured(**shown, measure="", value=None, reason=reason_of(run, stage))
        return
    for name, value in measures.items():
        yield Measured(**shown, measure=name, value=value)
