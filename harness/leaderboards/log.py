"""The log of a leaderboard that rows are added to: every addition and correction, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from results.rows import IDENTITY, Row
from settings.errors import UserError
from settings.files import write_bytes
from settings.records import fingerprint

__all__ = [
    "Line",
    "State",
    "added",
    "corrected",
    "is_superseded",
    "last_of",
    "read_log",
    "row_id",
    "state_of",
    "together",
    "write_log",
]

VERSION = 1


class State(NamedTuple):
    """What a row says that a correction may change."""

    miou: float | None
    counts: str
    masks_sha256: str
    evaluation_fingerprint: str


@dataclass(frozen=True)
class Line:
    """One line: what became of which row. It holds for the row until a later line about it."""

    event: Literal["added", "corrected"]
    row: str
    """The row's `row_id`."""
    recipe: str
    setting: str
    rng_seed: int
    stage: str
    tier: str
    supervision: str
    miou: float | None
    counts: str
    masks_sha256: str
    evaluation_fingerprint: str
    at: str = ""
    """When a person did it, ISO 8601 in UTC; empty for rows that were merged, so that the same rows give one log."""
    reason: str = ""
    """Why it was corrected."""
    replaces: State | None = None
    """Of a correction, what the row said before."""
    v: int = VERSION

    @property
    def state(self) -> State:
        """What the row says after it."""
        return State(self.miou, self.counts, self.masks_sha256, self.evaluation_fingerprint)


def row_id(row: Row) -> str:
    """What people call a row by: the first twelve hexadecimal digits of the sha256 of its identity."""
    return fingerprint({name: getattr(row, name) for name in IDENTITY})[:12]


def added(row: Row, at: str = "") -> Line:
    """The line of a row that was not there before."""
    return Line("added", row_id(row), *_told(row), at=at)


def corrected(row: Row, before: Row, at: str, reason: str) -> Line:
    """The line of a row that takes the place of another result, the row `before`."""
    return Line("corrected", row_id(row), *_told(row), at=at, reason=reason, replaces=state_of(before))


def is_superseded(old: Row, new: Row, lines: Iterable[Line]) -> bool:
    """Whether corrections lead from one result of a row to the other."""
    name = row_id(old)
    steps = {line.replaces: line.state for line in lines if line.row == name and line.replaces is not None}
    state, wanted = state_of(old), state_of(new)
    while state in steps:
        # Taken out: a correction of a correction may lead back.
        state = steps.pop(state)
        if state == wanted:
            return True
    return False


def _told(row: Row) -> tuple[str, str, int, str, str, str, float | None, str, str, str]:
    place = (row.recipe, row.setting, row.rng_seed, row.stage, row.tier, row.supervision)
    return (*place, row.miou, row.counts, row.masks_sha256, row.evaluation_fingerprint)


def state_of(row: Row) -> State:
    """What a row says, as the `state` of its last line has it."""
    return added(row).state


def last_of(lines: Iterable[Line]) -> dict[str, Line]:
    """The line that holds for each row, by `row_id`: its latest correction, if it has any."""
    latest: dict[str, Line] = {}
    for line in sorted(lines, key=lambda line: (line.event == "corrected", *_order(line))):
        latest[line.row] = line
    return latest


def together(logs: Iterable[Sequence[Line]]) -> tuple[Line, ...]:
    """All lines of some logs, each once, oldest first; the same whichever log comes first."""
    return tuple(sorted({line for log in logs for line in log}, key=_order))


def _order(line: Line) -> tuple[str, str, str, str, int, str]:
    return (line.at, line.recipe, line.setting, line.stage, line.rng_seed, json.dumps(asdict(line)))


def read_log(path: Path) -> tuple[Line, ...]:
    """The lines of a log, none where there is no such file; raises UserError for a line that nobody wrote so."""
    if not path.exists():
        return ()
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            lines.append(_line(json.loads(text)))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise UserError(f"{path}:{number}", "no line of a log", "one as `seedbed leaderboard` writes it") from None
        if lines[-1].v != VERSION:
            raise UserError(f"{path}:{number}", f"version {lines[-1].v}", f"version {VERSION}")
    return tuple(lines)


# Any: as JSON has it.
def _line(content: dict[str, Any]) -> Line:
    replaces = content.pop("replaces")
    return Line(**content, replaces=None if replaces is None else State(*replaces))


def write_log(path: Path, lines: Iterable[Line]) -> None:
    """Write all lines behind those that are there already; nothing that was written is changed."""
    known = read_log(path)
    new = [line for line in lines if line not in set(known)]
    if new:
        texts = [json.dumps(asdict(line), ensure_ascii=False) + "\n" for line in new]
        before = path.read_bytes() if known else b""
        write_bytes(path, before + "".join(texts).encode())
