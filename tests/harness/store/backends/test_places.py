"""What a store promises, wherever it lies: in a folder, in a mounted one, in memory, on an S3 server."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from harness.execution.worker import _publish
from harness.stages.work import Work
from harness.store.backends import _claims as claims
from harness.store.backends._remote import Remote
from harness.store.layout import Ref
from harness.store.store import Absent, Artefact, Damaged, Store
from settings.errors import UserError
from tests.harness.fakes import fake_stage

Machine = Callable[[str], None]
K = "a" * 64
REF = Ref("kind", K)


def publish(store: Store, text: str = "content", key: str = K) -> bool:
    attempt = store.attempt(Ref("kind", key))
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
    assert not store.has(REF)
    with pytest.raises(Absent):
        store.open(REF)
    assert publish(store)
    assert store.has(REF)
    assert text_of(store.open(REF)) == "contentmore"
    assert store.kinds() == ["kind"] and store.keys("kind") == [K]


def test_the_second_to_publish_discards_its_attempt(store: Store, location: str, machine: Machine) -> None:
    assert publish(store, "first")
    machine("second")
    other = Store.at(location).create()
    assert not publish(other, "second")
    assert text_of(other.open(REF)) == "firstmore"
    (slot,) = other.backend.slots()
    attempts = {PurePosixPath(entry.name).name for entry in slot.entries if entry.name.endswith("/")}
    assert attempts == {store.record(REF).attempt}


def test_another_machine_fetches_and_then_needs_no_files_again(url: str, machine: Machine) -> None:
    publish(Store.at(url).create())
    machine("second")
    other = Store.at(url).create()
    assert not list(other.root.glob("kind/*"))
    assert other.has(REF)
    assert other.record(REF).bytes == 11
    assert text_of(other.open(REF)) == "contentmore"
    Remote(url).delete_folder("files")
    assert text_of(other.open(REF)) == "contentmore"


def test_what_is_damaged_at_the_remote_is_set_aside_and_made_again(url: str, machine: Machine) -> None:
    first = Store.at(url).create()
    publish(first)
    damage(url, "kind", K)
    machine("second")
    second = Store.at(url).create()
    assert second.has(REF)
    with pytest.raises(Damaged):
        second.open(REF)
    assert not second.has(REF)
    assert len(Remote(url).sizes("damaged")) == 1
    assert publish(second)
    assert text_of(second.open(REF)) == "contentmore"
    assert first.present([REF]) == {REF} and first.has(REF)


@pytest.mark.parametrize(
    "record", ["", "[]", '{"attempt": 3}', '{"kind":"kind","key":"%s","attempt":"a","files":{"../x":""}}']
)
def test_a_damaged_record_is_set_aside(url: str, machine: Machine, record: str) -> None:
    store = Store.at(url).create()
    Remote(url).write(f"done/kind/{K}.json", record.replace("%s", K).encode())
    with pytest.raises(Damaged):
        store.open(REF)
    assert not store.has(REF)


def test_a_file_that_the_remote_has_lost_is_damage(url: str, machine: Machine) -> None:
    publish(Store.at(url).create())
    Remote(url).delete_folder("files")
    machine("second")
    with pytest.raises(Damaged):
        Store.at(url).create().open(REF)


def test_a_copy_that_is_damaged_here_is_fetched_again(url: str, machine: Machine) -> None:
    store = Store.at(url).create()
    publish(store)
    store.open(REF).path("file.txt").write_text("CONTENT")
    assert text_of(store.open(REF)) == "contentmore"
    assert not Remote(url).sizes("damaged")


def test_a_copy_that_changed_while_a_stage_read_it_is_noticed(url: str, machine: Machine) -> None:
    store = Store.at(url).create()
    publish(store)
    store.open(REF).path("file.txt").write_text("CONTENT")
    with pytest.raises(Damaged):
        store.recheck(REF)
    assert store.has(REF)
    assert text_of(store.open(REF)) == "contentmore"
    store.recheck(REF)


def test_an_attempt_that_another_machine_fills_is_published_by_who_began_it(location: str, machine: Machine) -> None:
    first = Store.at(location).create()
    begun = first.attempt(REF)
    machine("second")
    second = Store.at(location).create()
    filled = second.attempt(REF, begun.folder.name)
    filled.path("file.txt").write_text("content")
    second.hand_over(filled)
    first.take_over(begun)
    assert first.publish(begun)
    assert second.open(REF).path("file.txt").read_text() == "content"


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
    monkeypatch.setattr("harness.store.backends._published.LISTING_S", 60.0)
    other = Store.at(url)
    assert [key for key in map(str, [*range(1000), "a", "b"]) if other.has(Ref("kind", key))] == ["a", "b"]
    assert asked == ["done/kind"]


def test_who_would_work_on_a_key_gets_the_newest_answer(
    url: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.store.backends._published.LISTING_S", 60.0)
    store = Store.at(url).create()
    assert not store.has(REF)
    machine("second")
    publish(Store.at(url).create())
    assert not store.has(REF)
    store.lease(REF)
    assert store.has(REF)


def test_who_has_looked_at_a_store_may_run_on_it(location: str, machine: Machine) -> None:
    Store.at(location).create().write_documents({"stages/k.json": b"{}"})
    machine("second")
    other = Store.at(location)
    assert other.documents("stages") == {"k.json": b"{}"}
    assert other.create().has(REF) is False


def test_what_cannot_change_is_read_once(url: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    Store.at(url).create().write_documents({"stages/a.json": b"a", "stages/b.json": b"b"})
    machine("second")
    other = Store.at(url).create()
    expected = {"a.json": b"a", "b.json": b"b"}
    assert other.documents("stages") == expected
    monkeypatch.setattr(Remote, "read_all", lambda self, paths: dict.fromkeys(paths, b"asked"))
    assert other.documents("stages") == expected


def test_removed_is_removed_everywhere(url: str, machine: Machine) -> None:
    store = Store.at(url).create()
    publish(store)
    store.backend.remove(REF)
    assert not store.has(REF)
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
    lease = store.lease(REF)
    assert lease.acquire() and lease.is_held()
    machine("second")
    other = Store.at(location).lease(REF)
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
    paused = store.lease(REF)
    assert paused.acquire()
    attempt = store.attempt(REF)
    assert not claims.ClaimLease(Remote(url), f"leases/kind/{K}", timeout_s=30).acquire()
    # A server tells whole seconds: a moment may look like no time, or like one.
    evictors = [claims.ClaimLease(Remote(url), f"leases/kind/{K}", timeout_s=-2) for _ in range(2)]
    assert evictors[0].acquire()
    assert evictors[0].is_held() and not paused.is_held()
    work = Work(fake_stage(), {}, attempt, None, store)  # type: ignore[arg-type]
    assert _publish(work, paused, store, 1.0).status == "busy"
    assert not attempt.folder.exists() and not store.has(REF)
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
    remote.write(f"files/kind/{K}/attempt-dead/left.txt", b"of a killed process")
    store.write_documents({f"failures/{K}.json": b"{}"})
    assert f"{K}.json" in remote.sizes("failures")
    publish(store)
    store.clean_up(REF)
    assert {path.split("/")[0] for path in remote.sizes(f"files/kind/{K}")} == {store.record(REF).attempt}
    assert not remote.sizes("failures")


def test_the_local_folder_may_be_deleted_at_any_time(url: str, machine: Machine) -> None:
    store = Store.at(url).create()
    publish(store)
    shutil.rmtree(store.root)
    assert text_of(Store.at(url).create().open(REF)) == "contentmore"


def test_many_are_asked_for_at_once(store: Store, location: str, machine: Machine) -> None:
    refs = [Ref("kind", letter * 64) for letter in "abc"]
    for ref in refs[:2]:
        publish(store, ref.key, ref.key)
    machine("second")
    other = Store.at(location).create()
    assert other.present(refs) == set(refs[:2])
    assert {ref: record.bytes for ref, record in other.records(refs).items()} == dict.fromkeys(refs[:2], 68)
    assert other.keys("kind") == [ref.key for ref in refs[:2]] and other.keys("other") == []
    store.backend.remove(refs[0])
    assert other.present(refs) == {refs[1]}


def test_documents_are_replaced_whole_and_seen_elsewhere(store: Store, location: str, machine: Machine) -> None:
    store.write_documents({"costs.json": b"{}", "failures/k.json": b"first"})
    store.write_documents({"failures/k.json": b"other", "failures/l.json": b"third"})
    machine("second")
    other = Store.at(location)
    assert other.read_document("costs.json") == b"{}"
    assert other.documents("failures") == {"k.json": b"other", "l.json": b"third"}
    assert other.backend.sizes("failures") == {"k.json": 5, "l.json": 5}
    other.backend.delete("failures/k.json")
    assert store.documents("failures") == {"l.json": b"third"} and store.documents("stages") == {}
    with pytest.raises(FileNotFoundError):
        store.read_document("failures/k.json")


def test_a_leaderboard_is_shared_without_what_is_half_written(store: Store, location: str, machine: Machine) -> None:
    folder = store.leaderboard_folder("smoke")
    (folder / "galleries").mkdir(parents=True)
    (folder / "table.md").write_text("| a |")
    (folder / "galleries" / "a.png").write_bytes(b"png")
    (folder / ".state.json.1").write_text("half")
    store.share(folder)
    store.share(folder.parents[2])  # somebody's own folder
    machine("second")
    assert Store.at(location).backend.sizes("leaderboards") == {"smoke/galleries/a.png": 3, "smoke/table.md": 5}


def test_a_store_is_there_once_a_run_has_made_it(location: str, machine: Machine) -> None:
    assert not Store.at(location).exists()
    Store.at(location).create()
    machine("second")
    assert Store.at(location).exists()


def test_a_lease_is_looked_at_without_being_taken(store: Store, location: str, machine: Machine) -> None:
    lease = store.lease(REF)
    assert not lease.is_alive() and not lease.is_dead()
    assert lease.acquire()
    machine("second")
    other = Store.at(location)
    (slot,) = other.backend.slots()
    assert slot.is_busy and not slot.is_abandoned and not slot.published
    lease.release()
    assert not other.lease(REF).is_alive()
