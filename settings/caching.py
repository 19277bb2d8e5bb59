"""Small tables on disk that only save time: where they cannot be used, they are kept for this process alone."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["CachedTable"]

BATCH = 900
"""So many keys one statement asks for: SQLite's own bound was 999."""
PATIENCE_S = 1.0
"""For so long a table that another process has locked is waited for, once: to compute anew costs less than to wait."""


class CachedTable:
    """One table of a database on disk, safe for several processes.

    Where it is damaged, has other columns, stays locked for a second, or its disk refuses, this process keeps a table
    of its own in memory from then on, and no trouble is told.
    """

    def __init__(self, database: Path, table: str) -> None:
        """`table` is `name (columns)`, as SQL has it."""
        self._table = table
        try:
            database.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(database, timeout=PATIENCE_S, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=OFF")
            self._connection.execute(f"CREATE TABLE IF NOT EXISTS {table}")
        except (OSError, sqlite3.Error):
            self._keep_in_memory()

    def execute(self, statement: str, values: Sequence[object] = ()) -> list[Any]:
        """The rows that a statement gives; none where the table fails."""
        try:
            return self._connection.execute(statement, values).fetchall()
        except (sqlite3.ProgrammingError, UnicodeEncodeError):
            pass  # another thread's connection, and a name of bytes that are no text: nothing is wrong with the table
        except sqlite3.Error:
            self._keep_in_memory()
        return []

    def entries(self, keys: Sequence[str]) -> dict[str, tuple[Any, ...]]:
        """The entries that there are of those keys, by key, which is a table's first column."""
        name, columns = self._table.split(" ", 1)
        key = columns.lstrip("(").split(" ", 1)[0]
        found: dict[str, tuple[Any, ...]] = {}
        for start in range(0, len(keys), BATCH):
            some = keys[start : start + BATCH]
            statement = f"SELECT * FROM {name} WHERE {key} IN ({','.join('?' * len(some))})"
            found |= {first: tuple(rest) for first, *rest in self.execute(statement, some)}
        return found

    def _keep_in_memory(self) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self._connection.execute(f"CREATE TABLE {self._table}")
