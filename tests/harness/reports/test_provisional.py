"""The table of a run that goes on: what of it is told, when, where it is written, and when it goes."""

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness.execution.costs import Costs
from harness.execution.descriptions import describe
from harness.execution.running import run_plan
from harness.reports.display import Display, Follower
from harness.reports.files import LeaderboardFiles
from harness.reports.folder import write_leaderboard
from harness.reports.leaderboard import run_and_gather
from harness.reports.progress import RunState
from harness.reports.provisional import Provisional, Standing
from harness.reports.status import status_of
from harness.stages.graph import Stage
from harness.stages.planning import make_plan
from harness.store.events import Event, EventLog
from harness.store.layout import RowFiles
from harness.store.lease import this_process
from harness.store.store import Store
from harness.suites.suite import load_suite
from results.rows import write_rows
from settings.files import write_bytes
from tests.harness.conftest import ONLY_CAM
from tests.harness.fakes import label_stage, row_stage
from tests.results.conftest import make_row

FIT = label_stage(0, label="fit", group="fit", photos=10)
NEEDS = {"counts": (FIT.ref,)}
ROWS = [
    row_stage("cam", "clean", 0, group="rows"),
    row_stage("cam", "clean", 1, group="rows"),
    row_stage("irn", "clean", 0, NEEDS, group="rows"),
    row_stage("irn", "clean", 1, group="rows"),
    row_stage("cam", "web", 0, group="rows"),
]
MIOUS = {"cam clean 0": 0.5, "irn clean 0": 0.25, "cam web 0": 0.75, "cam clean 1": 0.3, "irn clean 1": 0.4}
STAGES = [FIT, *ROWS]
GRAPH = {stage.ref: stage for stage in STAGES}
ROW_REFS = [row.ref for row in ROWS]


def publish(store: Store, label: str) -> Stage:
    """The row of that label, as its stage would have published it."""
    (stage,) = (row for row in ROWS if row.label == label)
    recipe, setting, rng_seed = label.split()
    attempt = store.attempt(stage.ref)
    files = RowFiles(attempt.folder)
    place = {"recipe": recipe, "setting": setting, "rng_seed": int(rng_seed), "stage": "pseudo_labels"}
    write_rows(files.rows, [make_row(miou=MIOUS[label], **place)])
    files.sources.write_text("{}")
    assert store.publish(attempt)
    return stage


def finished(store: Store, *labels: str) -> dict[str, Any]:
    """The event that tells of these rows, which are published."""
    return {"event": "finished", "t": 1.0, "stages": [publish(store, label).key for label in labels]}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store").create()


def follow(store: Store, to_make: list[Stage] = STAGES) -> tuple[RunState, Provisional]:
    state = RunState({stage.key: stage for stage in to_make}, Costs(store))
    return state, Provisional(GRAPH, ROW_REFS, [stage.key for stage in to_make], state, store)


def test_each_round_that_is_complete_brings_a_table_of_its_rows(store: Store) -> None:
    state, provisional = follow(store)
    state.take(finished(store, "cam clean 0"))  # type: ignore[arg-type]
    assert provisional.advance() is None
    assert (provisional.next_name, provisional.next_counts()) == ("1 of 2 rng seeds, setting clean", (1, 2))
    state.take(finished(store, "irn clean 0"))  # type: ignore[arg-type]
    standing = provisional.advance()
    assert standing is not None and not standing.is_last
    (table,) = standing.tables()
    name = "1 of 2 rng seeds, setting clean"
    assert table.title == f"PROVISIONAL, {name} · scenes · I · frozen · policy fixed · voc/1"
    lines = [line[:2] for line in table.lines]
    assert lines == [("cam †", "0.500"), ("irn †", "0.250")] and table.common.startswith("all rows: setting clean")
    assert f"† not ranked: provisional, {name}" in table.notes
    assert not any(record["ranked"] for record in table.records)
    assert provisional.advance() is None, "told once"
    # Two rounds at once, the second of which is the last: the newest state is told alone.
    state.take(finished(store, "cam web 0", "cam clean 1", "irn clean 1"))  # type: ignore[arg-type]
    last = provisional.advance()
    assert last is not None and last.is_last and last.name == "2 of 2 rng seeds"
    (table,) = last.tables()
    lines = [line[:3] for line in table.lines]
    assert lines == [
        ("cam †", "web", "0.750"),
        ("cam †", "clean", "0.400 ± 0.141"),
        ("irn †", "clean", "0.325 ± 0.106"),
    ]


def test_a_run_that_continues_goes_on_with_what_was_there(store: Store) -> None:
    publish(store, "cam clean 0")
    publish(store, "irn clean 0")
    left = [stage for stage in STAGES if stage.label not in ("fit", "cam clean 0", "irn clean 0")]
    _, provisional = follow(store, left)
    standing = provisional.advance()
    assert standing is not None and standing.name == "1 of 2 rng seeds, setting clean"


def test_a_row_that_can_no_longer_come_is_a_hole_with_its_reason(store: Store) -> None:
    state, provisional = follow(store)
    state.take(finished(store, "cam clean 0"))  # type: ignore[arg-type]
    state.take({"event": "started", "t": 1.0, "stages": [FIT.key]})
    state.take({"event": "failed", "t": 2.0, "stages": [FIT.key], "reason": "non-finite loss"})
    standing = provisional.advance()
    assert standing is not None
    (table,) = standing.tables()
    assert [line[1] for line in table.lines] == ["0.500", "✗ [1]"]
    assert "[1] rng seed 0: fit: non-finite loss" in table.notes


