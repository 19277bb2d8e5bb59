"""Leaderboards of several machines as one: what may stand together, and which of two results of one row holds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path

from harness.leaderboards.log import Line, added, corrected, is_superseded, last_of, row_id, together
from harness.leaderboards.shared import Entry, Shared, changing, check_masks, read_shared, write_shared
from harness.reports.files import LeaderboardFiles
from harness.reports.reprint import folders_of
from results.rows import Row
from results.shown import Table
from settings.errors import UserError

__all__ = ["check_is_shared", "joined", "merge", "replaced"]

EACH_RUN = frozenset({"seconds", "gpu_seconds", "peak_memory_bytes", "provenance", "stale", "reason", "row_version"})
"""The fields in which two rows of one result may differ: how long it took, and where it was made."""
ALIKE = ("dataset", "protocol", "protocol_version", "classes")
"""The fields in which all rows of a leaderboard agree; the evaluation fingerprint is one of each split."""
TOGETHER = "name leaderboards' folders that belong together"


def merge(what: Sequence[str], store: str, output: Path, reason: str = "", at: str = "") -> tuple[Shared, list[Table]]:
    """Put the rows of stores and leaderboards' folders into one, and write it; what lies in it already stays.

    `reason`: rows that contradict those of `output` take their place at the time `at`, and the log keeps both. Raises
    UserError for rows that cannot stand in one leaderboard, with the field in which they differ, and for two results of
    one row.
    """
    boards = [read_shared(folder) for folder in folders_of(what, store)]
    for board in boards:
        for entry in board.entries:
            check_masks(entry)
    check_is_shared(output, "--output")
    with changing(output):
        before = Shared(())
        if LeaderboardFiles(output).rows.exists():
            before = read_shared(output)
        if reason:
            found = replaced(before, _resolved(boards), reason, at)
        else:
            found = joined((before, *boards))
        return found, write_shared(found, output)


def check_is_shared(folder: Path, where: str) -> None:
    """Raise UserError for the folder of a suite's run, which writes it anew without what was added."""
    if LeaderboardFiles(folder).state.exists():
        mend = f"`seedbed leaderboard merge {folder} --output BOARD` makes one that rows can be added to"
        raise UserError(where, f"'{folder}', which a run writes anew", "a folder of its own", mend)


def joined(boards: Iterable[Shared], at: str = "") -> Shared:
    """The entries of several leaderboards, each once, in the order of their identities; the same in any order of them.

    What no log tells of is logged as added, at the time `at` where a person did it. Raises UserError where rows may not
    stand together, and for two results of one row, unless a log tells that one was corrected to the other.
    """
    found = _resolved(boards)
    known = last_of(found.log)
    lines = [added(entry.row, at) for entry in found.entries if row_id(entry.row) not in known]
    return replace(found, log=together([found.log, lines]))


def _resolved(boards: Iterable[Shared]) -> Shared:
    """The entries of several leaderboards, each once, and what their logs tell; raises what `joined` raises."""
    boards = list(boards)
    log = together([board.log for board in boards])
    by_identity: dict[tuple[object, ...], Entry] = {}
    for entry in sorted((entry for board in boards for entry in board.entries), key=_by_content):
        other = by_identity.setdefault(entry.row.identity, entry)
        by_identity[entry.row.identity] = _one_of(other, entry, log)
    entries = [by_identity[identity] for identity in sorted(by_identity)]
    check_comparable(entries)
    return Shared(tuple(entries), log)


def replaced(before: Shared, new: Shared, reason: str, at: str) -> Shared:
    """A leaderboard in which rows of another one take the place of those that they contradict; the log keeps both."""
    others = {entry.row.identity: entry for entry in new.entries}
    kept, lines = [], []
    for entry in before.entries:
        other = others.get(entry.row.identity)
        if other is None or _difference(entry.row, other.row) is None:
            kept.append(entry)
        else:
            lines.append(corrected(other.row, entry.row, at, reason))
    return joined([Shared(tuple(kept), together([before.log, lines])), new], at)


def check_comparable(entries: Sequence[Entry]) -> None:
    """Raise UserError for the first entry that differs from the others in what a leaderboard has one of."""
    # A row that failed or was published tells no masks.
    measured = [entry for entry in entries if entry.row.evaluation_fingerprint]
    for field in ALIKE:
        for entry in measured:
            _check_same(field, measured[0], entry)
    first_of: dict[str, Entry] = {}
    for entry in measured:
        _check_same("evaluation_fingerprint", first_of.setdefault(entry.row.split, entry), entry)


def _check_same(field: str, one: Entry, other: Entry) -> None:
    values = [getattr(entry.row, field) for entry in (one, other)]
    if values[0] != values[1]:
        place = f" of {other.row.split}" if field == "evaluation_fingerprint" else ""
        found = f"{field}{place} {_short(values[1])} ({_named(other)})"
        expected = f"{_short(values[0])}, as in {one.folder} ({_named(one)})"
        raise UserError(other.folder, found, expected, TOGETHER)


def _one_of(one: Entry, other: Entry, log: Iterable[Line]) -> Entry:
    """Of two entries of one row the one that holds; UserError where they are two results."""
    if one.row.status != other.row.status:
        return one if one.row.status == "ok" else other
    field = _difference(one.row, other.row)
    if field is None:
        return one
    for old, new in ((one, other), (other, one)):
        if is_superseded(old.row, new.row, log):
            return new
    found = f"{field} {_short(getattr(other.row, field))} of {_named(other)}"
    expected = f"{_short(getattr(one.row, field))}, as in {one.folder}"
    raise UserError(other.folder, found, expected, "leave one out, or --correct REASON over what --output holds")


def _difference(one: Row, other: Row) -> str | None:
    """The first field in which two rows are two results; None where they are one, however long it took."""
    if one.status == other.status == "failed":
        return None
    names = [field.name for field in fields(Row) if field.name not in EACH_RUN]
    # What people look at first is told first.
    names.sort(key=lambda name: name != "miou")
    return next((name for name in names if getattr(one, name) != getattr(other, name)), None)


def _by_content(entry: Entry) -> str:
    """An order that does not depend on where entries come from."""
    return json.dumps(vars(entry.row), sort_keys=True)


def _named(entry: Entry) -> str:
    row = entry.row
    return f"{row.recipe}, {row.setting}, rng seed {row.rng_seed}, {row.stage}"


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 else text
