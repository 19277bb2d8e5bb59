"""`seedbed status`, `logs` and `stage`: what a store tells about its runs and stages."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from harness.execution.costs import Costs
from harness.execution.descriptions import described, find_described
from harness.execution.job import Job
from harness.execution.worker import run_job, run_openly
from harness.reports.progress import Condition, RunState, duration
from harness.reports.provisional import Provisional
from harness.stages.rounds import round_of_stages, rounds_of
from harness.stages.rows import RowIdentity
from harness.store.backends.urls import Location, absolute
from harness.store.events import SILENT_S, Ending, Event, Told
from harness.store.layout import FAILURES, SINGLE_RUN, FitFiles, Ref, key_of_document, run_log
from harness.store.lease import lives
from harness.store.record import Record
from harness.store.store import Lost, Store
from results.shown import Table
from settings.errors import UserError

__all__ = ["StageRun", "is_running", "log_of", "run_one", "status_of", "watch"]

WATCH_S = 2.0
TABLE_WIDTH = 160
"""Letters a line of the provisional tables, where no terminal tells its width."""
INDENT = "  "
CONDITIONS: tuple[Condition, ...] = ("done", "running", "failed", "to do")
MOST_NAMED = 10
"""Stages that `logs` names beside the one that it tells of."""


def status_of(location: Location, width: int = TABLE_WIDTH) -> str:
    """The latest run on a store: stages done, running and failed, whether it goes on, and its provisional tables.

    `width` is how many letters a line of these has.
    """
    store = Store.at(location)
    return "\n".join(_Follower(store, _newest_log(store), width).look()[0])


def watch(
    location: Location, show: Callable[[str], None], interval_s: float = WATCH_S, width: int = TABLE_WIDTH
) -> None:
    """Show the status again and again, until the run has ended or its driver has died.

    Each time only what was told since is read; where another run has begun, that one is told from then on.
    """
    store = Store.at(location)
    follower = _Follower(store, _newest_log(store), width)
    while True:
        lines, goes_on = follower.look()
        show("\n".join(lines))
        if not goes_on:
            return
        time.sleep(interval_s)
        newest = _newest_log(store)
        if newest != follower.log:
            follower = _Follower(store, newest, width)


def _newest_log(store: Store) -> Path:
    """The log of the newest run; raises UserError where there was none."""
    newest = store.newest_run()
    if not newest:
        raise UserError(store.name, "no run", "a store that a suite was run on", "see --store")
    return store.root / run_log(newest)


def is_running(store: Store) -> bool:
    """Whether the newest run on a store goes on, as far as its log and its driver tell."""
    newest = store.newest_run()
    if not newest:
        return False
    reader = store.reader(store.root / run_log(newest))
    first, last = next(reader.new(), None), reader.last()
    return first is not None and last is not None and _ending(first, last)[1]


class _Follower:
    """Tells of one run again and again, by what its log told since the last look."""

    def __init__(self, store: Store, log: Path, width: int) -> None:
        """Raises UserError for a log that tells of no run."""
        self.log = log
        self._store, self._width = store, width
        self._reader = store.reader(log)
        self._events = self._reader.new()
        first = next((event for event in self._events if event["event"] == Event.RUN_STARTED), None)
        if first is None or not {"suite", "executor", "groups"} <= first.keys():
            raise UserError(log, "no beginning of a run", "an event log")
        self._first = self._last = first
        self._groups: dict[str, str] = dict(first["groups"])
        # A finished run without failures is told without the stages themselves, of which there may be thousands.
        newest = self._reader.last() or first
        self._known = described(store) if not _is_over(newest) or newest.get("failures") else {}
        graph = {stage.ref: stage for stage in self._known.values()}
        shown = [Ref(*ref) for ref in first.get("shown", ())]
        rows = [ref for ref in shown if ref in graph and isinstance(graph[ref].identity, RowIdentity)]
        rounds = round_of_stages(graph, rounds_of(graph[ref] for ref in rows))
        self._stages = {key: self._known[key] for key in self._groups if key in self._known}
        self._state = RunState(self._stages, Costs(store), rounds)
        self._state.take(first)
        self._provisional = Provisional(graph, rows, self._groups.keys(), self._state, store)
        self._tables: list[str] = []

    def look(self) -> tuple[list[str], bool]:
        """What `status_of` tells, line by line, and whether the run goes on."""
        for event in self._events:
            if event["event"] == Event.GROWN:
                self._grow(event.get("groups", {}))
            self._state.take(event)
            self._last = event
        self._events = self._reader.new()
        ending, goes_on = _ending(self._first, self._last)
        lines = [f"{self._first['suite']} · {self._first['executor']} · {ending}"]
        if goes_on:
            lines += _going_on(self._state)
        if not _is_over(self._last):
            lines += self._next_tables()
        lines += _by_group(self._groups, self._state)
        for key, reason in self._state.reasons.items():
            # When a damaged artefact was made again, what had failed before was begun again too.
            if self._state.condition(key) == "failed":
                label = "a stage"
                if key in self._known:
                    label = self._known[key].label
                lines.append(f"  failed: {label} ({key[:12]}): {reason}")
        return lines, goes_on

    def _grow(self, groups: Mapping[str, str]) -> None:
        """The run has more stages than were known when it began; `groups` are theirs, by key."""
        self._groups |= groups
        if self._known and not groups.keys() <= self._known.keys():
            self._known = described(self._store)
        self._stages |= {key: self._known[key] for key in groups if key in self._known}

    def _next_tables(self) -> list[str]:
        """The provisional tables, line by line; before there are any, how far the first is."""
        # Whatever a store holds, or refuses: the rest of the status can be told.
        try:
            standing = self._provisional.advance()
        except (OSError, UserError):
            return []
        if standing is not None:
            self._tables = []
            for table in standing.shown_tables():
                self._tables += _as_text(table, self._width)
        lines = list(self._tables)
        if self._provisional.next_name:
            settled, all_rows = self._provisional.next_counts()
            lines.append(f"  next table ({self._provisional.next_name}): {settled} of {all_rows} rows")
        return lines


def _is_over(last: Told) -> bool:
    """Whether a run came to its end, as its last event tells."""
    return last["event"] == Event.RUN_FINISHED and not last.get("stopped")


def _by_group(groups: Mapping[str, str], state: RunState) -> list[str]:
    """One line for each group: how many of its stages are done, running, failed and to do. `groups` are by key."""
    members: dict[str, list[str]] = {}
    for key, group in groups.items():
        members.setdefault(group, []).append(key)
    lines: list[str] = []
    for group, keys in members.items():
        counts = {condition: state.count(condition, keys) for condition in CONDITIONS}
        told = [f"{count} {condition}" for condition, count in counts.items() if count]
        lines.append(f"  {group}: {', '.join(told)}")
    return lines


def _as_text(table: Table, width: int) -> list[str]:
    """A table as lines of text, without colours."""
    text = StringIO()
    Console(file=text, width=width - len(INDENT), color_system=None).print(table.to_rich())
    return [INDENT + line.rstrip() for line in text.getvalue().splitlines()]


def _going_on(state: RunState) -> list[str]:
    """How busy a run is, and what runs in it, one line each; nothing where the log or its stages do not tell."""
    # An older version's log tells no slots, and of a run that another version made not every stage can be read.
    try:
        pace = state.pace(time.time())
    except (LookupError, ValueError):
        return []
    return [f"  {line}" for line in (pace.to_text(), *state.lines())]


def _ending(first: Told, last: Told) -> tuple[str, bool]:
    """How a run ended, or that it goes on, in words, by its first and its last event; and whether it goes on."""
    ago = duration(time.time() - last["t"])
    if last["event"] == Event.RUN_FINISHED and last.get("stopped"):
        return f"stopped {ago} ago; run it again to continue", False
    if last["event"] == Event.RUN_FINISHED:
        return f"finished {ago} ago, {last.get('failures')} failed, {last.get('blocked')} blocked", False
    if lives(first.get("driver", {})) is False:
        return f"killed, last event {ago} ago; run it again to continue", False
    if time.time() - last["t"] < SILENT_S:
        return f"running, last event {ago} ago", True
    return f"silent; it may have been killed: run it again to continue, last event {ago} ago", False


class StageRun(NamedTuple):
    """How a stage that was run alone ended."""

    text: str
    exit_code: int
    """0, 1 where it did not come to its end, 2 where that is for the user to mend."""


class _Logged(NamedTuple):
    """A stage of which the store can tell how it went, and what it tells, which is read when it is asked for."""

    key: str
    label: str
    group: str
    tell: Callable[[], str]


def run_one(location: Location, prefix: str, debug: bool) -> StageRun:
    """Run one stage here and now and tell how it ended; with `debug` its errors come through."""
    found = find_described(Store.at(location), prefix)
    if len(found) != 1:
        expected = "the beginning of one stage's key or label"
        raise UserError("stage", f"'{prefix}', which fits {len(found)} stages", expected)
    (stage,) = found
    store = Store.at(absolute(location))
    absent = [str(ref) for ref in stage.needs() if not store.has(ref)]
    if absent:
        raise UserError("stage", f"missing inputs {', '.join(absent[:3])}", "published inputs", "run the suite first")
    log = store.begin_log(SINGLE_RUN).path
    start = time.perf_counter()
    if debug:
        run_openly(stage, store)
        return StageRun(f"{stage.label}: ran in {duration(time.perf_counter() - start)}; nothing was published", 0)
    (outcome,) = run_job(Job((stage,), store.location, log))
    text = f"{stage.label}: {outcome.status.name.lower()} {outcome.reason}".rstrip()
    if outcome.status is Ending.DONE:
        return StageRun(text, 0)
    return StageRun(text, 2 if outcome.is_users else 1)


def log_of(location: Location, stage: str) -> str:
    """A failed stage's traceback, or a training stage's losses.

    `stage` is the beginning of a key or label, or a label or group as `status` prints it: where it fits several, the
    first that failed is told, and others are named below. Raises UserError where the store has no such stage.
    """
    store = Store.at(location)
    # As it stands in a line of `status`: `  cam · maps: 3 done`, or `  failed: cam · clean · … (0123456789ab): why`.
    wanted = stage.strip().removeprefix("failed: ").rstrip(":")
    fitting = [one for one in _failed(store) if _fits(one, wanted)]
    # A key or a whole label means that stage, though others begin with the same letters.
    exact = [one for one in fitting if wanted in (one.key, one.label)]
    if not exact:
        fitting += [one for one in _done(store) if _fits(one, wanted)]
        exact = [one for one in fitting if wanted in (one.key, one.label)]
    if not fitting:
        raise _not_logged(store, stage, wanted)
    told, *others = exact or fitting
    lines = [told.tell()]
    if others:
        lines.append(f"\n'{wanted}' fits {len(others)} more:")
        lines += [f"  {one.label} ({one.key[:12]})" for one in others[:MOST_NAMED]]
    return "\n".join(lines)


def _fits(one: _Logged, wanted: str) -> bool:
    if not wanted:
        return False
    beginnings = one.key.startswith(wanted) or one.label.startswith(wanted)
    # A label with the key behind it, as a failure is printed; the reason may follow.
    is_printed = wanted.startswith(f"{one.label} ({one.key[:12]})")
    return beginnings or is_printed or one.group == wanted


def _failed(store: Store) -> Iterable[_Logged]:
    """The stages that failed and were not made since."""
    for name, content in store.documents(FAILURES).items():
        key, failure = key_of_document(name), _failure(name, content)
        yield _Logged(key, failure["label"], failure["group"], partial(_failed_text, key, failure))


def _done(store: Store) -> Iterable[_Logged]:
    """The stages that are published."""
    for record in _published(store):
        yield _Logged(record.key, record.label, record.group, partial(_success, store, record))


def _failed_text(key: str, failure: Mapping[str, str]) -> str:
    return f"{failure['label']} ({key[:12]})\n{failure['reason']}\n\n{failure['traceback']}"


def _not_logged(store: Store, stage: str, wanted: str) -> UserError:
    """The error for a stage of which nothing is on record; one that is planned, and has not ended, is told so."""
    for planned in described(store).values():
        if _fits(_Logged(planned.key, planned.label, planned.group, str), wanted):
            found = f"'{stage}': {planned.label} ({planned.key[:12]}), which has not ended yet"
            return UserError("stage", found, "a stage that is done or failed", "see seedbed status")
    expected = f"the key, label or group of a stage in {store.name}"
    return UserError("stage", f"'{stage}'", expected, "see seedbed status")


def _failure(name: str, text: bytes) -> dict[str, str]:
    """What the record of a failure says: label, group, reason and traceback; of a damaged one, that it is damaged."""
    try:
        content = json.loads(text)
        told = {entry: str(content[entry]) for entry in ("label", "reason", "traceback")}
        # Records of older versions may tell nothing of the stage: then it has no group.
        described_stage = content.get("stage")
        group = described_stage.get("group", "") if isinstance(described_stage, dict) else ""
        return {**told, "group": str(group)}
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        return {"label": "a stage", "group": "", "reason": f"damaged: {FAILURES}/{name} ({error})", "traceback": ""}


def _published(store: Store) -> Iterable[Record]:
    """The records of all published artefacts, as far as they can be read."""
    # Damaged ones are told by `seedbed store verify`.
    refs: list[Ref] = []
    for kind in store.kinds():
        refs += [Ref(kind, key) for key in store.keys(kind)]
    return store.records(refs).values()


def _success(store: Store, record: Record) -> str:
    """How a stage went that is published, and what its training logged, one line an epoch."""
    head = f"{record.label} ({record.key[:12]}): done in {duration(record.seconds)} on {record.device}"
    try:
        log = FitFiles(store.open(record.ref).folder).log
    except Lost as error:
        raise UserError(record.ref, f"a damaged artefact ({error})", "a whole one", "run its suite again") from None
    lines = [head]
    if log.exists():
        for row in json.loads(log.read_text(encoding="utf-8")):
            values = [f"{name} {value:g}" for name, value in row.items()]
            lines.append(f"  {' · '.join(values)}")
    return "\n".join(lines)
