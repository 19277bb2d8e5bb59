"""A run goes on until what it made is gathered: until then nobody takes that away."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.execution.job import Job
from harness.execution.running import run_suite
from harness.execution.worker import run_job
from harness.reports.leaderboard import Finished, run_and_gather
from harness.reports.status import run_one, status_of
from harness.store import layout
from harness.store.care.usage import verify
from harness.store.care.waste import chosen, remove, waste_of
from harness.store.events import Ending, EventReader
from harness.store.layout import Ref, run_of
from harness.store.store import Store
from harness.suites.suite import load_suite
from settings.errors import UserError
from tests.harness.conftest import results_of


@pytest.fixture
def store(smoke: Finished, tmp_path: Path) -> Store:
    """Of a finished suite that lacks one row: all else is older than the run that makes it."""
    store = Store(shutil.copytree(smoke.run.store_folder, tmp_path / "store"))
    store.backend.remove(smoke.run.plan.rows[0])
    return store


def waste(store: Store) -> set[Ref]:
    return {waste.ref for waste in waste_of(store, set()) if waste.ref}


def test_gc_takes_nothing_from_a_run_that_is_being_gathered(store: Store) -> None:
    with run_suite(load_suite("smoke"), store.root, "serial") as run:
        assert run.stages_run == 1
        log = store.logs()[-1]
        os.utime(log, (1, 1))  # a large leaderboard is gathered in silence
        assert waste(store) == set()
    assert waste(store) == set(run.plan.graph)
    assert "finished" in status_of(store.root)


def test_runs_are_in_the_order_in_which_they_began_though_the_clock_was_set_back(
    smoke: Finished, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.logs()  # those that other tests began on the finished suite too
    made_by = store.record(smoke.run.plan.rows[1]).run
    monkeypatch.setattr(layout, "time", SimpleNamespace(strftime=lambda _: "20200101-000000", time_ns=lambda: 0))
    with run_suite(load_suite("smoke"), store.root, "serial"):
        pass
    (new,) = set(store.logs()) - set(before)
    assert run_of(new) == store.newest_run() > made_by
    assert store.record(smoke.run.plan.rows[0]).run == store.newest_run()
    assert store.record(smoke.run.plan.rows[1]).run == made_by in map(run_of, before)
    # What is run alone afterwards is made last.
    store.backend.remove(smoke.run.plan.rows[1])
    assert run_one(store.root, smoke.run.plan.rows[1].key, debug=False).exit_code == 0
    assert store.record(smoke.run.plan.rows[1]).run == store.newest_run()


def test_a_run_whose_gathering_breaks_off_has_ended(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), run_suite(load_suite("smoke"), store.root, "serial") as run:
        raise KeyboardInterrupt
    assert waste(store) == set(run.plan.graph)


@pytest.mark.parametrize("replaced", [False, True])
def test_nothing_is_written_where_the_store_is_no_more(
    smoke: Finished, store: Store, replaced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite, elsewhere = load_suite("smoke"), store.root.with_name("elsewhere")
    kind = type(smoke.run.plan.graph[smoke.run.plan.rows[0]].kind)
    run = kind.run

    def run_and_move(self: Any, work: Any) -> None:
        run(self, work)
        store.root.rename(elsewhere)
        if replaced:
            store.root.mkdir()

    with monkeypatch.context() as patch:
        patch.setattr(kind, "run", run_and_move)
        ended = run_and_gather(suite, store.root, "serial")
    assert ended.exit_code == 2
    (line,) = ended.user_errors()
    assert line.startswith(f"{store.root}: found no store any more; expected the store that the run began with")
    assert line in ended.unwritten
    left = list(store.root.iterdir()) if replaced else store.root.exists()
    assert not left
    shutil.rmtree(store.root, ignore_errors=True)
    elsewhere.rename(store.root)
    # The lease that could not be given back: as if half a minute had passed, in which nobody renewed it.
    (lease,) = store.root.glob("row/*/lease.json")
    os.utime(lease, (1, 1))
    assert results_of(run_and_gather(suite, store.root, "serial")) == results_of(smoke)


def test_rows_of_another_version_are_made_anew_as_the_message_says(smoke: Finished, store: Store) -> None:
    ref = smoke.run.plan.rows[1]
    folder = store.open(ref).folder
    newer = store.attempt(ref)
    shutil.copytree(folder, newer.folder, dirs_exist_ok=True)
    table = pq.read_table(folder / "rows.parquet")
    version = table.column_names.index("row_version")
    pq.write_table(table.set_column(version, "row_version", pa.array([99])), newer.path("rows.parquet"))
    (folder.parent / "done.json").unlink()
    store.publish(newer)
    with pytest.raises(UserError, match=r"found row version 99; .*`seedbed store rm row --store STORE` and run"):
        run_and_gather(load_suite("smoke"), store.root, "serial")
    for one in chosen(store, ["row"]):
        remove(store, one)
    again = run_and_gather(load_suite("smoke"), store.root, "serial")
    assert results_of(again) == results_of(smoke)


def test_exchanged_artefacts_are_damaged_and_made_again(smoke: Finished, store: Store) -> None:
    first, second = smoke.run.plan.rows[1:3]
    folders = [store.root / ref.kind / ref.key for ref in (first, second)]
    folders[0].rename(store.root / "aside")
    folders[1].rename(folders[0])
    (store.root / "aside").rename(folders[1])
    assert verify(Store(shutil.copytree(store.root, store.root.with_name("copy"))))[1] == sorted([first, second])
    assert results_of(run_and_gather(load_suite("smoke"), store.root, "serial")) == results_of(smoke)


def test_a_gpu_that_is_not_there_is_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    suite = load_suite("smoke", ["compute.device=cuda"])
    with pytest.raises(UserError, match=r"compute\.device: found cuda"), run_suite(suite, tmp_path / "store", "serial"):
        pass
    assert {path.name for path in (tmp_path / "store").iterdir()} == {"seedbed-store.json"}


def test_a_machine_that_computes_otherwise_is_told(
    tmp_path: Path, smoke: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.execution.worker.cpu_class", lambda: "abacus")
    stage = next(stage for stage in smoke.run.plan.graph.values() if stage.kind.name == "features")
    store = Store(tmp_path / "store").create()
    (outcome,) = run_job(Job((stage,), store.root, store.root / "log.jsonl"))
    assert (outcome.status, outcome.is_users) == ("failed", True)
    assert "found a CPU with abacus; expected one with" in outcome.reason


def test_what_another_run_has_made_is_told_as_done(store: Store, smoke: Finished) -> None:
    stage = smoke.run.plan.graph[smoke.run.plan.rows[1]]
    log = store.root / "log.jsonl"
    (outcome,) = run_job(Job((stage,), store.root, log))
    events = [(event["event"], event["stages"]) for event in EventReader(log).new()]
    assert outcome.status is Ending.DONE and events == [("finished", [stage.key])]


def test_a_run_that_is_refused_when_its_workers_are_there_is_told_as_stopped(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise UserError("resources.row", "2 GPUs", "at most the 1 GPU that is there")

    monkeypatch.setattr("harness.execution.executor.Executor.check", refuse)
    with pytest.raises(UserError, match=r"resources\.row"), run_suite(load_suite("smoke"), store.root, "serial"):
        pass
    assert " · stopped " in status_of(store.root).splitlines()[0]


def test_records_keep_cpu_seconds_beside_those_of_the_wall(smoke: Finished) -> None:
    records = Store(smoke.run.store_folder).records(smoke.run.plan.graph).values()
    trained = [record for record in records if record.kind.endswith("_fit")]
    assert trained and all(record.cpu_seconds > 0 for record in trained)
    # One thread computes, and one looks at the memory.
    assert sum(record.cpu_seconds for record in records) < 1.2 * sum(record.seconds for record in records)
