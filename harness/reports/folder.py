"""The folder that shows a leaderboard: tables, rows and counts, figures and pictures."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from harness.execution.running import Run
from harness.reports.files import LeaderboardFiles
from harness.reports.gathering import Leaderboard
from harness.reports.grids import grids_shown, write_grid
from harness.reports.page import counts_of, page_of, shown_of
from harness.stages.fit import FitIdentity, FitRuntime
from harness.stages.gallery import GalleryRuntime, sheet_name
from harness.stages.graph import Stage
from harness.stages.planning import Plan
from harness.store.layout import PARTIAL_FOLDER, CountFiles, FitFiles, Ref
from harness.store.store import Lost, Store
from results.diagnostics import table, write_csv
from results.per_image import read_table, stacked, write_table
from results.rows import Row, frame, write_rows
from results.selection import is_ranked
from results.shown import Further, Table, code, joined_csv, markdown
from results.verdict_tables import INTERVAL
from settings.files import read_plain, write_json
from settings.records import fingerprint

if TYPE_CHECKING:
    from results.page import Counts

__all__ = [
    "drawn_fits",
    "latex_of",
    "made_beside",
    "move_all",
    "shows",
    "unscored",
    "write_figures",
    "write_leaderboard",
    "write_page",
    "write_tables",
]

LEFT_S = 3600
"""No leaderboard takes that long to write: a half-made folder that was not touched for so long was left by a kill."""


def write_leaderboard(run: Run, board: Leaderboard, folder: Path) -> None:
    """Write the tables, rows, counts, figures and galleries, and the page that holds them all.

    Where localizers were trained, also their training curves; where they were measured, the diagnostics. Nothing is
    written again when the folder already shows these rows.
    """
    files = LeaderboardFiles(folder)
    shown = [repr(record) for record in (*board.rows, *board.diagnostics)]
    wanted = {"rows": fingerprint(shown), "targets": [ref.key for ref in run.plan.targets]}
    if _shown_by(files.state) == wanted and files.page.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    # Made beside and moved when all is there: on a full disk the old leaderboard stays whole.
    with made_beside(folder) as partial:
        _fill(run, board, LeaderboardFiles(partial), files)
        # Without its state a folder that is half moved is written again.
        files.state.unlink(missing_ok=True)
        move_all(partial, folder)
        write_json(files.state, wanted)


def shows(plan: Plan, folder: Path) -> bool:
    """Whether a folder holds the leaderboard of a plan, as a run that came to its end has written it."""
    shown = _shown_by(LeaderboardFiles(folder).state)
    return isinstance(shown, dict) and shown.get("targets") == [ref.key for ref in plan.targets]


def unscored(plan: Plan, nothing: str) -> str:
    """What was made of photos without true masks, in words; `nothing` says what follows where no photo had one."""
    lack = f"no true masks, so {nothing}"
    if plan.rows:
        lack = "no true masks for some splits"
    return f"{lack}; written: {', '.join(plan.unscored)}"


def _shown_by(state: Path) -> object:
    try:
        return json.loads(read_plain(state))
    except (OSError, ValueError, RecursionError):
        return None


def _fill(run: Run, board: Leaderboard, files: LeaderboardFiles, before: LeaderboardFiles) -> None:
    """Write all files but the state; `before` are those that are shown now, if any."""
    store = Store.at(run.location)
    write_rows(files.rows, board.rows)
    head = _write_tables(run, board, files)
    if board.grids is not None:
        write_grid(files, board.grids, head)
    _write_counts(run, store, files)
    write_figures(board.rows, board.tables, files)
    _copy_galleries(run, store, files.folder)
    _write_curves(run, store, files, before)
    for name, refs in run.plan.unscored.items():
        _copy_masks(store, refs, files.folder / name)
    # Last: it holds what was written before it.
    _write_page(run, store, board, files)


@contextmanager
def made_beside(folder: Path) -> Iterator[Path]:
    """A new folder within this one to make its files in; in the end it goes, with what was not moved out of it.

    Those go, too, whose makers were killed an hour ago or earlier.
    """
    for left in folder.glob(f"{PARTIAL_FOLDER}*"):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > LEFT_S:
                shutil.rmtree(left, ignore_errors=True)
    partial = Path(mkdtemp(prefix=PARTIAL_FOLDER, dir=folder))
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def move_all(source: Path, target: Path) -> None:
    """Move every file of a folder into another one, to the same place below it, over one that is there."""
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir(exist_ok=True)
        else:
            path.replace(place)


def _write_tables(run: Run, board: Leaderboard, files: LeaderboardFiles) -> str:
    """Write the tables of boards and of diagnostics; returns what stands above the first one."""
    suite = run.plan.suite
    notes = list(board.notes)
    if run.plan.unscored:
        notes.append(unscored(run.plan, "nothing was scored"))
    # A table stands alone in the end: what the command line changed of the suite is told at its head.
    changes = [f"- {code(f'--set {override}')}\n" for override in suite.overrides]
    changes += [f"- {markdown(note)}\n" for note in notes]
    description = "\n".join(map(markdown, suite.description.splitlines()))
    head = f"# {markdown(suite.name)}\n\n{description}\n\n{''.join(changes)}"
    if board.diagnostics:
        write_csv(files.diagnostics, board.diagnostics)
    write_tables(files, board.tables, head, [table(board.diagnostics)] if board.diagnostics else [])
    return head


def write_tables(files: LeaderboardFiles, tables: Sequence[Table], head: str, below: Sequence[Table] = ()) -> None:
    """The tables of boards as Markdown, under `head` and with others `below`, as CSV, and without seconds as LaTeX."""
    shown = [each.to_markdown() for each in (*tables, *below)]
    files.table_markdown.write_text(f"{head}\n" + "\n\n".join(shown) + "\n", encoding="utf-8")
    files.table_csv.write_text(joined_csv(tables), encoding="utf-8")
    files.table_latex.write_text(latex_of(tables), encoding="utf-8")


def latex_of(tables: Sequence[Table], intervals: bool = True) -> str:
    """The tables of boards as LaTeX, without seconds, and without the intervals where these are not wanted."""
    without = {"seconds"} if intervals else {"seconds", INTERVAL}
    return "\n\n".join(each.to_latex(without) for each in tables) + "\n"


def _write_counts(run: Run, store: Store, files: LeaderboardFiles) -> None:
    """Per-image counts of what each row scored, by the row's position.

    Rows that were counted together (one sweep serves every policy) are written once, under the first of them.
    """
    counted: dict[str, dict[tuple[Ref, ...], tuple[int, Ref]]] = {"score": {}, "sweep": {}}
    for position, ref in enumerate(run.plan.rows):
        counts = run.plan.graph[ref].inputs["counts"]
        if store.has(ref):
            counted[counts[0].kind].setdefault(counts, (position, ref))
    for kind, path in (("score", files.score_counts), ("sweep", files.sweep_counts)):
        parts = []
        for position, ref in counted[kind].values():
            parts.append((position, read_table(CountFiles(store.open(ref).folder).counts)))
        if parts:
            write_table(path, stacked(parts))


def write_figures(rows: Sequence[Row], tables: Sequence[Table], files: LeaderboardFiles) -> None:
    """Draw the table and mIoU over noise; without a ranked row that has a mIoU there is nothing to draw."""
    has_something = any(row.miou is not None and is_ranked(row.policy) for row in rows)
    if not has_something:
        return
    # What draws takes long to import, and a leaderboard that is written already needs none of it.
    from results.glance import plot_glance
    from results.noise_plot import plot_noise

    plot_glance(tables, files.table_png, files.table_svg)
    plot_noise(frame(rows), files.noise_png, files.noise_svg)


def _write_page(run: Run, store: Store, board: Leaderboard, files: LeaderboardFiles) -> None:
    """The page, and the pictures of single photos on it, where the run drew galleries."""
    from harness.reports.tiles import write_tiles
    from results.page import scores_of

    counts = counts_of(files, board.rows, board.tables)
    # A ranked board is the first one.
    write_tiles(run, store, scores_of(board.tables[0], counts) if board.tables else [], files)
    write_page(files, board.rows, board.tables, counts, grids_shown(board.grids, Path()))


def write_page(
    files: LeaderboardFiles,
    rows: Sequence[Row],
    tables: Sequence[Table],
    counts: Counts | None = None,
    grids: Sequence[Further] = (),
) -> None:
    """Write the page of what a leaderboard's folder holds; `counts` are read there where they are not given."""
    # Others' photos are left to those who ask for them.
    shown = shown_of(files, rows, tables, counts or counts_of(files, rows, tables), Path(), outlines=True, grids=grids)
    files.page.write_text(page_of([shown]).text, encoding="utf-8")