def test_the_file_says_what_it_is(store: Store) -> None:
    state, provisional = follow(store)
    state.take(finished(store, "cam clean 0", "irn clean 0"))  # type: ignore[arg-type]
    standing = provisional.advance()
    assert standing is not None
    head, text, *_ = standing.to_markdown("mine", 130.0).split("\n\n")
    assert head == "# mine · PROVISIONAL: 1 of 2 rng seeds, setting clean"
    assert text.startswith("Not the final table, and nothing is ranked: written ")
    assert "2 min 10 s after the run began. When the run ends, table.md stands beside" in text


@pytest.mark.parametrize("place", ["folder", "memory"])
def test_status_shows_it_from_the_store_until_the_run_is_over(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    location = {"folder": str(tmp_path / "store"), "memory": f"memory://provisional/{tmp_path.name}"}[place]
    store = Store.at(location).create()
    describe(store, STAGES)
    log = store.begin_log("20260101-000000-mine-000001")
    groups = {stage.key: stage.group for stage in STAGES}
    shown = [list(row.ref) for row in ROWS]
    begin = {"suite": "mine", "executor": "ray", "slots": 2, "groups": groups, "shown": shown}
    log.write(Event.RUN_STARTED, **begin, driver=this_process())
    log.write(**finished_now(store, "cam clean 0"))
    assert "  next table (1 of 2 rng seeds, setting clean): 1 of 2 rows" in status_of(location).splitlines()
    log.write(**finished_now(store, "irn clean 0"))
    lines = status_of(location).splitlines()
    title = "PROVISIONAL, 1 of 2 rng seeds, setting clean · scenes · I · frozen · policy fixed · voc/1"
    assert any(title in line for line in lines)
    assert [line.split()[1:6:2] for line in lines if line.startswith("  │ ")] == [["cam", "│", "│"], ["irn", "│", "│"]]
    assert "  next table (1 of 2 rng seeds): 0 of 1 rows" in lines
    log.write(Event.RUN_FINISHED, failures=0, blocked=0, stopped=True)
    assert any(title in line for line in status_of(location).splitlines()), "what a stopped run has stays readable"
    log.write(Event.RUN_FINISHED, failures=0, blocked=0, stopped=False)
    assert "PROVISIONAL" not in status_of(location)


def finished_now(store: Store, label: str) -> dict[str, Any]:
    event = finished(store, label)
    return {"event": event["event"], "stages": event["stages"]}


def test_what_is_withdrawn_is_gone_at_the_remote_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    store = Store.at(f"memory://withdrawn/{tmp_path.name}").create()
    path = LeaderboardFiles(store.leaderboard_folder("mine")).provisional
    write_bytes(path, b"so far")
    store.share(path.parent)
    assert list(store.backend.sizes("leaderboards")) == ["mine/provisional.md"]
    store.withdraw(path)
    assert list(store.backend.sizes("leaderboards")) == [] and not path.exists()
    store.withdraw(path)


SUITE = (*ONLY_CAM, "gallery=0", "rng_seeds=[0, 1]")


def test_a_run_ends_with_the_files_of_today_and_one_that_is_stopped_keeps_the_provisional_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("harness.reports.display.REFRESH_S", 0.02)
    plan = make_plan(load_suite("smoke", SUITE))
    folder = tmp_path / "board"

    class StoppedAtTheFirst(Display):
        """A signal comes when the first table is there."""

        def _show(self, standing: Any) -> None:
            super()._show(standing)
            if standing is not None:
                os.kill(os.getpid(), signal.SIGINT)

    with run_plan(plan, tmp_path / "store", "serial", partial(StoppedAtTheFirst, folder=folder)) as run:
        assert run.result.interrupted
    err = capsys.readouterr().err
    assert err.count("PROVISIONAL, 1 of 2 rng seeds · scenes · I · frozen · ") == 1
    assert [path.name for path in folder.iterdir()] == ["provisional.md"]
    assert LeaderboardFiles(folder).provisional.read_text().startswith("# smoke · PROVISIONAL: 1 of 2 rng seeds\n")
    written: list[str] = []
    withdraw = Store.withdraw

    def remembered(store: Store, path: Path) -> None:
        written.append(path.read_text())
        withdraw(store, path)

    monkeypatch.setattr(Store, "withdraw", remembered)
    done = run_and_gather(load_suite("smoke", SUITE), tmp_path / "store", "serial", folder)
    assert written[0].startswith("# smoke · PROVISIONAL: 2 of 2 rng seeds\n")
    assert not LeaderboardFiles(folder).provisional.exists()
    # Another run on the store, which is not over yet, leaves the final tables alone.
    late = Follower(EventLog(tmp_path / "log.jsonl"), plan.graph, Store(tmp_path / "store"), plan, folder)
    late._write(Standing("1 of 2 rng seeds", False, done.board.rows))
    assert not LeaderboardFiles(folder).provisional.exists()
    # As they are written with nothing before and nobody who follows.
    write_leaderboard(done.run, done.board, tmp_path / "fresh")
    assert contents(folder) == contents(tmp_path / "fresh")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
