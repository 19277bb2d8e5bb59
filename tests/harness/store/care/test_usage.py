"""What a store holds, counted byte by byte, and damage that no cache hides; in a folder and behind URLs."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.reports.leaderboard import Finished
from harness.store.backends._remote import Remote
from harness.store.care.usage import published, readable, usage, verify
from harness.store.layout import Ref
from harness.store.store import Store
from tests.harness.store.care.filling import DEAD, LIVING, begin, hold, key_of, publish, smoke_plan

Machine = Callable[[str], None]


@pytest.fixture
def finished(smoke: Finished, tmp_path: Path) -> Store:
    """A copy of the smoke run's store."""
    return Store(shutil.copytree(smoke.run.store_folder, tmp_path / "copy"))


def test_usage_counts_every_byte_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "store").create()
    publish(store, "features", "a", b"x" * 1000)
    publish(store, "features", "b", b"x" * 500)
    publish(store, "row", "c", b"x" * 7)
    store.attempt(Ref("row", key_of("c"))).path("left").write_bytes(b"x" * 11)
    checkpoint = store.checkpoint_folder(Ref("localizer_fit", key_of("d")))
    checkpoint.mkdir(parents=True)
    (checkpoint / "epoch-1").write_bytes(b"x" * 13)
    (store.root / "damaged" / "old").mkdir(parents=True)
    (store.root / "damaged" / "old" / "f").write_bytes(b"x" * 17)
    used = usage(store)
    features, rows = (sum(p.stat().st_size for p in store.root.glob(f"{k}/*/done.json")) for k in ("features", "row"))
    assert (used.kinds["features"].count, used.kinds["features"].bytes) == (2, 1500 + features)
    assert (used.kinds["row"].count, used.kinds["row"].bytes) == (1, 7 + rows)
    assert {name: (one.count, one.bytes) for name, one in used.beside.items() if name != "other"} == {
        "checkpoints": (1, 13),
        "attempts under way": (0, 0),
        "discarded attempts": (1, 11),
        "damaged": (1, 17),
    }
    every_byte = sum(path.stat().st_size for path in store.root.rglob("*") if path.is_file())
    assert (used.total.count, used.total.bytes) == (3, every_byte)


def test_usage_behind_a_url_counts_every_byte_once(url: str, machine: Machine) -> None:
    store = Store.at(url).create()
    publish(store, "features", "a", b"x" * 1000)
    publish(store, "row", "c", b"x" * 7)
    begin(store, Ref("row", key_of("c")))
    store.write_documents({"costs.json": b"{}", "stages/k.json": b"[1]", "damaged/row-k-1.json": b"12345"})
    used = usage(store)
    done = Remote(url).sizes("done")
    assert {kind: (one.count, one.bytes) for kind, one in used.kinds.items()} == {
        "features": (1, 1000 + done[f"features/{key_of('a')}.json"]),
        "row": (1, 7 + done[f"row/{key_of('c')}.json"]),
    }
    assert (used.beside["discarded attempts"].count, used.beside["discarded attempts"].bytes) == (1, 4)
    assert (used.beside["damaged"].count, used.beside["damaged"].bytes) == (1, 5)
    beside = len(Remote(url).read("seedbed-store.json")) + len(b"{}")
    folders = (Remote(url).sizes(name).values() for name in ("done", "files", "stages", "damaged"))
    assert used.total.bytes == beside + sum(map(sum, folders))


def test_usage_of_a_finished_run(finished: Store) -> None:
    used = usage(finished)
    every_byte = sum(path.stat().st_size for path in finished.root.rglob("*") if path.is_file())
    assert used.total.bytes == every_byte
    assert used.total.count == len(smoke_plan()["smoke"])
    assert used.to_json()["kinds"]["row"]["count"] == 14


def test_an_attempt_of_a_living_holder_is_under_way(store: Store) -> None:
    ref = Ref("row", key_of("a"))
    begin(store, ref)
    hold(store, ref, LIVING)
    assert usage(store).beside["attempts under way"].count == 1
    hold(store, ref, DEAD)
    assert usage(store).beside["discarded attempts"].count == 1


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2.5e9, "2.5 GB")])
def test_sizes_are_readable(size: float, text: str) -> None:
    assert readable(size) == text


def test_verify_does_not_trust_the_hash_cache(finished: Store) -> None:
    """A flipped bit that leaves size, time and inode as they were is what failing disks make."""
    (ref, *_) = [ref for ref in published(finished) if ref.kind == "segmenter_fit"]
    path = next(finished.open(ref).folder.glob("*.safetensors"))
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert finished.open(ref).path(path.name) == path, "the cache is deceived: that is what verify is for"
    told: list[tuple[int, int]] = []
    looked_at, damaged = verify(finished, lambda done, total: told.append((done, total)))
    assert damaged == [ref]
    assert looked_at == len(told) == len(smoke_plan()["smoke"])
    assert told[-1][0] == told[-1][1] and told == sorted(told)
    assert not finished.has(ref)
    assert verify(finished) == (looked_at - 1, [])


@pytest.mark.parametrize("damage", ["remove file", "truncate", "record"])
def test_verify_names_what_is_damaged(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path / "store").create()
    whole, broken = publish(store, "row", "a"), publish(store, "row", "b")
    path = store.open(broken).path("file.bin")
    if damage == "remove file":
        path.unlink()
    elif damage == "truncate":
        os.truncate(path, 3)
    else:
        (path.parent.parent / "done.json").write_text("{")
    assert verify(store) == (2, [broken])
    assert store.has(whole)
    assert len(list((store.root / "damaged").iterdir())) == 1


@pytest.mark.parametrize("damage", ["remove file", "change", "record"])
def test_verify_looks_at_what_is_behind_the_url(url: str, machine: Machine, damage: str) -> None:
    """The copies of this machine are whole; what others would fetch is not."""
    store, remote = Store.at(url).create(), Remote(url)
    whole, broken = publish(store, "row", "a"), publish(store, "row", "b")
    place = f"files/row/{broken.key}/{store.record(broken).attempt}/file.bin"
    if damage == "remove file":
        remote.delete(place)
    elif damage == "change":
        remote.write(place, b"CONTENT")
    else:
        remote.write(f"done/row/{broken.key}.json", b"{")
    assert verify(store) == (2, [broken])
    assert store.present([whole, broken]) == {whole}
    assert len(remote.sizes("damaged")) == 1
    assert json.loads(remote.read(f"done/row/{whole.key}.json"))["key"] == whole.key