def _copy_galleries(run: Run, store: Store, folder: Path) -> None:
    """Put the sheets of galleries where they are found; those that could not be made are missing."""
    for ref in run.plan.pictures:
        if store.has(ref):
            runtime = run.plan.graph[ref].runtime
            assert isinstance(runtime, GalleryRuntime)
            artefact = store.open(ref)
            # Recipes share the names of their sheets, and artefacts do not know for which of them they were made.
            for name in artefact.record.files:
                shutil.copyfile(artefact.path(name), folder / sheet_name(name, runtime))


def _copy_masks(store: Store, refs: Sequence[Ref], folder: Path) -> None:
    """Copy masks that no row scores into a folder of their own."""
    # Where nothing can be scored, they are what the run was for: nobody should have to look for them by keys.
    for ref in refs:
        if store.has(ref):
            artefact = store.open(ref)
            for name in artefact.record.files:
                # Masks of photos in subfolders lie in subfolders.
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(artefact.path(name), folder / name)


def _write_curves(run: Run, store: Store, files: LeaderboardFiles, before: LeaderboardFiles) -> None:
    """Write the training curves; nothing where no localizer was trained.

    A fit may be lost while all that came of it is whole, and then it is not made again: its curve is what it was.
    """
    records: list[dict[str, object]] = []
    for stage in drawn_fits(run.plan.graph):
        assert isinstance(stage.runtime, FitRuntime)
        records += _logged(store, stage, stage.runtime, before)
    if not any(record["step"] == "localizer" for record in records):
        return
    from results.curves import curves, plot_curves

    frame = curves(records)
    frame.to_csv(files.training_csv, index=False, lineterminator="\n")
    plot_curves(frame, files.training_png)


