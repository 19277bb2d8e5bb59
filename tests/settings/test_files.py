"""Files that appear whole or not at all."""

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from settings.files import create_exclusively, replaced, sha256_of, sync_files, write_bytes, write_json


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    write_bytes(path, b"first")
    with replaced(path) as partial:
        partial.write_bytes(b"second")
        assert path.read_bytes() == b"first"
        assert partial.name.startswith(".a.txt.") and partial.parent == path.parent
    assert path.read_bytes() == b"second"
    assert list(path.parent.iterdir()) == [path]


def test_what_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), replaced(path) as partial:
        partial.write_bytes(b"half")
        raise RuntimeError("broken")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_json_is_sorted_and_whole(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": [2]})
    assert (tmp_path / "a.json").read_text() == '{\n "a": [\n  2\n ],\n "b": 1\n}'


def test_creation_is_exclusive_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    assert create_exclusively(path, b'{"by": 1}')
    assert not create_exclusively(path, b'{"by": 2}')
    assert json.loads(path.read_text()) == {"by": 1}
    assert list(path.parent.iterdir()) == [path]


def test_of_many_creators_one_wins(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: create_exclusively(tmp_path / "a", str(n).encode()), range(64)))
    assert sum(won) == 1
    assert (tmp_path / "a").read_bytes() == str(won.index(True)).encode()
    assert len(list(tmp_path.iterdir())) == 1


def test_the_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(tmp_path / "a") == expected


def test_files_are_written_to_disk_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / name for name in "abcd"]
    for path in paths:
        path.write_bytes(b"x")
    # Each waits for the other three: one after the other they would wait for ever.
    meeting, synced = threading.Barrier(4, timeout=10), set()

    def sync(descriptor: int) -> None:
        meeting.wait()
        synced.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", sync)
    sync_files(paths)
    assert synced == {path.stat().st_ino for path in paths}


def test_a_file_that_the_disk_refuses_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(FileNotFoundError):
        sync_files([tmp_path / "a", tmp_path / "gone"])
