"""From a run's artefacts to its leaderboard: rows, holes, tables, figure and pictures in one folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp

from harness.execution import ExecutorName
from harness.execution.running import ANYWHERE, Run, run_suite
from harness.execution.workers import Workers
from harness.reports.display import Display, duration
from harness.reports.holes import reason_of
from harness.reports.measured import diagnostics_of, write_curves
from harness.stages.graph import Stage
from harness.stages.lineage import stale_sources
from harness.stages.planning import Plan
from harness.store.backends.urls import Location
from harness.store.layout import PARTIAL_FOLDER, Ref
from harness.store.store import Lost, Store
from harness.suites.suite import Suite
from results.diagnostics import Measured, table, write_csv
from results.per_image import read_table, stacked, write_table
from results.protocols import protocol
from results.rows import Row, frame, read_rows, write_rows
from results.selection import is_ranked
from results.tables import Table, tables
from settings.errors import UserError
from settings.files import write_json
from settings.records import fingerprint


@dataclass(frozen=True)
class Leaderboard:
    """The rows of a run, holes included, their tables, and what was measured beside them."""

    rows: tuple[Row, ...]
    tables: tuple[Table, ...]
    diagnostics: tuple[Measured, ...] = ()
    notes: tuple[str, ...] = ()
    """What is to be known of the settings, and which recipes were skipped under which, and why."""

    @property
    def holes(self) -> int:
        """Rows and diagnostics that failed or were blocked."""
        return sum(row.status == "failed" for row in self.rows) + sum(bool(m.reason) for m in self.diagnostics)


@dataclass(frozen=True, repr=False)
class Finished:
    """What `harness.run` returns: the run, its leaderboard, and the folder that shows it."""

    run: Run
    board: Leaderboard
    folder: Path
    unwritten: str = ""
    """Why the folder does not show the board: a full disk, say."""

    def __repr__(self) -> str:
        return f"<{self.run.plan.suite.name}: {self.summary()}>"

    @property
    def exit_code(self) -> int:
        """0, 1 when something failed, 2 when all that failed is for the user to mend, 130 when it was stopped."""
        if self.run.result.interrupted:
            return 130
        failures = self.run.result.failures
        if failures and set(failures) == self.run.result.user_errors:
            return 2
        return 1 if failures or self.board.holes or self.unwritten else 0

    def user_errors(self) -> list[str]:
        """What the user can mend, each line once."""
        result = self.run.result
        return list(dict.fromkeys(result.failures[ref] for ref in result.failures if ref in result.user_errors))

    def summary(self) -> str:
        """One line: stages, time, holes, where the results lie."""
        run = self.run
        state = "stopped; run it again to continue" if run.result.interrupted else f"{self.board.holes} holes"
        if run.plan.unscored:
            state += f" · {_unscored(run.plan, 'nothing to score')}"
        if self.unwritten:
            state += f" · the leaderboard could not be written ({self.unwritten}); make room and run it again"
        return f"{run.stages_run} stages in {duration(run.seconds)} · {state} · {self.folder}"


def run_and_gather(
    suite: Suite,
    store: Location,
    workers: Workers | ExecutorName = ANYWHERE,
    folder: Path | None = None,
    shown: bool = False,
) -> Finished:
    """Run what is missing of a suite and write its leaderboard into `folder`; `shown` displays progress."""
    _check_writable(folder)
    with run_suite(suite, store, workers, Display if shown else None) as run:
        board = gather(run)
        opened = Store.at(run.location)
        folder = folder or opened.leaderboard_folder(suite.folder_name)
        unwritten = ""
        try:
            if not run.result.interrupted:
                write_leaderboard(run, board, folder)
                opened.share(folder)
        except OSError as error:
            unwritten = error.strerror or str(error)
        return Finished(run, board, folder, unwritten)


def _check_writable(folder: Path | None) -> None:
    """A folder that cannot be written is better told before a night's work than after."""
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "state.json").touch()
    except OSError as error:
        raise UserError("--output", f"'{folder}', which cannot be written ({error.strerror})", "a folder") from None


def gather(run: Run) -> Leaderboard:
    """The rows of a run in plan order; a row that could not be made is a hole with its reason."""
    store = Store.at(run.location)
    rows = tuple(_row(store, run, ref) for ref in run.plan.rows)
    return Leaderboard(rows, tuple(tables(frame(rows))), diagnostics_of(run), run.plan.notes)


