"""A table that only saves time never costs more than a second, whoever holds it."""

import sqlite3
import time
from pathlib import Path

import pytest

from settings import caching
from settings.caching import CachedTable

KEEP, FIND = "INSERT OR REPLACE INTO squares VALUES (?, ?)", "SELECT square FROM squares WHERE number = ?"
TABLE = "squares (number INTEGER PRIMARY KEY, square INTEGER)"


def locked(database: Path) -> sqlite3.Connection:
    """A connection that lets nobody else read or write."""
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("PRAGMA locking_mode=EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    return holder


def test_what_was_kept_is_found_by_every_process(tmp_path: Path) -> None:
    CachedTable(tmp_path / "t.sqlite", TABLE).execute(KEEP, (3, 9))
    assert CachedTable(tmp_path / "t.sqlite", TABLE).execute(FIND, (3,)) == [(9,)]


def test_many_entries_are_found_at_once_and_those_of_unknown_keys_left_out(tmp_path: Path) -> None:
    table = CachedTable(tmp_path / "t.sqlite", "lengths (word TEXT PRIMARY KEY, length INTEGER)")
    for length in range(0, 2000, 2):
        table.execute("INSERT INTO lengths VALUES (?, ?)", ("a" * length, length))
    found = table.entries(["a" * length for length in range(2000)])
    assert found == {"a" * length: (length,) for length in range(0, 2000, 2)}


@pytest.mark.parametrize("opened_before", [True, False])
def test_a_locked_table_is_waited_for_once(
    tmp_path: Path, opened_before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert caching.PATIENCE_S <= 1
    monkeypatch.setattr(caching, "PATIENCE_S", 0.1)
    database = tmp_path / "t.sqlite"
    sqlite3.connect(database).execute(f"CREATE TABLE {TABLE}")
    if opened_before:
        table = CachedTable(database, TABLE)
        table.execute("PRAGMA journal_mode=DELETE")
    holder = locked(database)
    start = time.monotonic()
    if not opened_before:
        table = CachedTable(database, TABLE)
    for number in range(20):
        table.execute(KEEP, (number, number**2))
    # The first statement may be lost with the table on disk; all later ones are in memory.
    assert [table.execute(FIND, (number,)) for number in range(1, 20)] == [[(n**2,)] for n in range(1, 20)]
    assert time.monotonic() - start < 1, "forty waits would take four seconds"
    holder.close()


def test_a_name_that_is_no_text_leaves_the_table_on_disk(tmp_path: Path) -> None:
    table = CachedTable(tmp_path / "t.sqlite", "names (name TEXT)")
    assert table.execute("SELECT name FROM names WHERE name = ?", ("\udcff",)) == []
    table.execute("INSERT INTO names VALUES ('kept')")
    assert CachedTable(tmp_path / "t.sqlite", "names (name TEXT)").execute("SELECT name FROM names") == [("kept",)]
