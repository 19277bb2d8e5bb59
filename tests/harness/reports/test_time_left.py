"""What is learned of costs while a run goes on, and how long what is left takes on its slots, by closed forms."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.execution.costs import OVERHEAD_S, Costs
from harness.reports.progress import RunState
from harness.reports.time_left import ABOVE, ENDING_S, GUESSED, Advance, Learned, makespan, remaining_s
from harness.stages.graph import Stage
from harness.store.layout import Ref
from harness.store.store import Store
from tests.harness.fakes import fake_kind, fake_stage

FIT, MAPS = fake_kind("fit", seconds_a_photo=1.0), fake_kind("maps", seconds_a_photo=1.0)


def stages_of(seconds: list[float], needs: list[set[int]] | None = None, **rest: Any) -> list[Stage]:
    """Stages that are planned to take so long, in photos of a second each, each after those before it that it needs."""
    stages: list[Stage] = []
    for n, photos in enumerate(seconds):
        wanted = sorted((needs or [set()] * len(seconds))[n])
        inputs = {"inputs": tuple(stages[i].ref for i in wanted if i < n)}
        stages.append(fake_stage(n, inputs, photos=int(photos), label=str(n), **{"kind": FIT, **rest}))
    return stages


def by_ref(stages: list[Stage]) -> dict[Ref, Stage]:
    return {stage.ref: stage for stage in stages}


def planned(stage: Stage) -> float:
    return float(stage.photos)


# What running stages tell


def test_a_stage_takes_what_its_steps_take_and_what_was_before_them() -> None:
    advance = Advance(100.0)
    assert advance.total_s() is None
    advance.tell(120.0, 0.1)
    assert advance.total_s() is None, "one telling is no rate"
    advance.tell(130.0, 0.3)
    # 20 s of preparing with the first tenth, then 50 s for the whole: 10 s for each fifth.
    assert advance.total_s() == pytest.approx(30 + 50 * 0.7)
    assert remaining_s(advance, 1000.0, 132.0) == pytest.approx(30 + 35 - 32)
    assert advance.weight == 1.0


def test_early_steps_are_believed_in_part() -> None:
    advance = Advance(0.0)
    advance.tell(1.0, 0.0)
    advance.tell(3.0, 0.1)
    assert (advance.weight, advance.total_s()) == (0.5, pytest.approx(21.0))
    assert remaining_s(advance, 11.0, 3.0) == pytest.approx((21 + 11) / 2 - 3)


def test_a_stage_that_does_not_tell_takes_what_is_expected_or_a_little_longer_than_it_has() -> None:
    assert remaining_s(Advance(0.0), 50.0, 20.0) == 30.0
    assert remaining_s(Advance(0.0), 50.0, 200.0) == pytest.approx(20.0)


def test_a_stage_that_counts_anew_is_measured_anew() -> None:
    advance = Advance(0.0)
    for t, share in ((1.0, 0.0), (11.0, 1.0), (12.0, 0.0), (22.0, 0.5)):
        advance.tell(t, share)
    assert advance.total_s() == pytest.approx(32.0)


# What is learned of others


def test_a_group_is_judged_by_what_its_stages_took() -> None:
    learned = Learned(planned)
    one, other = stages_of([10, 40], group="cam · fit")
    assert learned.seconds(other) == 40.0
    learned.measure(one, 30.0)
    # Kind and group have each seen one stage that took thrice what was planned, and count the wider class in part.
    above = learned.seconds(fake_stage(9, kind=MAPS, photos=1))
    kind = (3 + ABOVE * above) / (1 + ABOVE)
    assert learned.seconds(other) == pytest.approx(40 * (3 + ABOVE * kind) / (1 + ABOVE))
    assert 110 < learned.seconds(other) < 120


def test_what_is_not_measured_is_judged_by_its_kind_then_by_all_kinds() -> None:
    learned = Learned(planned)
    for stage in stages_of([100, 100, 100], group="cam · fit"):
        learned.measure(stage, 200.0)
    same_kind = fake_stage(7, kind=FIT, photos=10, group="coattention · fit")
    assert learned.seconds(same_kind) == pytest.approx(20, rel=0.05)
    # One kind alone says that the machine takes twice as long, and the guess is believed a little too.
    other_kind = fake_stage(8, kind=MAPS, photos=10, group="cam · maps")
    assert learned.seconds(other_kind) == pytest.approx(10 * 2 ** (1 / (1 + GUESSED)), rel=0.01)


def test_what_is_added_to_a_copy_is_not_in_the_original() -> None:
    learned = Learned(planned)
    (stage,) = stages_of([10])
    copy = learned.copy()
    copy.measure(stage, 100.0)
    assert learned.seconds(stage) == 10.0 and copy.seconds(stage) > 50


# What is left, on slots


def left(stages: list[Stage], slots: int, running: dict[Ref, tuple[float, int]] | None = None) -> float:
    return makespan(by_ref(stages), running or {}, slots, planned, planned)


def test_a_chain_takes_its_length_and_independent_stages_their_share() -> None:
    chain = stages_of([3, 4, 5], [set(), {0}, {1}])
    assert left(chain, 8) == 12
    assert [left(stages_of([2] * 12), slots) for slots in (1, 2, 4, 12)] == [24, 12, 6, 2]
    assert left([], 2) == 0


def test_running_stages_hold_their_slots_and_what_needs_them_waits() -> None:
    first, second, third = stages_of([9, 3, 2], [set(), {0}, set()])
    waiting = by_ref([second, third])
    running = {first.ref: (4.0, 1)}
    # On one slot: 4 s, then 3 s and 2 s; on two the third goes beside.
    assert makespan(waiting, running, 1, planned, planned) == 9
    assert makespan(waiting, running, 2, planned, planned) == 7


def test_wide_stages_take_all_their_slots() -> None:
    wide = stages_of([5, 5], threads=2)
    assert left(wide, 2) == 10
    assert left(wide, 4) == 5
    assert left(wide, 1) == 10, "no more than there are"


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=12),
    st.lists(st.sets(st.integers(0, 11)), min_size=12, max_size=12),
    st.integers(1, 4),
)
def test_no_less_than_the_bound_and_no_more_than_graham_proved(
    seconds: list[int], needs: list[set[int]], slots: int
) -> None:
    stages = stages_of([float(each) for each in seconds], needs)
    longest: dict[Ref, float] = {}
    for stage in stages:
        longest[stage.ref] = stage.photos + max((longest[need] for need in stage.needs()), default=0)
    path, work = max(longest.values()), sum(seconds)
    assert max(path, work / slots) <= left(stages, slots) <= path + (work - path) / slots + 1e-9


# All of it, from a run's events


def state_of(stages: list[Stage], slots: int, folder: Path) -> RunState:
    state = RunState({stage.key: stage for stage in stages}, Costs(Store(folder)))
    state.take({"event": "run_started", "t": 0.0, "slots": slots})
    return state


def told(word: str, t: float, *stages: Stage, **content: Any) -> Any:
    return {"event": word, "t": t, "stages": [stage.key for stage in stages], **content}


def stages_left(state: RunState, now: float) -> float:
    """The time left without that of what follows the last stage."""
    return state.seconds_left(now) - ENDING_S


def test_the_time_left_follows_what_stages_take(tmp_path: Path) -> None:
    stages = stages_of([100] * 4, group="fit")
    state = state_of(stages, 2, tmp_path)
    assert stages_left(state, 0.0) == pytest.approx(200 + 2 * OVERHEAD_S)
    for t, stage in ((0.0, stages[0]), (0.0, stages[1])):
        state.take(told("started", t, stage))
        for step in (0, 50):
            progress = {"done": step, "total": 100, "unit": "steps", "values": {}}
            state.take(told("progress", t + 3.0 * step, stage, **progress))
    # Half done after 150 s: 150 s are left of these, and the other two take as long as these will, or nearly.
    assert stages_left(state, 150.0) == pytest.approx(150 + 300, rel=0.03)
    state.take(told("finished", 300.0, stages[0], stages[1]))
    assert stages_left(state, 300.0) == pytest.approx(300, rel=0.05)


def test_a_bundle_takes_its_time_once_and_holds_one_slot(tmp_path: Path) -> None:
    stages = [*stages_of([10] * 4, group="features", bundle="one"), fake_stage(9, kind=MAPS, photos=20, group="maps")]
    state = state_of(stages, 2, tmp_path)
    state.take(told("started", 0.0, *stages[:4]))
    # 40 s beside 20 s.
    assert stages_left(state, 0.0) == pytest.approx(40, rel=0.01)
    state.take(told("finished", 80.0, *stages[:4]))
    # Twice as long as planned, but another kind.
    assert 20 < stages_left(state, 80.0) < 40


def test_what_a_failure_blocks_is_not_left_to_do(tmp_path: Path) -> None:
    stages = stages_of([10, 20, 40, 5], [set(), {0}, {1}, set()])
    state = state_of(stages, 1, tmp_path)
    state.take(told("started", 0.0, stages[0]))
    state.take(told("failed", 10.0, stages[0], reason="broke"))
    assert stages_left(state, 10.0) == pytest.approx(5 + OVERHEAD_S)


def test_the_first_job_of_a_process_tells_of_others_when_it_was_long(tmp_path: Path) -> None:
    def told_left(photos: float, *pids: int) -> float:
        stages = stages_of([photos] * 4, group="fit")
        state = state_of(stages, 1, tmp_path)
        for n, pid in enumerate(pids):
            # Ten seconds of imports where a process is new.
            begin, seconds = 100.0 * n, photos if pid in pids[:n] else photos + 10.0
            state.take(told("started", begin, stages[n], pid=pid))
            state.take(told("finished", begin + seconds, stages[n]))
        return stages_left(state, 300.0)

    assert told_left(2, 1, 2) == pytest.approx(2 * 2, rel=0.02)
    assert told_left(2, 1, 1) == pytest.approx(2 * 2, rel=0.02)
    assert told_left(40, 1) == pytest.approx(3 * 50, rel=0.1)


def test_what_another_run_made_teaches_nothing(tmp_path: Path) -> None:
    stages = stages_of([10, 20])
    state = state_of(stages, 1, tmp_path)
    state.take(told("finished", 1.0, stages[0], seconds=0.0))
    assert stages_left(state, 1.0) == pytest.approx(20 + OVERHEAD_S)


def test_tables_and_figures_follow_the_last_stage(tmp_path: Path) -> None:
    stages = stages_of([10])
    state = state_of(stages, 1, tmp_path)
    state.take(told("started", 5.0, stages[0]))
    assert state.seconds_left(9.0) == pytest.approx(6 + OVERHEAD_S + ENDING_S)
    state.take(told("finished", 15.0, stages[0]))
    assert state.seconds_left(15.0) == ENDING_S
    assert state.seconds_left(17.0) == ENDING_S - 2
    assert state.seconds_left(15.0 + 2 * ENDING_S) == 0
