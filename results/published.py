"""Numbers of papers: what a data set's readers know, with its source. They stand beside our tables, never in them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from results.shown import Table

__all__ = ["published"]

FILE = Path(__file__).with_name("published.yaml")


def published(dataset: str) -> list[Table]:
    """The tables of published numbers for a data set, by its name; none where none are known, and for parts of one.

    The notes of each say on what its numbers were measured, and why they are not comparable with ours.
    """
    return [_table(entry) for entry in _entries() if dataset in entry["datasets"]]


@cache
def _entries() -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return entries


def _table(entry: dict[str, Any]) -> Table:
    columns = tuple(entry["columns"])
    lines = tuple(tuple(str(row.get(name, "–")) for name in columns) for row in entry["rows"])
    return Table(entry["title"], columns, lines, tuple(entry["notes"]))
