"""What a store promises, wherever it lies: in a folder, in a mounted one, in memory, on an S3 server."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.execution.worker import _publish
from harness.stages.work import Work
from harness.store.backends import claims
from harness.store.backends.mirror import Mirror
from harness.store.backends.remote import Remote
from harness.store.layout import Ref
from harness.store.store import Absent, Artefact, Damaged, Store
from settings.errors import UserError
from tests.harness.fakes import fake_stage

Machine = Callable[[str], None]


def publish(store: Store, text: str = "content", key: str = "k") -> bool:
    attempt = store.attempt("kind", key)
    attempt.path("file.txt").write_text(text)
    attempt.path("deeper").mkdir()
    attempt.path("deeper/more.txt").write_text("more")
    return store.publish(attempt)


def text_of(artefact: Artefact) -> str:
    return artefact.path("file.txt").read_text() + artefact.path("deeper/more.txt").read_text()


def damage(url: str, kind: str, key: str) -> None:
    """Change a file at the remote, leaving its length."""
    remote = Remote(url)
    attempt = json.loads(remote.read(f"done/{kind}/{key}.json"))["attempt"]
    remote.write(f"files/{kind}/{key}/{attempt}/file.txt", b"CONTENT")


def test_what_is_published_is_there_and_whole(store: Store) -> None:
    assert not store.has("kind", "k")
    with pytest.raises(Absent):
        store.open("kind", "k")
    assert publish(store)
    assert store.has("kind", "k")
    assert text_of(store.open("kind", "k")) == "contentmore"
    assert store.kinds() == ["kind"] and list(store.keys("kind")) == ["k"]


def test_the_second_to_publish_discards_its_attempt(store: Store, location: str, machine: Machine) -> None:
    assert publish(store, "first")
    machine("second")
    other = Store.at(location).create()
    assert not publish(other, "second")
    assert text_of(other.open("kind", "k")) == "firstmore"
    if isinstance(other, Mirror):
        files = other.remote.sizes("files/kind/k")
        assert {path.split("/")[0] for path in files} == {store.record("kind", "k")["attempt"]}


def test_another_machine_fetches_and_then_needs_no_files_again(url: str, machine: Machine) -> None:
    publish(Store.at(url).create())
    machine("second")
    other = Store.at(url).create()
    assert not list(other.root.glob("kind/*"))
    assert other.has("kind", "k")
    assert other.record("kind", "k")["bytes"] == 11
    assert text_of(other.open("kind", "k")) == "contentmore"
    Remote(url).delete_folder("files")
    assert text_of(other.open("kind", "k")) == "contentmore"


def test_what_is_damaged_at_the_remote_is_set_aside_and_made_again(url: str, machine: Machine) -> None:
    first = Store.at(url).create()
    publish(first)
    damage(url, "kind", "k")
    machine("second")
    second = Store.at(url).create()
    assert second.has("kind", "k")
    with pytest.raises(Damaged):
        second.open("kind", "k")
    assert not second.has("kind", "k")
    assert len(Remote(url).sizes("damaged")) == 1
    assert publish(second)
    assert text_of(second.open("kind", "k")) == "contentmore"
    first.forget([Ref("kind", "k")])
    assert first.has("kind", "k")


@pytest.mark.parametrize("record", ["", "[]", '{"attempt": 3}', '{"kind":1,"key":1,"attempt":"a","files":{"../x":""}}'])
def test_a_damaged_record_is_set_aside(url: str, machine: Machine, record: str) -> None:
    store = Store.at(url).create()
    Remote(url).write("done/kind/k.json", record.encode())
    with pytest.raises(Damaged):
        store.open("kind", "k")
    assert not store.has("kind", "k")


def test_a_file_that_the_remote_has_lost_is_damage(url: str, machine: Machine) -> None:
    publish(Store.at(url).create())
    Remote(url).delete_folder("files")
    machine("second")
    with pytest.raises(Damaged):
        Store.at(url).create().open("kind", "k")


def test_a_copy_that_is_damaged_here_is_fetched_again(url: str, machine: Machine) -> None:
    store = Store.at(url).create()
    publish(store)
    store.open("kind", "k").path("file.txt").write_text("CONTENT")
    assert text_of(store.open("kind", "k")) == "contentmore"
    assert not Remote(url).sizes("damaged")


def test_a_copy_that_changed_while_a_stage_read_it_is_noticed(url: str, machine: Machine) -> None:
    store = Store.at(url).create()
    publish(store)
    store.open("kind", "k").path("file.txt").write_text("CONTENT")
    with pytest.raises(Damaged):
        store.recheck("kind", "k")
    assert store.has("kind", "k")
    assert text_of(store.open("kind", "k")) == "contentmore"
    store.recheck("kind", "k")


def test_an_attempt_that_another_machine_fills_is_published_by_who_began_it(location: str, machine: Machine) -> None:
    first = Store.at(location).create()
    begun = first.attempt("kind", "k")
    machine("second")
    second = Store.at(location).create()
    filled = second.joined("kind", "k", begun.folder)
    filled.path("file.txt").write_text("content")
    second.hand_over(filled)
    first.take_over(begun)
    assert first.publish(begun)
    assert second.open("kind", "k").path("file.txt").read_text() == "content"


def test_an_answer_that_was_lost_makes_nobody_lose(url: str, machine: Machine) -> None:
    remote = Remote(url)
    assert remote.create("a.json", b"mine")
    assert remote.create("a.json", b"mine")
    assert not remote.create("a.json", b"theirs")
    assert remote.read("a.json") == b"mine"


def test_a_thousand_questions_are_one_listing(url: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.at(url).create()
    for key in ("a", "b"):
        publish(store, key=key)
    machine("second")
    asked: list[str] = []
    sizes, exists = Remote.sizes, Remote.exists
    monkeypatch.setattr(Remote, "sizes", lambda self, folder: asked.append(folder) or sizes(self, folder))
    monkeypatch.setattr(Remote, "exists", lambda self, path: asked.append(path) or exists(self, path))
    monkeypatch.setattr("harness.store.backends.published.LISTING_S", 60.0)
    other = Store.at(url)
    assert [key for key in map(str, [*range(1000), "a", "b"]) if other.has("kind", key)] == ["a", "b"]
    assert asked == ["done/kind"]


def test_who_would_work_on_a_key_gets_the_newest_answer(
    url: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.store.backends.published.LISTING_S", 60.0)
    store = Store.at(url).create()
    assert not store.has("kind", "k")
    machine("second")
    publish(Store.at(url).create())
    assert not store.has("kind", "k")
    store.lease("kind", "k")
    assert store.has("kind", "k")


def test_who_has_looked_at_a_store_may_run_on_it(url: str, machine: Machine) -> None:
    store = Store.at(url).create()
    (store.root / "stages").mkdir()
    (store.root / "stages" / "k.json").write_text("{}")
    store.push(store.root / "stages")
    machine("second")
    other = Store.at(url)
    other.pull("stages")
    assert (other.root / "stages" / "k.json").read_text() == "{}"
    assert other.create().has("kind", "k") is False


def test_removed_is_removed_everywhere(url: str, machine: Machine) -> None:
    store = Store.at(url).create()
    publish(store)
    store.remove("kind", "k")
    assert not store.has("kind", "k")
    assert not Remote(url).sizes("files") and not Remote(url).sizes("damaged")


def test_another_place_is_not_taken_for_a_store(url: str, machine: Machine, tmp_path: Path) -> None:
    Remote(url).write("thesis.tex", b"do not touch")
    with pytest.raises(UserError, match="other files"):
        Store.at(url).create()


def test_a_folder_store_and_a_url_store_do_not_mix(tmp_path: Path, machine: Machine) -> None:
    Store(tmp_path / "a").create()
    with pytest.raises(UserError, match="format 1"):
        Store.at(f"file://{tmp_path / 'a'}").create()
    Store.at(f"file://{tmp_path / 'b'}").create()
    with pytest.raises(UserError, match="remote-1"):
        Store(tmp_path / "b").create()


def test_a_lease_has_one_holder(store: Store, location: str, machine: Machine) -> None:
    lease = store.lease("kind", "k")
    assert lease.acquire() and lease.is_held()
    machine("second")
    other = Store.at(location).lease("kind", "k")
    assert not other.acquire()
    lease.release()
    assert not lease.is_held()
    assert other.acquire() and other.is_held()
    other.release()


def test_a_silent_holder_is_replaced_and_notices(
    url: str, machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(claims, "this_process", lambda: {"host": "elsewhere", "boot": "", "pid": 1, "start": "1"})
    store = Store.at(url).create()
    paused = store.lease("kind", "k")
    assert paused.acquire()
    attempt = store.attempt("kind", "k")
    assert not claims.ClaimLease(Remote(url), "leases/kind/k", timeout_s=30).acquire()
    # A server tells whole seconds: a moment may look like no time, or like one.
    evictors = [claims.ClaimLease(Remote(url), "leases/kind/k", timeout_s=-2) for _ in range(2)]
    assert evictors[0].acquire()
    assert evictors[0].is_held() and not paused.is_held()
    work = Work(fake_stage(), {}, attempt, None, store)  # type: ignore[arg-type]
    assert _publish(work, paused, store, 1.0).status == "busy"
    assert not attempt.folder.exists() and not store.has("kind", "k")
    paused.release()
    assert evictors[0].is_held()
    evictors[0].release()
    assert not Remote(url).sizes("leases")


def test_of_two_evictors_one_wins(url: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have seen the silent claim before either makes its own."""
    remote = Remote(url)
    monkeypatch.setattr(claims, "this_process", lambda: {"host": "elsewhere", "boot": "", "pid": 1, "start": "1"})
    assert claims.ClaimLease(remote, "leases/k").acquire()
    first, second = (claims.ClaimLease(remote, "leases/k", timeout_s=-2) for _ in range(2))
    abandoned = first._is_abandoned
    won: list[bool] = []

    def both(number: int) -> bool:
        won.append(second.acquire())
        return abandoned(number)

    monkeypatch.setattr(first, "_is_abandoned", both)
    assert [first.acquire(), *won] == [False, True]
    assert second.is_held() and not first.is_held()
    second.release()


