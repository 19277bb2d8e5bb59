"""The loop that drives executors, on a pretended one; then the real ones, which must give one table.

`make test` compares their tables in `tests/chaos/test_faults.py` alone.
"""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.execution.driver import Result, drive
from harness.execution.executor import Executor
from harness.execution.job import Outcome
from harness.execution.retries import MAX_RETRIES
from harness.execution.workers import Workers
from harness.reports.leaderboard import Finished, run_and_gather
from harness.stages.graph import Stage, missing_stages
from harness.store.events import Ending, EventLog, EventReader
from harness.store.layout import Ref
from harness.suites.resources import Demand
from harness.suites.suite import load_suite
from settings.errors import UserError
from tests.harness.conftest import ONLY_CAM, results_of
from tests.harness.execution.pretended import Pretended, graph_of
from tests.harness.fakes import CUDA, fake_kind, fake_stage


def driven(graph: dict[Ref, Stage], executor: Executor, folder: Path) -> Result:
    return drive(graph, executor, folder, EventLog(folder / "log.jsonl"))


def names(graph: dict[Ref, Stage], refs: object) -> set[str]:
    return {graph[ref].label for ref in refs}


IN_CHAOS = pytest.mark.skipif("SEEDBED_CHAOS_ROUNDS" not in os.environ, reason="takes half a minute: `make chaos`")
DIAMOND = {"a": "", "b": "a", "c": "a", "d": "bc", "e": ""}


def test_every_stage_runs_once_and_after_its_inputs(tmp_path: Path) -> None:
    executor = Pretended()
    result = driven(graph_of(DIAMOND), executor, tmp_path)
    assert (result.failures, result.blocked, result.interrupted) == ({}, {}, False)
    assert sorted(executor.order) == list("abcde")
    assert executor.order.index("a") < min(executor.order.index("b"), executor.order.index("c"))
    assert executor.order.index("d") > max(executor.order.index("b"), executor.order.index("c"))


@given(st.lists(st.sets(st.integers(0, 11)), min_size=1, max_size=12), st.sets(st.integers(0, 11)))
def test_a_failure_blocks_exactly_its_dependants(
    tmp_path_factory: pytest.TempPathFactory, needs: list[set[int]], broken: set[int]
) -> None:
    letters = "abcdefghijkl"
    graph = graph_of({letters[i]: "".join(letters[j] for j in sorted(need) if j < i) for i, need in enumerate(needs)})
    bad = {letters[index] for index in broken if index < len(needs)}
    reached: dict[str, bool] = {}
    for stage in graph.values():
        reached[stage.label] = all(reached[graph[ref].label] and graph[ref].label not in bad for ref in stage.needs())
    executor = Pretended(lambda stage, nth: Ending.FAILED if stage.label in bad else Ending.DONE)
    result = driven(graph, executor, tmp_path_factory.mktemp("drive"))
    assert names(graph, result.blocked) == {name for name, ok in reached.items() if not ok}
    assert names(graph, result.failures) == {name for name in bad if reached[name]}
    assert sorted(executor.order) == sorted(name for name, ok in reached.items() if ok)


def test_a_blocked_stage_knows_the_root_of_it(tmp_path: Path) -> None:
    graph = graph_of({"a": "", "b": "a", "c": "b"})
    result = driven(graph, Pretended(lambda stage, nth: Ending.FAILED), tmp_path)
    assert {graph[ref].label: graph[root].label for ref, root in result.blocked.items()} == {"b": "a", "c": "a"}
    assert list(result.failures.values()) == ["a broke"]


def test_a_stage_whose_worker_died_is_begun_again_but_not_for_ever(tmp_path: Path) -> None:
    def ends_well(stage: Stage, nth: int) -> Ending:
        return Ending.WORKER_DIED if stage.label == "a" and nth <= MAX_RETRIES else Ending.DONE

    executor = Pretended(ends_well)
    assert not driven(graph_of(DIAMOND), executor, tmp_path).failures
    assert executor.order.count("a") == MAX_RETRIES + 1
    executor = Pretended(lambda stage, nth: Ending.WORKER_DIED if stage.label == "a" else Ending.DONE)
    assert len(driven(graph_of(DIAMOND), executor, tmp_path).failures) == 1
    assert executor.order.count("a") == MAX_RETRIES + 1


