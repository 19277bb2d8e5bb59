"""What a run's events tell of how busy it is, by hand; and what `seedbed status` makes of them while it runs."""

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from harness.execution.costs import Costs
from harness.execution.descriptions import describe
from harness.reports import status
from harness.reports.progress import Pace, RunState, duration
from harness.stages.graph import Stage
from harness.store import events
from harness.store.events import Ending, Event, EventLog, Told
from harness.store.layout import SINGLE_RUN, Ref
from harness.store.lease import this_process
from harness.store.store import Store
from tests.harness.fakes import label_stage

FIT = label_stage(0, label="fit", group="fit", threads=2, photos=10)
MAPS = [label_stage(n, {"weights": (FIT.ref,)}, label=f"maps {n}", group="maps") for n in range(3)]
ROW = label_stage(0, {"counts": tuple(stage.ref for stage in MAPS)}, label="row", group="rows")
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


def state_of(events: list[dict[str, Any]], stages: list[Stage], folder: Path) -> RunState:
    state = RunState({stage.key: stage for stage in stages}, Costs(Store(folder)))
    for each in events:
        state.take(each)
    return state


def test_slots_queue_and_retries(tmp_path: Path) -> None:
    pace = state_of(EVENTS, STAGES, tmp_path).pace(now=120.0)
    # 10 s of two threads and 2 + 8 s of one, of 20 s of four slots.
    assert pace.share == pytest.approx((2 * 10 + 2 + 8) / 80)
    assert (pace.busy, pace.ready, pace.waiting, pace.retried) == (1, 2, 1, 1)
    # The lowest free slots: the fit had two for 10 s; then one stage 2 s, another 8 s, each in the first.
    assert pace.shares == pytest.approx((1.0, 0.5, 0, 0))
    text = "1 of 4 slots busy, 38 % so far (100, 50, 0, 0) · 2 ready, 1 waiting · 1 retried · "
    assert pace.to_text().startswith(text)
    assert "retried" not in Pace(1, 0, 0, 0, 3.0, (0.5, 0.5)).to_text()


def started(store: Path) -> EventLog:
    describe(Store(store).create(), STAGES)
    (store / "events").mkdir()
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


def test_a_stage_that_was_run_alone_since_is_not_the_latest_run(tmp_path: Path) -> None:
    started(tmp_path)
    alone = Store(tmp_path).begin_log(SINGLE_RUN)
    alone.write("started", stages=[FIT.key])
    os.utime(alone.path, (time.time() + 60,) * 2)
    assert status.status_of(tmp_path).startswith("mine · ray · running")


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
    lone = label_stage(1, {"counts": (Ref("score", "0" * 64),)})
    pace = state_of(EVENTS[:1], [lone], tmp_path).pace(now=101.0)
    assert (pace.ready, pace.waiting) == (1, 0)


@pytest.mark.parametrize("ending", list(Ending))
def test_whatever_ends_a_stage_frees_its_slots_and_takes_it_off_what_runs(ending: Ending, tmp_path: Path) -> None:
    """`worker_died` and `timed_out` once left a stage running in the display, and its slots busy for good."""
    events = [*EVENTS[:2], event(ending, 110.0, FIT, reason="why")]
    state = state_of(events, STAGES, tmp_path)
    assert state.lines() == [] and state.pace(now=120.0).busy == 0
    assert state.pace(now=120.0).shares == pytest.approx((0.5, 0.5, 0, 0))
    expected = {Ending.DONE: "done", Ending.FAILED: "failed"}.get(ending, "to do")
    assert state.condition(FIT.key) == expected
    assert state.reasons == ({FIT.key: "why"} if ending is Ending.FAILED else {})


def test_a_stage_that_timed_out_is_to_do_again_until_it_is_given_up(tmp_path: Path) -> None:
    log = started(tmp_path)
    log.write(Ending.TIMED_OUT, stages=[FIT.key], reason="not done after 5 s")
    assert "  fit: 1 to do" in status.status_of(tmp_path).splitlines()
    log.write(Ending.FAILED, stages=[FIT.key], reason="not done after 5 s")
    assert f"  failed: fit ({FIT.key[:12]}): not done after 5 s" in status.status_of(tmp_path).splitlines()


def test_words_of_other_versions_and_progress_after_the_end_change_nothing(tmp_path: Path) -> None:
    late = event("progress", 111.0, FIT, done=5, total=10, unit="photos", values={})
    state = state_of([*EVENTS[:3], late, event("admired", 112.0, FIT)], STAGES, tmp_path)
    assert state.condition(FIT.key) == "done" and state.lines() == []


def test_the_words_in_logs_stay_those_of_old_logs() -> None:
    words = "finished failed stopped input_lost worker_died timed_out out_of_memory busy retried"
    assert [ending.value for ending in Ending] == words.split()
    told = "run_started grown connected started progress stopping run_finished"
    assert [name.value for name in Event] == told.split()


def test_watching_reads_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, looks, parsed = started(tmp_path), list[str](), list[bytes]()
    for _ in range(50):
        log.write("progress", stages=[FIT.key], done=1, total=9, unit="epochs", values={})

    def show(text: str) -> None:
        looks.append(text)
        if len(looks) == 5:
            log.write("run_finished", failures=0, blocked=0, stopped=False)

    def counting(line: bytes) -> Told | None:
        parsed.append(line)
        return event_in(line)

    event_in = events._event_in
    monkeypatch.setattr(events, "_event_in", counting)
    status.watch(tmp_path, show, interval_s=0)
    assert len(looks) == 6 and "1/9 epochs" in looks[0]
    # Each line once, and once more the last one of the first look.
    assert len(parsed) == len(log.path.read_text().splitlines()) + 1


def test_no_time_is_negative_where_a_clock_was_set_back() -> None:
    assert duration(-3590) == "0 s"


def test_a_pipe_among_the_logs_is_not_waited_for(tmp_path: Path) -> None:
    started(tmp_path)
    os.mkfifo(tmp_path / "events" / "two.jsonl")
    assert status.status_of(tmp_path).startswith("mine · ray · running")
