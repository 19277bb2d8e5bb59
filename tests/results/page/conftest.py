"""Leaderboards to be shown, made of rows as `tests/results/conftest.py` makes them."""

from collections.abc import Callable

import pytest

from results.page import Shown
from results.rows import Row, frame
from results.tables import tables


@pytest.fixture
def shown(row: Callable[..., Row]) -> Callable[..., Shown]:
    """Makes a leaderboard of rows; other fields may be given."""

    def make(rows: list[Row], **fields: object) -> Shown:
        values = {"name": "mine", "description": "", "notes": (), "folder": "runs/mine"} | fields
        return Shown(tables=tuple(tables(frame(rows))), rows=tuple(rows), **values)

    return make