def test_what_no_worker_could_put_on_record_the_driver_does(tmp_path: Path) -> None:
    graph = graph_of({"a": ""})
    driven(graph, Pretended(lambda stage, nth: Ending.TIMED_OUT), tmp_path)
    events = [event["event"] for event in EventReader(tmp_path / "log.jsonl").new()]
    assert events == ["retried"] * MAX_RETRIES + ["failed"]


def test_a_stage_that_somebody_else_holds_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.execution.driver.BUSY_WAIT_S", 0.01)
    executor = Pretended(lambda stage, nth: Ending.BUSY if stage.label == "a" and nth < 4 else Ending.DONE)
    assert not driven(graph_of(DIAMOND), executor, tmp_path).failures
    assert executor.order.count("a") == 4


def test_no_more_is_submitted_than_the_slots_and_one_hold(tmp_path: Path) -> None:
    executor = Pretended()
    driven(graph_of(dict.fromkeys("abcdefghij", "")), executor, tmp_path)
    assert executor.most_at_once == 3


def test_the_longest_way_goes_first(tmp_path: Path) -> None:
    executor = Pretended()
    driven(graph_of({"x": "", "a": "", "b": "a", "c": "b"}, photos=1), executor, tmp_path)
    assert executor.submitted[0].stages[0].label == "a"


def test_the_longest_way_is_one_of_seconds_not_of_stages(tmp_path: Path) -> None:
    executor = Pretended()
    graph = graph_of({"a": "", "b": "a", "c": "b", "x": ""})
    drive(graph, executor, tmp_path, EventLog(tmp_path / "log.jsonl"), lambda stage: 9.0 if stage.label == "x" else 1.0)
    assert [job.stages[0].label for job in executor.submitted[:2]] == ["x", "a"]


def in_rounds(edges: dict[str, str], rounds: str, seconds: dict[str, float], slots: int, folder: Path) -> list[str]:
    """The labels of jobs in the order of their submission; `rounds` has a digit for each stage, or a blank."""
    graph, executor = graph_of(edges), Pretended(slots=slots)
    numbers = {ref: int(digit) for ref, digit in zip(graph, rounds, strict=True) if digit != " "}
    log = EventLog(folder / "log.jsonl")
    drive(graph, executor, folder, log, lambda stage: seconds.get(stage.label, 1.0), numbers)
    return [job.stages[0].label for job in executor.submitted]


def test_the_first_table_goes_before_longer_ways_and_what_is_in_no_table_last(tmp_path: Path) -> None:
    seconds = {"x": 4.0, "a": 5.0, "d": 3.0, "b": 2.0, "c": 2.0}
    assert in_rounds(dict.fromkeys("xabcd", ""), " 1001", seconds, 1, tmp_path) == ["b", "c", "a", "d", "x"]


def test_a_way_as_long_as_all_that_is_left_goes_before_the_first_table(tmp_path: Path) -> None:
    edges = {"x": "", "y": "x", **dict.fromkeys("abcd", "")}
    # x and what follows it take 20 s; all together 28 s, 14 s a slot.
    assert in_rounds(edges, "110000", {"x": 10.0, "y": 10.0, **dict.fromkeys("abcd", 2.0)}, 2, tmp_path)[0] == "x"
    # On one slot there is time for it later.
    order = in_rounds(edges, "110000", {"x": 10.0, "y": 10.0, **dict.fromkeys("abcd", 2.0)}, 1, tmp_path)
    assert order[:4] == ["a", "b", "c", "d"]


