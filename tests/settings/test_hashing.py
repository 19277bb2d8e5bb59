"""The hash cache is right, notices changes, and no state of its database stops a run."""

import hashlib
import os
import sqlite3
from pathlib import Path

import pytest

from settings.hashing import HashCache, cache_folder


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def writes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_hashes_are_right_and_kept(tmp_path: Path) -> None:
    database, file = tmp_path / "deep" / "hashes.sqlite", writes(tmp_path / "f", b"content")
    assert HashCache(database).sha256(file) == sha256(b"content")
    HashCache(database).remember(file, "noted")
    assert HashCache(database).sha256(file) == "noted", "an unchanged file is not read again"


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    cache, file = HashCache(tmp_path / "h.sqlite"), writes(tmp_path / "f", b"one")
    assert cache.sha256(file) == sha256(b"one")
    writes(file, b"longer")
    assert cache.sha256(file) == sha256(b"longer")
    stat = file.stat()
    writes(file, b"LONGER")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert cache.sha256(file) == sha256(b"LONGER")
    other = writes(tmp_path / "g", b"Longer")
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    other.replace(file)
    assert cache.sha256(file) == sha256(b"Longer"), "same size and time, another inode"


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, file = HashCache(tmp_path / "h.sqlite"), writes(tmp_path / "f", b"old")
    digest = hashlib.file_digest

    def digest_then_write(opened: object, name: str) -> object:
        result = digest(opened, name)  # type: ignore[arg-type]
        writes(file, b"newer")
        return result

    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", digest_then_write)
        assert cache.sha256(file) == sha256(b"old")
    assert cache.sha256(file) == sha256(b"newer")


def test_missing_files_are_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        HashCache(tmp_path / "h.sqlite").sha256(tmp_path / "nothing")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    cache, file = HashCache(writes(tmp_path / "file", b"") / "h.sqlite"), writes(tmp_path / "f", b"x")
    assert cache.sha256(file) == sha256(b"x")
    cache.remember(file, "noted")
    assert cache.sha256(file) == "noted"


@pytest.mark.parametrize("first", [0, 100, 4096])
def test_a_damaged_database(tmp_path: Path, first: int) -> None:
    """Damaged from the first byte, after the header, after the first page."""
    database, file = tmp_path / "h.sqlite", writes(tmp_path / "f", b"x")
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE hashes (path TEXT PRIMARY KEY, stat TEXT, sha256 TEXT)")
    connection.executemany("INSERT INTO hashes VALUES (?, 's', 'h')", [(f"/path/{i}",) for i in range(500)])
    connection.commit()
    connection.close()
    content = database.read_bytes()
    database.write_bytes(content[:first] + b"\xa5" * (len(content) - first))
    assert HashCache(database).sha256(file) == sha256(b"x")
    assert HashCache(database).sha256(file) == sha256(b"x")


def test_a_database_of_another_kind(tmp_path: Path) -> None:
    database, file = tmp_path / "h.sqlite", writes(tmp_path / "f", b"x")
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE hashes (name TEXT)")
    connection.close()
    assert HashCache(database).sha256(file) == sha256(b"x")


def test_two_caches_share_a_database(tmp_path: Path) -> None:
    one, two = HashCache(tmp_path / "h.sqlite"), HashCache(tmp_path / "h.sqlite")
    file = writes(tmp_path / "f", b"x")
    one.remember(file, "noted")
    assert two.sha256(file) == "noted"


def test_the_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDBED_CACHE", "/elsewhere")
    assert cache_folder() == Path("/elsewhere")
    monkeypatch.delenv("SEEDBED_CACHE")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder() == Path("/home/somebody/.cache/seedbed")


def test_expected_files_are_looked_up_together_and_a_change_is_noticed_all_the_same(tmp_path: Path) -> None:
    database = tmp_path / "h.sqlite"
    files = [writes(tmp_path / str(n), bytes([n])) for n in range(3)]
    for file in files[:2]:
        HashCache(database).remember(file, "noted")
    cache = HashCache(database)
    cache.expect(files)
    writes(files[1], b"longer")
    expected = ["noted", sha256(b"longer"), sha256(b"\x02")]
    assert [cache.sha256(file) for file in files] == expected
    cache.expect(files)
    cache.remember(files[0], "newer")
    assert cache.sha256(files[0]) == "newer", "what is noted later counts"
