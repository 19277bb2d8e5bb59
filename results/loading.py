"""All published rows of a store as one DataFrame."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from results.rows import Row, frame, shared_rows
from settings.errors import UserError

if TYPE_CHECKING:
    from harness.store.store import Artefact

__all__ = ["latest_rows", "load"]

ROW = "row"
"""The kind of artefact that is one row."""


def load(store: str | Path) -> pd.DataFrame:
    """Read the rows of every published artefact of kind `row`, ordered by their identity columns.

    `store` is a folder, or a URL that fsspec opens. Where several rows have one identity (the sources or the photos
    were changed between two runs, say) the one that was published last stays, by the order of runs; rows of other
    options, of another backbone or of another input size have identities of their own, and all stay. Raises UserError
    for a missing store and for damaged artefacts, which are set aside as in a run.
    """
    return frame(row for row, _ in latest_rows(store))


def latest_rows(store: str | Path) -> list[tuple[Row, Artefact]]:
    """The rows that `load` reads, in its order, each with the artefact that it lies in."""
    latest: dict[tuple[object, ...], tuple[Row, Artefact]] = {}
    name = _rows_file()
    artefacts = sorted(_published(store), key=_when)
    files = [(artefact.path(name), artefact.record.files.get(name, "")) for artefact in artefacts]
    for artefact, rows in zip(artefacts, shared_rows().read_all(files), strict=True):
        latest |= {row.identity: (row, artefact) for row in rows}
    return [latest[identity] for identity in sorted(latest)]


def _published(location: str | Path) -> list[Artefact]:
    # A store's layout is harness's business. Imported when it is asked for: `import results` stays light.
    from harness.store.backends.urls import absolute
    from harness.store.layout import Ref
    from harness.store.store import Lost, Store

    store = Store.at(absolute(location))
    try:
        refs = [Ref(ROW, key) for key in store.keys(ROW)]
        if store.exists():
            store.create()  # makes nothing that is there, and refuses the layout of another version or of a folder
        elif not refs:
            raise UserError(store.name, "no store", "a folder or URL that a suite was run on")
        return store.open_all(refs)
    except Lost as error:
        raise UserError(store.name, str(error), "whole artefacts", "run the suite again") from None
    except OSError as error:
        raise store.unusable(error) from None


def _rows_file() -> str:
    from harness.store.layout import RowFiles

    return RowFiles.rows.name


def _when(artefact: Artefact) -> tuple[str, datetime, str]:
    """Its place in the order in which runs were begun, and that in which each of them published.

    The clock alone would not do: it may have been set back between two runs. Times without a zone are read as UTC, so
    that any two can be compared.
    """
    record = artefact.record
    try:
        finished = datetime.fromisoformat(record.finished)
    except ValueError:
        found = f"'{record.finished}' as the time when it was published"
        raise UserError(artefact.ref, found, "ISO 8601", "run the suite again") from None
    return (record.run, finished if finished.tzinfo else finished.replace(tzinfo=UTC), record.key)