def test_asking_again_for_what_another_process_holds_does_not_undo_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs on one store: what the other one makes is taken out and put back many times."""
    monkeypatch.setattr("harness.execution.driver.BUSY_WAIT_S", 0.0)
    graph = graph_of(dict.fromkeys("habcdz", ""))
    numbers = dict(zip(graph, (0, 0, 0, 0, 0, 1), strict=True))
    executor = Pretended(lambda stage, nth: Ending.BUSY if stage.label == "h" and nth < 30 else Ending.DONE, slots=1)
    seconds = {"h": 9.0, "z": 8.0}
    log = EventLog(tmp_path / "log.jsonl")
    drive(graph, executor, tmp_path, log, lambda stage: seconds.get(stage.label, 1.0), numbers)
    order = [label for label in executor.order if label != "h"]
    assert order[-1] == "z" and executor.order.count("h") == 30


def test_stages_of_a_bundle_are_one_job(tmp_path: Path) -> None:
    executor = Pretended()
    submitted: list[int] = []
    take = executor.submit
    executor.submit = lambda job: (submitted.append(len(job.stages)), take(job))[1]  # type: ignore[method-assign]
    driven(graph_of(dict.fromkeys("abc", ""), bundle="one"), executor, tmp_path)
    assert submitted == [3]


def test_a_signal_lets_running_stages_finish_and_starts_none(tmp_path: Path) -> None:
    def interrupt(stage: Stage, nth: int) -> Ending:
        os.kill(os.getpid(), signal.SIGINT)
        return Ending.DONE

    graph = graph_of({"a": "", "b": "a", "c": "b"})
    executor = Pretended(interrupt)
    result = driven(graph, executor, tmp_path)
    assert result.interrupted
    assert executor.order == ["a"]


def test_only_what_the_targets_lack_is_run() -> None:
    graph = graph_of(DIAMOND)
    by_name = {stage.label: ref for ref, stage in graph.items()}
    exists = {ref: name == "b" for name, ref in by_name.items()}
    missing = missing_stages(graph, [by_name["d"]], exists)
    assert [stage.label for stage in missing.values()] == ["a", "c", "d"]
    exists[by_name["d"]] = True
    assert missing_stages(graph, [by_name["d"]], exists) == {}


def test_what_lacks_a_gpu_lets_others_pass_but_not_those_that_want_one_too(tmp_path: Path) -> None:
    gpu, cpu = Demand(gpus=1.0), Demand()
    graph = (
        graph_of({"g": "", "h": ""}, photos=9, demand=gpu)
        | graph_of({"i": ""}, photos=5, demand=Demand(gpus=0.5))
        | graph_of({"c": ""}, demand=cpu)
    )
    executor = Pretended(slots=4, gpus=1.0)
    driven(graph, executor, tmp_path)
    # g has the GPU; h would have it next, so i must not slip by; c needs none.
    assert [job.stages[0].label for job in executor.submitted] == ["g", "c", "h", "i"]


def test_a_wide_stage_is_not_kept_waiting_by_narrow_ones(tmp_path: Path) -> None:
    wide = graph_of({"w": ""}, photos=2, threads=3)
    executor = Pretended(slots=2)
    driven(graph_of({"a": "", "b": ""}, photos=9) | wide | graph_of(dict.fromkeys("cdefgh", "")), executor, tmp_path)
    assert [job.stages[0].label for job in executor.submitted][:4] == ["a", "b", "w", "c"]
    assert executor.submitted[2].wants == {"threads": 2}, "at most what there is"


def test_more_than_there_is_is_refused() -> None:
    (stage,) = graph_of({"a": ""}, demand=Demand(gpus=2.0)).values()
    executor = Pretended(gpus=1.0)
    with pytest.raises(UserError, match=r"resources\.kind: found 2 GPUs for a; expected at most the 1 GPU that"):
        executor.check([stage], "runs")
    Pretended().check([stage], "runs")


def test_cheap_stages_are_joined_up_to_a_second_and_a_slots_share(tmp_path: Path) -> None:
    def sizes(count: int, slots: int, seconds: float) -> list[int]:
        executor = Pretended(slots=slots)
        executor.join_s = 1.0
        graph = {stage.ref: stage for n in range(count) for stage in graph_of({"a" * (n + 1): ""}).values()}
        drive(graph, executor, tmp_path, EventLog(tmp_path / "log.jsonl"), lambda stage: seconds)
        return [len(job.stages) for job in executor.submitted]

    assert sizes(100, slots=2, seconds=0.125) == [8] * 11 + [6, 3, 1, 1, 1]
    assert sizes(8, slots=4, seconds=0.01) == [2, 1, 1, 1, 1, 1, 1], "nobody is left without work"
    assert set(sizes(9, slots=2, seconds=2.0)) == {1}, "what is not cheap stays alone"


def test_stages_with_a_time_limit_are_not_joined(tmp_path: Path) -> None:
    executor = Pretended(slots=1)
    executor.join_s = 1.0
    graph = graph_of(dict.fromkeys("abc", ""), demand=Demand(timeout_s=60.0))
    drive(graph, executor, tmp_path, EventLog(tmp_path / "log.jsonl"), lambda stage: 0.01)
    assert [len(job.stages) for job in executor.submitted] == [1, 1, 1]


def test_out_of_gpu_memory_asks_for_a_whole_one_then_for_half_the_batch(tmp_path: Path) -> None:
    def run(halves: bool, enough: int) -> tuple[Result, list[tuple[float, int]]]:
        kind = fake_kind("kind", halves=halves)
        stage = fake_stage(kind=kind, numerics=CUDA, label="a", demand=Demand(gpus=0.25))
        executor = Pretended(lambda stage, nth: Ending.DONE if nth > enough else Ending.OUT_OF_MEMORY, gpus=2.0)
        result = driven({stage.ref: stage}, executor, tmp_path)
        return result, [(job.wants["gpus"], job.halvings) for job in executor.submitted]

    assert run(True, 2) == (Result(), [(0.25, 0), (1.0, 0), (1.0, 1)])
    result, tried = run(True, 9)
    assert (list(result.failures.values()), tried) == (["a broke"], [(0.25, 0), (1.0, 0), (1.0, 1)])
    result, tried = run(False, 9)
    assert (len(result.failures), tried) == (1, [(0.25, 0), (1.0, 0)]), "half the batch would be another training"


def test_a_stage_that_stopped_is_neither_failed_nor_begun_again(tmp_path: Path) -> None:
    graph = graph_of({"a": "", "b": "a"})
    executor = Pretended(lambda stage, nth: (os.kill(os.getpid(), signal.SIGTERM), Ending.STOPPED)[1])  # type: ignore[arg-type, return-value]
    result = driven(graph, executor, tmp_path)
    assert (result.interrupted, result.failures, executor.order) == (True, {}, ["a"])
    assert EventLog(tmp_path / "log.jsonl").is_stopping(), "workers are asked too"


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    def twice(stage: Stage, nth: int) -> Ending:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return Ending.DONE

    with pytest.raises(KeyboardInterrupt):
        driven(graph_of({"a": "", "b": ""}), Pretended(twice), tmp_path)


def test_what_may_have_killed_a_worker_takes_nobody_with_it_again(tmp_path: Path) -> None:
    class KilledByA(Pretended):
        def wait(self) -> list[Outcome]:
            job = self.jobs.pop()
            status: Ending = Ending.WORKER_DIED if any(stage.label == "a" for stage in job.stages) else Ending.DONE
            return [Outcome(stage.ref, status) for stage in job.stages]

    executor = KilledByA(slots=1)
    executor.join_s = 1.0
    graph = graph_of(dict.fromkeys("abc", ""))
    result = drive(graph, executor, tmp_path, EventLog(tmp_path / "log.jsonl"), lambda stage: 0.1)
    assert names(graph, result.failures) == {"a"}
    assert [len(job.stages) for job in executor.submitted] == [3, *[1] * (2 + MAX_RETRIES)]


def test_nodes_that_join_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.execution.queue.LOOK_S", 0.0)
    executor = Pretended(slots=1)
    done = executor.wait
    executor.wait = lambda: (setattr(executor, "slots", 3), done())[1]  # type: ignore[method-assign]
    driven(graph_of(dict.fromkeys("abcdefgh", "")), executor, tmp_path)
    assert executor.most_at_once == 4


def test_what_no_node_has_any_more_fails_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.execution.driver.STUCK_S", 0.3)
    graph = graph_of({"a": ""}, demand=Demand(gpus=1.0)) | graph_of({"b": ""})
    result = driven(graph, Pretended(gpus=0.0), tmp_path)
    assert {graph[ref].label: reason for ref, reason in result.failures.items()} == {
        "a": "no node had 1 thread, 1 GPU for 0.3 s"
    }


def test_a_long_chain_is_blocked_without_end_of_the_stack(tmp_path: Path) -> None:
    stages: list[Stage] = []
    for n in range(3000):
        needs = {"inputs": (stages[-1].ref,)} if stages else {}
        stages.append(fake_stage(n, needs, label=str(n)))
    result = driven({stage.ref: stage for stage in stages}, Pretended(lambda stage, nth: Ending.FAILED), tmp_path)
    assert len(result.blocked) == 2999


@IN_CHAOS
def test_ray_gives_the_same_table_as_serial(smoke: Finished, tmp_path: Path) -> None:
    """All rows; the pictures would be drawn by workers that import for that what draws."""
    by_ray = run_and_gather(load_suite("smoke", ["gallery=0"]), tmp_path / "store", Workers("ray", 2))
    assert by_ray.board.holes == 0
    assert results_of(by_ray) == results_of(smoke)


@IN_CHAOS
def test_ray_with_one_slot_does_too(tmp_path: Path) -> None:
    suite = load_suite("smoke", ONLY_CAM)
    alone, by_ray = (run_and_gather(suite, tmp_path / name, Workers(name, 1)) for name in ("serial", "ray"))
    assert results_of(by_ray) == results_of(alone)


class Fed:
    """Gives one batch of stages after the other, the next one whenever it is asked."""

    def __init__(self, graph: dict[Ref, Stage], *batches: str) -> None:
        by_name = {stage.label: stage for stage in graph.values()}
        self.batches = [{by_name[name].ref: by_name[name] for name in batch} for batch in batches]

    def more(self, result: Result) -> dict[Ref, Stage]:
        return self.batches.pop(0) if self.batches else {}


def test_stages_that_a_feed_adds_run_once_and_after_inputs_that_are_done_or_run(tmp_path: Path) -> None:
    graph = graph_of(DIAMOND)
    feed, executor = Fed(graph, "bc", "bd", "e"), Pretended()
    first = {ref: stage for ref, stage in graph.items() if stage.label == "a"}
    result = drive(first, executor, tmp_path, EventLog(tmp_path / "log.jsonl"), feed=feed)
    assert sorted(executor.order) == list("abcde")
    assert executor.order.index("d") > max(executor.order.index("b"), executor.order.index("c"))
    assert not result.failures
    assert feed.batches == []


def test_what_a_feed_adds_behind_a_failure_is_blocked_by_it(tmp_path: Path) -> None:
    graph = graph_of(DIAMOND)
    executor = Pretended(lambda stage, nth: Ending.FAILED if stage.label == "a" else Ending.DONE)
    first = {ref: stage for ref, stage in graph.items() if stage.label == "a"}
    feed = Fed(graph, "bce", "d")
    result = drive(first, executor, tmp_path, EventLog(tmp_path / "log.jsonl"), feed=feed)
    assert {graph[ref].label: graph[root].label for ref, root in result.blocked.items()} == dict.fromkeys("bcd", "a")
    assert sorted(executor.order) == ["a", "e"]
