"""Leaderboards to be shown, made of rows as `tests/results/conftest.py` makes them."""

from collections.abc import Callable
from importlib import import_module

import pytest

from results.lines import Line
from results.page import Shown
from results.rows import OptionSet, Row, frame
from results.tables import tables


@pytest.fixture
def shown(row: Callable[..., Row]) -> Callable[..., Shown]:
    """Makes a leaderboard of rows; other fields may be given."""

    def make(rows: list[Row], **fields: object) -> Shown:
        values = {"name": "mine", "description": "", "notes": (), "folder": "runs/mine"} | fields
        return Shown(tables=tuple(tables(frame(rows))), rows=tuple(rows), **values)

    return make


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without figures, which take most of the time that a page takes: for tests that look elsewhere."""
    monkeypatch.setattr(import_module("results.page.render"), "figures_of", lambda shown: ())


@pytest.fixture
def line() -> Callable[[str], Line]:
    """Makes a line without rows, for tables that are written by hand."""

    def make(recipe: str) -> Line:
        return Line(recipe, OptionSet(recipe, "", 0, ""), "clean", {}, ())

    return make
