"""The loop that drives executors, on a pretended one; then the real ones, which must give one table."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.demand import Wants
from harness.events import EventLog
from harness.executors.base import Executor, Result, drive
from harness.gathering import Finished, run_and_gather
from harness.graph import Ref, Stage, missing_stages
from harness.suite import load_suite
from harness.worker import Job, Outcome, Status
from harness.workers import Workers
from tests.harness.conftest import results_of


class Pretended(Executor):
    """Ends jobs as `verdict` says, the last submitted first, and remembers what it was given."""

    join_s = 0.0

    def __init__(
        self, verdict: Callable[[Stage, int], Status] = lambda stage, nth: "done", slots: int = 2, **more: float
    ) -> None:
        self.slots, self.more = slots, more
        self.jobs: list[Job] = []
        self.submitted: list[Job] = []
        self.order: list[str] = []
        self.most_at_once = 0
        self._verdict = verdict

    def capacity(self) -> Wants:
        return {"threads": self.slots, **self.more}

    def submit(self, job: Job) -> None:
        self.jobs.append(job)
        self.submitted.append(job)
        self.most_at_once = max(self.most_at_once, sum(int(j.wants["threads"]) for j in self.jobs))

    def wait(self) -> list[Outcome]:
        if not self.jobs:
            return []
        job = self.jobs.pop()
        outcomes = []
        for stage in job.stages:
            self.order.append(stage.label)
            verdict = self._verdict(stage, self.order.count(stage.label))
            outcomes.append(Outcome(stage.ref, verdict, reason=f"{stage.label} broke"))
        return outcomes

    def close(self) -> None:
        pass


def graph_of(edges: dict[str, str], **more: object) -> dict[Ref, Stage]:
    """Stages by name in the order given; the value names the inputs, one letter each."""
    stages: dict[str, Stage] = {}
    for name, inputs in edges.items():
        needs = {"inputs": tuple(stages[other].ref for other in inputs)}
        stages[name] = Stage("kind", {"name": name}, needs, label=name, group="g", **more)
    return {stage.ref: stage for stage in stages.values()}


def driven(graph: dict[Ref, Stage], executor: Executor, folder: Path) -> Result:
    return drive(graph, executor, folder, EventLog(folder / "log.jsonl"))


def names(graph: dict[Ref, Stage], refs: object) -> set[str]:
    return {graph[ref].label for ref in refs}


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
    executor = Pretended(lambda stage, nth: "failed" if stage.label in bad else "done")
    result = driven(graph, executor, tmp_path_factory.mktemp("drive"))
    assert names(graph, result.blocked) == {name for name, ok in reached.items() if not ok}
    assert names(graph, result.failures) == {name for name in bad if reached[name]}
    assert sorted(executor.order) == sorted(name for name, ok in reached.items() if ok)


def test_a_blocked_stage_knows_the_root_of_it(tmp_path: Path) -> None:
    graph = graph_of({"a": "", "b": "a", "c": "b"})
    result = driven(graph, Pretended(lambda stage, nth: "failed"), tmp_path)
    assert {graph[ref].label: graph[root].label for ref, root in result.blocked.items()} == {"b": "a", "c": "a"}
    assert list(result.failures.values()) == ["a broke"]


def test_a_stage_whose_worker_died_is_begun_again_but_not_for_ever(tmp_path: Path) -> None:
    executor = Pretended(lambda stage, nth: "worker_died" if stage.label == "a" and nth < 3 else "done")
    assert not driven(graph_of(DIAMOND), executor, tmp_path).failures
    assert executor.order.count("a") == 3
    executor = Pretended(lambda stage, nth: "worker_died" if stage.label == "a" else "done")
    assert len(driven(graph_of(DIAMOND), executor, tmp_path).failures) == 1
    assert executor.order.count("a") == 4


def test_a_stage_that_somebody_else_holds_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.executors.base.BUSY_WAIT_S", 0.01)
    executor = Pretended(lambda stage, nth: "busy" if stage.label == "a" and nth < 4 else "done")
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


def test_stages_of_a_bundle_are_one_job(tmp_path: Path) -> None:
    executor = Pretended()
    submitted: list[int] = []
    take = executor.submit
    executor.submit = lambda job: (submitted.append(len(job.stages)), take(job))[1]  # type: ignore[method-assign]
    driven(graph_of(dict.fromkeys("abc", ""), bundle="one"), executor, tmp_path)
    assert submitted == [3]


def test_a_signal_lets_running_stages_finish_and_starts_none(tmp_path: Path) -> None:
    def interrupt(stage: Stage, nth: int) -> Status:
        os.kill(os.getpid(), signal.SIGINT)
        return "done"

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


def test_ray_gives_the_same_table_as_serial(smoke: Finished, tmp_path: Path) -> None:
    by_ray = run_and_gather(load_suite("smoke"), tmp_path / "store", Workers("ray", slots=2))
    assert by_ray.board.holes == 0
    assert results_of(by_ray) == results_of(smoke)
