"""The table of a run that goes on: as complete as its rounds are, marked provisional, and unranked."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from harness.reports.gathering import hole, read_row
from harness.reports.progress import RunState, duration
from harness.stages.graph import Stage
from harness.stages.rounds import rounds_of
from harness.store.layout import Ref
from harness.store.store import Lost, Store
from results.rows import Row, frame
from results.selection import is_ranked
from results.shown import Table
from results.tables import tables

__all__ = ["Provisional", "Standing"]


@dataclass(frozen=True)
class Standing:
    """The tables of a run as far as its rounds are complete, and what they lack."""

    name: str
    """How complete they are: `1 of 3 rng seeds, setting clean`."""
    is_last: bool
    """Whether all rows are settled: what is left are pictures, and measures on dev."""
    rows: tuple[Row, ...]

    def tables(self) -> list[Table]:
        """A table for each board, marked provisional in its title and at each line."""
        return tables(frame(self.rows), provisional=self.name)

    def shown_tables(self) -> list[Table]:
        """Those that a terminal shows: of the policies that will be ranked, where there are any; the file has all."""
        ranked = tuple(row for row in self.rows if is_ranked(row.policy))
        return tables(frame(ranked or self.rows), provisional=self.name)

    def to_markdown(self, suite: str, spent_s: float) -> str:
        """The text of the file: which suite it is of, that it is not the end, and all tables."""
        head = (
            f"# {suite} · PROVISIONAL: {self.name}\n\n"
            f"Not the final table, and nothing is ranked: written {time.strftime('%Y-%m-%d %H:%M')}, "
            f"{duration(spent_s)} after the run began. "
            "When the run ends, table.md stands beside and this file is gone; "
            "a run that was stopped or killed goes on with it when it is started again."
        )
        return "\n\n".join([head, *(table.to_markdown() for table in self.tables())]) + "\n"


class Provisional:
    """Follows which rounds of a run are complete: each time one more is, there are provisional tables.

    A row is settled when it is there, or when it can no longer come, since a stage that it needs has failed: then it is
    a hole in the table.
    """

    def __init__(
        self, graph: Mapping[Ref, Stage], rows: Sequence[Ref], to_make: Collection[str], state: RunState, store: Store
    ) -> None:
        self._graph, self._rows, self._to_make, self._state, self._store = graph, rows, to_make, state, store
        self._rounds = rounds_of(graph[ref] for ref in rows)
        self._complete = 0

    @property
    def next_name(self) -> str:
        """The name of the first round that is not complete; empty where all are."""
        if self._complete == len(self._rounds):
            return ""
        return self._rounds[self._complete].name

    def next_counts(self) -> tuple[int, int]:
        """How many rows of the first incomplete round are settled, and how many it has."""
        if self._complete == len(self._rounds):
            return 0, 0
        rows = self._rounds[self._complete].rows
        return sum(map(self._is_settled, rows)), len(rows)

    def advance(self) -> Standing | None:
        """The tables, where more rounds are complete than when last asked; None where a row cannot be read."""
        complete = self._complete
        while complete < len(self._rounds) and all(map(self._is_settled, self._rounds[complete].rows)):
            complete += 1
        if complete == self._complete:
            return None
        there: set[Ref] = set()
        for each in self._rounds[:complete]:
            there.update(each.rows)
        try:
            # In plan order, as in the final table.
            rows = tuple(self._row(ref) for ref in self._rows if ref in there)
        except Lost:
            return None
        self._complete = complete
        return Standing(self._rounds[complete - 1].name, complete == len(self._rounds), rows)

    def _row(self, ref: Ref) -> Row:
        if self._is_there(ref):
            return read_row(self._store, ref)
        root = self._failed_behind(ref)
        assert root is not None
        reason = self._state.reasons[root.key]
        if root.ref != ref:
            reason = f"{root.label}: {reason}"
        return hole(self._graph[ref], reason)

    def _is_settled(self, ref: Ref) -> bool:
        return self._is_there(ref) or self._failed_behind(ref) is not None

    def _is_there(self, ref: Ref) -> bool:
        """Whether a row is published: this run was told so, or it was there before."""
        return ref.key not in self._to_make or self._state.condition(ref.key) == "done"

    def _failed_behind(self, ref: Ref) -> Stage | None:
        """A stage that has failed and that a row needs, or the row's own; None where none has."""
        failed = {key for key in self._state.reasons if self._state.condition(key) == "failed"}
        pending, seen = [ref], {ref}
        while failed and pending:
            stage = self._graph.get(pending.pop())
            # What this run does not make is there, and so was all behind it. A description may be damaged.
            if stage is None or stage.key not in self._to_make:
                continue
            if stage.key in failed:
                return stage
            pending += [need for need in stage.needs() if need not in seen]
            seen.update(stage.needs())
        return None