def test_a_dead_holder_on_this_machine_is_replaced_at_once(url: str, machine: Machine) -> None:
    remote = Remote(url)
    holder = {**claims.this_process(), "start": "1", "token": "theirs", "t": 0.0}
    remote.write("leases/k/000007.json", json.dumps(holder).encode())
    lease = claims.ClaimLease(remote, "leases/k")
    assert lease.acquire()
    assert sorted(remote.sizes("leases/k")) == ["000007.json", "000008.json"]
    lease.release()


def test_a_heartbeat_keeps_a_claim_young(url: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "HEARTBEAT_S", 0.01)
    remote = Remote(url)
    lease = claims.ClaimLease(remote, "leases/k")
    assert lease.acquire()
    before = json.loads(remote.read("leases/k/000001.json"))["t"]
    deadline = time.monotonic() + 10
    while json.loads(remote.read("leases/k/000001.json"))["t"] == before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert json.loads(remote.read("leases/k/000001.json"))["t"] > before
    lease.release()
    assert not remote.sizes("leases/k")


def test_clean_up_keeps_what_counts(url: str, machine: Machine) -> None:
    store = Store.at(url).create()
    remote = Remote(url)
    remote.write("files/kind/k/attempt-dead/left.txt", b"of a killed process")
    store.write_failure("k", {"reason": "none"})
    assert "k.json" in remote.sizes("failures")
    publish(store)
    store.clean_up("kind", "k")
    assert {path.split("/")[0] for path in remote.sizes("files/kind/k")} == {store.record("kind", "k")["attempt"]}
    assert not remote.sizes("failures")


def test_the_local_folder_may_be_deleted_at_any_time(url: str, machine: Machine) -> None:
    store = Store.at(url).create()
    publish(store)
    shutil.rmtree(store.root)
    assert text_of(Store.at(url).create().open("kind", "k")) == "contentmore"
