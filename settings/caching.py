"""Small tables on disk that only save time: where they cannot be written, they are kept for this process alone."""

import sqlite3
from pathlib import Path

__all__ = ["opened_table"]


def opened_table(database: Path, table: str) -> sqlite3.Connection:
    """A connection to a database with the table `name (columns)`, safe for several processes; in memory, if need be."""
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(database, timeout=30, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table}")
    except (OSError, sqlite3.Error):
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.execute(f"CREATE TABLE {table}")
    return connection
