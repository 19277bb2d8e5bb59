"""All published rows of a store as one DataFrame."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from results.rows import IDENTITY, Row, frame, read_rows
from settings.config import existing_folder
from settings.errors import UserError


def load(store: str | Path) -> pd.DataFrame:
    """Read the rows of every published artefact of kind `row`, ordered by their identity columns.

    Reads `<store>/row/<key>/<attempt>/rows.parquet`, where `<key>/done.json` names the attempt; keys without it are
    not published and are skipped. Where several rows have one identity (an option of the recipe was changed between
    two runs, say) the one published last stays. Raises UserError for a missing store and for damaged files.
    """
    folder = existing_folder(Path(store))
    if folder is None:
        raise UserError(store, "no folder", "the store of a run")
    latest: dict[tuple[object, ...], Row] = {}
    for published in sorted(_published(folder), key=lambda p: (p.finished, p.folder)):
        latest.update({row.identity: row for row in read_rows(published.folder / "rows.parquet")})
    return frame(sorted(latest.values(), key=_order))


@dataclass(frozen=True)
class _Published:
    finished: datetime
    folder: Path


def _published(store: Path) -> list[_Published]:
    return [_read_done(done) for done in store.glob("row/*/done.json")]


def _read_done(done: Path) -> _Published:
    try:
        content = json.loads(done.read_text(encoding="utf-8"))
        attempt, finished = str(content["attempt"]), datetime.fromisoformat(content["finished"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        found = f"{type(error).__name__} ({error})"
        raise UserError(done, found, 'JSON with "attempt" and "finished" (ISO 8601)', "run the suite again") from None
    if Path(attempt).name != attempt or not attempt.isprintable():
        raise UserError(done, f"attempt {attempt!r}", "the name of a folder beside it")
    # Times without a zone are read as UTC, so that any two can be compared.
    return _Published(finished if finished.tzinfo else finished.replace(tzinfo=UTC), done.parent / attempt)


def _order(row: Row) -> tuple[object, ...]:
    return tuple(getattr(row, name) for name in IDENTITY)