def drawn_fits(graph: Mapping[Ref, Stage]) -> Iterator[Stage]:
    """The stages whose training curves are shown, one of a kind for each line."""
    for stage in graph.values():
        runtime = stage.runtime
        # Fits that a policy chose inputs for, and held-out ones, would be second curves of one recipe.
        if stage.kind.curve and isinstance(runtime, FitRuntime) and not (runtime.held_out or runtime.chosen):
            yield stage


def _logged(store: Store, stage: Stage, runtime: FitRuntime, before: LeaderboardFiles) -> Iterator[dict[str, object]]:
    """What a fit logged, one record for each epoch and term of the loss; of a lost one, what was written before."""
    assert isinstance(stage.identity, FitIdentity)
    fit: Mapping[str, object] = {
        "recipe": runtime.recipe,
        "setting": runtime.place.setting_label,
        "rng_seed": stage.identity.rng_seed,
        "step": stage.kind.curve,
    }
    try:
        log = json.loads(FitFiles(store.open(stage.ref).folder).log.read_text(encoding="utf-8"))
    except Lost:
        from results.curves import records_in

        yield from (record for record in records_in(before.training_csv) if fit.items() <= record.items())
        return
    for epoch, row in enumerate(log):
        for name, value in row.items():
            if name != "epoch":
                yield {**fit, "epoch": row.get("epoch", epoch), "term": name, "value": value}
