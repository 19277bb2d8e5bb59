"""`seedbed status`, `logs` and `stage`: what a store tells about its runs and stages."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from harness.execution.running import described
from harness.reports.display import duration
from harness.reports.pace import pace_of
from harness.stages.graph import Stage
from harness.store.backends.urls import Location, absolute
from harness.store.events import SILENT_S
from harness.store.layout import FAILURES, SINGLE_RUN, FitFiles, Ref, key_of_document
from harness.store.lease import lives
from harness.store.record import Record
from harness.store.store import Lost, Store
from settings.errors import UserError

WATCH_S = 2.0
AGAIN = dict.fromkeys(("retried", "stopped", "worker_died", "out_of_memory", "input_lost"), "to do")
"""Events after which a stage is neither done nor failed; what is given up has an event of its own."""


def status_of(location: Location) -> str:
    """The latest run on a store: stages done, running and failed, and whether it still goes on."""
    store = Store.at(location)
    logs = store.logs()
    if not logs:
        raise UserError(store.name, "no run", "a store that a suite was run on", "see --store")
    log = logs[-1]
    events = list(store.reader(log).new())
    first = next((event for event in events if event["event"] == "run_started"), None)
    if first is None or not {"suite", "executor", "groups"} <= first.keys():
        raise UserError(log, "no beginning of a run", "an event log")
    groups: dict[str, str] = first["groups"]
    state = dict.fromkeys(groups, "to do")
    for event in events:
        for key in state.keys() & set(event.get("stages", ())):
            known = {"started": "running", "finished": "done", "progress": state[key]} | AGAIN
            state[key] = known.get(event["event"], "failed")
    ending = _ending(events)
    lines = [f"{first['suite']} · {first['executor']} · {ending}"]
    if ending.startswith("running"):
        lines += _going_on(store, events)
    for group in dict.fromkeys(groups.values()):
        members = [state[key] for key in groups if groups[key] == group]
        counts = {name: members.count(name) for name in ("done", "running", "failed", "to do")}
        lines.append(f"  {group}: " + ", ".join(f"{count} {name}" for name, count in counts.items() if count))
    failed = [(key, e.get("reason")) for e in events if e["event"] == "failed" for key in e.get("stages", ())]
    stages = described(store) if failed else {}
    failures = [f"  failed: {_label(stages.get(key))} ({key[:12]}): {reason}" for key, reason in failed]
    return "\n".join(lines + failures)


def watch(location: Location, show: Callable[[str], None], interval_s: float = WATCH_S) -> None:
    """Show the status again and again, until the run has ended or its driver has died."""
    while True:
        text = status_of(location)
        show(text)
        if " · running" not in text.splitlines()[0]:
            return
        time.sleep(interval_s)


def _going_on(store: Store, events: list[dict[str, Any]]) -> list[str]:
    """How busy it is, and what runs; nothing for a log that does not tell, or stages that cannot be read."""
    known = described(store)
    stages = {key: known[key] for key in events[0]["groups"] if key in known}
    try:
        pace = pace_of(events, stages, store, time.time())
    except (LookupError, TypeError, ValueError):
        return []
    return [f"  {line}" for line in (pace.to_text(), *pace.running)]


def log_of(location: Location, stage: str) -> str:
    """A failed stage's traceback, or a training stage's losses; raises UserError when the store knows no such stage."""
    store = Store.at(location)
    for name, content in store.documents(FAILURES).items():
        key = key_of_document(name)
        failure = _failure(name, content)
        if key.startswith(stage) or failure["label"].startswith(stage):
            return f"{failure['label']} ({key[:12]})\n{failure['reason']}\n\n{failure['traceback']}"
    for record in _published(store):
        if record.key.startswith(stage) or record.label.startswith(stage):
            return _success(store, record)
    raise UserError("stage", f"'{stage}'", f"the key or label of a stage in {store.name}", "see seedbed status")


def run_one(location: Location, prefix: str, debug: bool) -> str:
    """Run one stage here and now; with `debug` its errors come through."""
    from harness.execution.running import read_stages
    from harness.execution.worker import Job, run_job, run_openly

    found = read_stages(Store.at(location), prefix)
    if len(found) != 1:
        raise UserError(
            "stage", f"'{prefix}', which fits {len(found)} stages", "the beginning of one stage's key or label"
        )
    (stage,) = found
    store = Store.at(absolute(location))
    absent = [str(ref) for ref in stage.needs() if not store.has(ref)]
    if absent:
        raise UserError("stage", f"missing inputs {', '.join(absent[:3])}", "published inputs", "run the suite first")
    log = store.begin_log(SINGLE_RUN).path
    start = time.perf_counter()
    if debug:
        run_openly(stage, store)
        return f"{stage.label}: ran in {duration(time.perf_counter() - start)}; nothing was published"
    (outcome,) = run_job(Job((stage,), store.location, log))
    return f"{stage.label}: {outcome.status} {outcome.reason}".rstrip()


def _failure(name: str, text: bytes) -> dict[str, str]:
    try:
        content = json.loads(text)
        return {entry: str(content[entry]) for entry in ("label", "reason", "traceback")}
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        return {"label": "a stage", "reason": f"damaged: {FAILURES}/{name} ({error})", "traceback": ""}


def _label(stage: Stage | None) -> str:
    return "a stage" if stage is None else stage.label


def _ending(events: list[dict[str, Any]]) -> str:
    last = events[-1]
    ago = time.time() - last["t"]
    if last["event"] == "run_finished" and last.get("stopped"):
        return f"stopped {duration(ago)} ago; run it again to continue"
    if last["event"] == "run_finished":
        return f"finished {duration(ago)} ago, {last.get('failures')} failed, {last.get('blocked')} blocked"
    if lives(events[0].get("driver", {})) is False:
        return f"killed, last event {duration(ago)} ago; run it again to continue"
    word = "running" if ago < SILENT_S else "silent; it may have been killed: run it again to continue"
    return f"{word}, last event {duration(ago)} ago"


def _published(store: Store) -> Iterable[Record]:
    refs = [Ref(kind, key) for kind in store.kinds() for key in store.keys(kind)]
    return store.records(refs).values()  # those that are damaged are told by `seedbed store verify`


def _success(store: Store, record: Record) -> str:
    head = f"{record.label} ({record.key[:12]}): done in {duration(record.seconds)} on {record.device}"
    try:
        path = FitFiles(store.open(record.ref).folder).log
    except Lost as error:
        raise UserError(record.ref, f"a damaged artefact ({error})", "a whole one", "run its suite again") from None
    if not path.exists():
        return head
    rows = json.loads(path.read_text(encoding="utf-8"))
    return "\n".join([head, *("  " + " · ".join(f"{name} {value:g}" for name, value in row.items()) for row in rows)])