def write_leaderboard(run: Run, board: Leaderboard, folder: Path) -> None:
    """Write table.md, table.csv, rows.parquet, counts.parquet, table.png/.svg and the galleries.

    Where localizers were trained, also training.csv and training.png; where they were measured, diagnostics.csv.
    Nothing is written again when the folder already shows these rows.
    """
    state = folder / "state.json"
    shown = [repr(record) for record in (*board.rows, *board.diagnostics)]
    wanted = {"rows": fingerprint(shown), "targets": [ref.key for ref in run.plan.targets]}
    if _shown_by(state) == wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    # Made beside and moved when all is there: on a full disk the old leaderboard stays whole.
    partial = Path(mkdtemp(prefix=PARTIAL_FOLDER, dir=folder))
    try:
        write_rows(partial / "rows.parquet", board.rows)
        _write_tables(run, board, partial)
        _write_counts(run, partial)
        _write_pictures(run, board, partial)
        write_curves(run, partial)
        for name, refs in run.plan.unscored.items():
            _copy_masks(Store.at(run.location), refs, partial / name)
        state.unlink(missing_ok=True)
        _move_all(partial, folder)
        write_json(state, wanted)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _move_all(source: Path, target: Path) -> None:
    """Every file of a folder into another one, at the same place."""
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir(exist_ok=True)
        else:
            path.replace(place)


def _shown_by(state: Path) -> object:
    try:
        return json.loads(state.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _row(store: Store, run: Run, ref: Ref) -> Row:
    stage = run.plan.graph[ref]
    try:
        artefact = store.open(ref)
    except Lost:
        return _hole(run, stage)
    (row,) = read_rows(artefact.path("rows.parquet"))
    return replace(row, stale=stale_sources(json.loads(artefact.path("sources.json").read_text(encoding="utf-8"))))


def _hole(run: Run, stage: Stage) -> Row:
    identity = {**stage.identity["row"], "protocol_version": protocol(stage.identity["row"]["protocol"]).version}
    fields = {**identity, "evaluation_fingerprint": "", "training_fingerprint": ""}
    return Row(**fields, miou=None, status="failed", reason=reason_of(run, stage))


def _write_tables(run: Run, board: Leaderboard, folder: Path) -> None:
    suite = run.plan.suite
    changes = "".join(f"- `--set {override}`\n" for override in suite.overrides)
    notes = (*board.notes, *([_unscored(run.plan, "nothing was scored")] if run.plan.unscored else []))
    changes += "".join(f"- {note}\n" for note in notes)
    head = f"# {suite.name}\n\n{suite.description}\n\n{changes}\n"
    shown = [*board.tables, *([table(board.diagnostics)] if board.diagnostics else [])]
    body = "\n\n".join(each.to_markdown() for each in shown)
    (folder / "table.md").write_text(head + body + "\n", encoding="utf-8")
    if board.diagnostics:
        write_csv(folder / "diagnostics.csv", board.diagnostics)
    first, *others = [each.to_csv() for each in board.tables] or [""]
    rest = "".join(text.split("\n", 1)[1] for text in others)
    (folder / "table.csv").write_text(first + rest, encoding="utf-8")


def _unscored(plan: Plan, nothing: str) -> str:
    """What was made of photos without true masks; `nothing`, in words, where no photo had one."""
    lack = "no true masks for some splits" if plan.rows else f"no true masks, so {nothing}"
    return f"{lack}; written: {', '.join(plan.unscored)}"


def _write_counts(run: Run, folder: Path) -> None:
    """Per-image counts: `counts.parquet` (masks) and `sweeps.parquet` (maps); `row` is the position in rows.parquet.

    Rows that were counted together (one sweep serves every policy) are written once, under the first of them.
    """
    store = Store.at(run.location)
    kinds: dict[str, dict[tuple[Ref, ...], tuple[int, Ref]]] = {"score": {}, "sweep": {}}
    for position, ref in enumerate(run.plan.rows):
        counts = run.plan.graph[ref].inputs["counts"]
        if store.has(ref):
            kinds[counts[0].kind].setdefault(counts, (position, ref))
    for kind, name in (("score", "counts.parquet"), ("sweep", "sweeps.parquet")):
        parts = [
            (position, read_table(store.open(ref).path("counts.parquet"))) for position, ref in kinds[kind].values()
        ]
        if parts:
            write_table(folder / name, stacked(parts))


def _copy_masks(store: Store, refs: Sequence[Ref], folder: Path) -> None:
    """Masks that no row scores are what the run was for: put where they are found."""
    folder.mkdir(exist_ok=True)
    for artefact in (store.open(ref) for ref in refs if store.has(ref)):
        for name in artefact.record.files:
            shutil.copyfile(artefact.path(name), folder / name)


def _write_pictures(run: Run, board: Leaderboard, folder: Path) -> None:
    from results.noise_plot import plot_noise
    from results.plots import plot_table

    store = Store.at(run.location)
    if any(row.miou is not None and is_ranked(row.policy) for row in board.rows):
        plot_table(frame(board.rows), folder / "table.png", folder / "table.svg")
        plot_noise(frame(board.rows), folder / "noise.png", folder / "noise.svg")
    for ref in run.plan.pictures:
        if store.has(ref):
            line = run.plan.graph[ref].runtime["name"]
            artefact = store.open(ref)
            for name in artefact.record.files:
                shutil.copyfile(artefact.path(name), folder / f"{Path(name).stem}-{line}.png")
