"""Publishing in one step, exclusively; opening verified; leases that die with their holder."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.execution.worker import _publish
from harness.stages.work import Work
from harness.store.layout import Ref
from harness.store.lease import FileLease, process_start, this_process
from harness.store.store import Absent, Damaged, Store
from settings.errors import UserError
from tests.harness.fakes import fake_stage

REF = Ref("kind", "k")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store").create()


def published(store: Store, text: str = "content", key: str = "k") -> None:
    attempt = store.attempt(Ref("kind", key))
    attempt.path("file.txt").write_text(text)
    assert store.publish(attempt)


def test_nothing_is_there_before_it_is_published(store: Store) -> None:
    attempt = store.attempt(REF)
    attempt.path("file.txt").write_text("half")
    assert not store.has(REF)
    with pytest.raises(Absent):
        store.open(REF)
    assert store.publish(attempt)
    assert store.open(REF).path("file.txt").read_text() == "half"


def test_the_second_to_publish_discards_its_attempt(store: Store) -> None:
    first, second = store.attempt(REF), store.attempt(REF)
    first.path("file.txt").write_text("first")
    second.path("file.txt").write_text("second")
    assert store.publish(first)
    assert not store.publish(second)
    assert store.open(REF).path("file.txt").read_text() == "first"
    assert not second.folder.exists()


@pytest.mark.parametrize("damage", ["change", "truncate", "remove"])
def test_a_damaged_file_is_noticed_and_set_aside(store: Store, damage: str) -> None:
    published(store)
    path = store.open(REF).path("file.txt")
    if damage == "remove":
        path.unlink()
    else:
        path.write_text("CONTENT" if damage == "change" else "con")
    with pytest.raises(Damaged):
        store.open(REF)
    assert not store.has(REF)
    assert len(list((store.root / "damaged").iterdir())) == 1
    published(store, "again")
    assert store.open(REF).path("file.txt").read_text() == "again"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"attempt": 3}', "null"])
def test_a_damaged_record_is_set_aside(store: Store, text: str) -> None:
    published(store)
    (store.root / "kind" / "k" / "done.json").write_text(text)
    with pytest.raises(Damaged):
        store.open(REF)
    assert not store.has(REF)


def test_clean_up_keeps_what_counts(store: Store) -> None:
    store.attempt(REF).path("left.txt").write_text("of a killed process")
    store.checkpoint_folder(REF).mkdir()
    published(store)
    store.clean_up(REF)
    folders = [path for path in (store.root / "kind" / "k").iterdir() if path.is_dir()]
    assert [folder.name for folder in folders] == [store.record(REF).attempt]


def test_another_folder_is_not_taken_for_a_store(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("do not touch")
    with pytest.raises(UserError, match="other files"):
        Store(tmp_path).create()


def test_a_store_of_another_format_is_refused(store: Store) -> None:
    (store.root / "seedbed-store.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(UserError, match="format 99"):
        Store(store.root).create()


def test_runs_that_look_at_once_whether_a_store_can_be_written_do_not_meet(store: Store) -> None:
    before = sorted(store.root.iterdir())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: store.check_writable(), range(400)))
    assert sorted(store.root.iterdir()) == before


def test_a_lease_has_one_holder(tmp_path: Path) -> None:
    first, second = FileLease(tmp_path / "lease.json"), FileLease(tmp_path / "lease.json")
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    assert second.is_held()
    second.release()


def test_a_dead_holder_on_this_machine_is_replaced_at_once(tmp_path: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    holder = {**this_process(), "pid": int(dead.stdout), "start": "1", "token": "theirs"}
    (tmp_path / "lease.json").write_text(json.dumps(holder))
    lease = FileLease(tmp_path / "lease.json")
    assert lease.acquire()
    lease.release()


def test_a_reused_process_number_is_not_the_holder(tmp_path: Path) -> None:
    holder = {**this_process(), "start": "1", "token": "theirs"}
    (tmp_path / "lease.json").write_text(json.dumps(holder))
    assert FileLease(tmp_path / "lease.json").acquire()


def test_a_holder_elsewhere_lives_as_long_as_its_heartbeat(tmp_path: Path) -> None:
    path = tmp_path / "lease.json"
    path.write_text(json.dumps({**this_process(), "host": "elsewhere", "token": "theirs"}))
    assert not FileLease(path, timeout_s=30).acquire()
    os.utime(path, (time.time() - 31, time.time() - 31))
    evictor = FileLease(path, timeout_s=30)
    assert evictor.acquire()
    assert evictor.is_held()


def test_a_holder_that_was_evicted_notices(tmp_path: Path) -> None:
    paused, other = FileLease(tmp_path / "lease.json"), FileLease(tmp_path / "lease.json", timeout_s=0)
    assert paused.acquire()
    (tmp_path / "lease.json").write_text(json.dumps({**this_process(), "host": "elsewhere", "token": "old"}))
    os.utime(tmp_path / "lease.json", (1, 1))
    assert other.acquire()
    assert not paused.is_held()
    paused.release()
    assert other.is_held()


def test_process_start_tells_processes_apart() -> None:
    assert process_start(os.getpid()) == this_process()["start"]
    assert process_start(2**22 + 1) is None


def test_a_holder_that_is_paused_here_loses_its_lease_after_the_timeout(tmp_path: Path) -> None:
    path = tmp_path / "lease.json"
    path.write_text(json.dumps({**this_process(), "token": "paused"}))
    assert not FileLease(path).acquire(), "its last sign is fresh"
    os.utime(path, (1, 1))
    other = FileLease(path)
    assert other.acquire()
    other.release()


def test_an_attempt_that_somebody_removed_is_not_published(store: Store) -> None:
    attempt = store.attempt(REF)
    attempt.folder.rmdir()
    with pytest.raises(FileNotFoundError):
        store.publish(attempt)
    assert not store.has(REF)


def test_a_holder_that_lost_its_lease_discards_what_it_made(store: Store) -> None:
    """A process that was paused past its lease finds the token of the one that replaced it."""
    attempt = store.attempt(REF)
    lease = store.lease(REF)
    assert lease.acquire()
    (store.root / "kind" / "k" / "lease.json").write_text(json.dumps({**this_process(), "token": "theirs"}))
    work = Work(fake_stage(), {}, attempt, None, store)  # type: ignore[arg-type]
    assert _publish(work, lease, store, 1.0).status == "busy"
    assert not attempt.folder.exists()
    assert not store.has(REF)
