"""`seedbed status`, `logs` and `stage`: what a store tells about its runs and stages."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from io import StringIO
from typing import NamedTuple

from rich.console import Console

from harness.execution.costs import Costs
from harness.execution.descriptions import described, find_described
from harness.execution.job import Job
from harness.execution.worker import run_job, run_openly
from harness.reports.progress import Condition, RunState, duration
from harness.reports.provisional import Provisional
from harness.stages.graph import Stage
from harness.stages.rounds import round_of_stages, rounds_of
from harness.stages.rows import RowIdentity
from harness.store.backends.urls import Location, absolute
from harness.store.events import SILENT_S, Ending, Event, Told
from harness.store.layout import FAILURES, SINGLE_RUN, FitFiles, Ref, key_of_document, run_of
from harness.store.lease import lives
from harness.store.record import Record
from harness.store.store import Lost, Store
from results.shown import Table
from settings.errors import UserError

__all__ = ["StageRun", "log_of", "run_one", "status_of", "watch"]

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
    return "\n".join(_status(location, width)[0])


def watch(
    location: Location, show: Callable[[str], None], interval_s: float = WATCH_S, width: int = TABLE_WIDTH
) -> None:
    """Show the status again and again, until the run has ended or its driver has died."""
    while True:
        lines, goes_on = _status(location, width)
        show("\n".join(lines))
        if not goes_on:
            return
        time.sleep(interval_s)


def _status(location: Location, width: int) -> tuple[list[str], bool]:
    """What `status_of` tells, line by line, and whether the run goes on; raises UserError where there was none."""
    store = Store.at(location)
    # A stage that was run alone since is no run of a suite.
    logs = [log for log in store.logs() if run_of(log) != SINGLE_RUN]
    if not logs:
        raise UserError(store.name, "no run", "a store that a suite was run on", "see --store")
    log = logs[-1]
    events = list(store.reader(log).new())
    first = next((event for event in events if event["event"] == Event.RUN_STARTED), None)
    if first is None or not {"suite", "executor", "groups"} <= first.keys():
        raise UserError(log, "no beginning of a run", "an event log")
    ending, goes_on = _ending(events)
    groups: Mapping[str, str] = first["groups"]
    # A finished run without failures is told without the stages themselves, of which there may be thousands.
    known: dict[str, Stage] = {}
    is_over = events[-1]["event"] == Event.RUN_FINISHED and not events[-1].get("stopped")
    if not is_over or any(event["event"] == Ending.FAILED for event in events):
        known = described(store)
    graph = {stage.ref: stage for stage in known.values()}
    shown = [Ref(*ref) for ref in first.get("shown", ())]
    rows = [ref for ref in shown if ref in graph and isinstance(graph[ref].identity, RowIdentity)]
    rounds = round_of_stages(graph, rounds_of(graph[ref] for ref in rows))
    state = RunState({key: known[key] for key in groups if key in known}, Costs(store), rounds)
    for event in events:
        state.take(event)
    lines = [f"{first['suite']} · {first['executor']} · {ending}"]
    if goes_on:
        lines += _going_on(state)
    if not is_over:
        lines += _provisional(Provisional(graph, rows, groups.keys(), state, store), width)
    lines += _by_group(groups, state)
    for key, reason in state.reasons.items():
        # When a damaged artefact was made again, what had failed before was begun again too.
        if state.condition(key) == "failed":
            label = "a stage"
            if key in known:
                label = known[key].label
            lines.append(f"  failed: {label} ({key[:12]}): {reason}")
    return lines, goes_on


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


def _provisional(found: Provisional, width: int) -> list[str]:
    """The provisional tables of a run that is not over, line by line; before there are any, how far the first is."""
    # Whatever a store holds, or refuses: the rest of the status can be told.
    try:
        standing = found.advance()
    except (OSError, UserError):
        return []
    lines: list[str] = []
    if standing is not None:
        for table in standing.shown_tables():
            lines += _as_text(table, width)
    if found.next_name:
        settled, all_rows = found.next_counts()
        lines.append(f"  next table ({found.next_name}): {settled} of {all_rows} rows")
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


def _ending(events: Sequence[Told]) -> tuple[str, bool]:
    """How the run ended, or that it goes on, in words; and whether it goes on."""
    last = events[-1]
    ago = duration(time.time() - last["t"])
    if last["event"] == Event.RUN_FINISHED and last.get("stopped"):
        return f"stopped {ago} ago; run it again to continue", False
    if last["event"] == Event.RUN_FINISHED:
        return f"finished {ago} ago, {last.get('failures')} failed, {last.get('blocked')} blocked", False
    if lives(events[0].get("driver", {})) is False:
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
