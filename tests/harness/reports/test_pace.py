"""What a run's events tell of how busy it is, by hand; and what `seedbed status` makes of them while it runs."""

import re
from pathlib import Path
from typing import Any

import pytest

from harness.execution.running import write_descriptions
from harness.reports import status
from harness.reports.pace import Pace, pace_of
from harness.stages.graph import Stage
from harness.store.events import EventLog
from harness.store.layout import Ref
from harness.store.lease import this_process
from harness.store.store import Store

FIT = Stage("localizer_fit", {"n": 0}, label="fit", group="fit", threads=2, photos=10)
MAPS = [Stage("localizer_apply", {"n": n}, {"weights": (FIT.ref,)}, label=f"maps {n}", group="maps") for n in range(3)]
ROW = Stage("row", {}, {"counts": tuple(stage.ref for stage in MAPS)}, label="row", group="rows")
STAGES = [FIT, *MAPS, ROW]


def event(name: str, t: float, *stages: Stage, **content: Any) -> dict[str, Any]:
    return {"event": name, "t": t, "stages": [stage.key for stage in stages], **content}


EVENTS = [
    {"event": "run_started", "t": 100.0, "slots": 4},
    event("started", 100.0, FIT),
    event("finished", 110.0, FIT, seconds=10.0),
    event("started", 110.0, MAPS[0]),
    event("retried", 112.0, MAPS[0], reason="the worker ended"),
    event("started", 112.0, MAPS[1]),
]


def test_slots_queue_and_retries(tmp_path: Path) -> None:
    pace = pace_of(EVENTS, {stage.key: stage for stage in STAGES}, Store(tmp_path), now=120.0)
    # 10 s of two threads and 2 + 8 s of one, of 20 s of four slots.
    assert pace.share == pytest.approx((2 * 10 + 2 + 8) / 80)
    assert (pace.busy, pace.slots, pace.ready, pace.waiting, pace.retried) == (1, 4, 2, 1, 1)
    # The lowest free slots: the fit had two for 10 s; then one stage 2 s, another 8 s, each in the first.
    assert pace.shares == pytest.approx((1.0, 0.5, 0, 0))
    text = "1 of 4 slots busy, 38 % so far (100, 50, 0, 0) · 2 ready, 1 waiting · 1 retried · "
    assert pace.to_text().startswith(text)
    assert "retried" not in Pace(1, 2, 0.5, 0, 0, 0, 3.0).to_text()


def started(store: Path) -> EventLog:
    (store / "events").mkdir()
    write_descriptions(Store(store), STAGES)
    log, groups = EventLog(store / "events" / "one.jsonl"), {stage.key: stage.group for stage in STAGES}
    log.write("run_started", suite="mine", executor="ray", slots=4, groups=groups, driver=this_process())
    log.write("started", stages=[FIT.key])
    return log


def test_status_of_a_running_suite(tmp_path: Path) -> None:
    started(tmp_path)
    first, pace, running, *_ = status.status_of(tmp_path).splitlines()
    assert first.startswith("mine · ray · running")
    assert re.fullmatch(r"  2 of 4 slots busy, \d+ % so far \(.*\) · 0 ready, 4 waiting · .* left", pace)
    assert running == "  fit"


def test_a_stage_that_stopped_is_to_do_again(tmp_path: Path) -> None:
    started(tmp_path).write("stopped", stages=[FIT.key], reason="after epoch 1")
    assert "  fit: 1 to do" in status.status_of(tmp_path).splitlines()


def test_a_log_without_slots_is_still_told(tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    log = EventLog(tmp_path / "events" / "one.jsonl")
    log.write("run_started", suite="mine", executor="ray", groups={FIT.key: "fit"}, driver=this_process())
    assert status.status_of(tmp_path).splitlines()[1:] == ["  fit: 1 to do"]


def test_watching_ends_with_the_run(tmp_path: Path) -> None:
    log, seen = started(tmp_path), list[str]()

    def show(text: str) -> None:
        seen.append(text)
        if len(seen) == 2:
            log.write("run_finished", failures=0, blocked=0, stopped=False)

    status.watch(tmp_path, show, interval_s=0)
    assert [" · running" in text.splitlines()[0] for text in seen] == [True, True, False]


def test_watching_a_run_whose_driver_died_ends_at_once(tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    log, seen = EventLog(tmp_path / "events" / "one.jsonl"), list[str]()
    driver = {**this_process(), "start": "1"}
    log.write("run_started", suite="mine", executor="ray", slots=1, groups={FIT.key: "fit"}, driver=driver)
    status.watch(tmp_path, seen.append, interval_s=0)
    assert len(seen) == 1 and "killed" in seen[0]


def test_a_need_of_another_run_does_not_wait(tmp_path: Path) -> None:
    lone = Stage("row", {"n": 1}, {"counts": (Ref("score", "0" * 64),)})
    pace = pace_of(EVENTS[:1], {lone.key: lone}, Store(tmp_path), now=101.0)
    assert (pace.ready, pace.waiting) == (1, 0)
