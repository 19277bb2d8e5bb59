"""What suites say that stages need: amounts with units, shares of GPUs, and what is refused by name."""

import json
from dataclasses import asdict

import pytest

from harness.stages.kind import parsed
from harness.stages.planning import make_plan
from harness.suites.resources import Demand, most
from harness.suites.suite import load_suite
from settings.errors import UserError
from tests.harness.fakes import CUDA, fake_stage


def demand(text: str) -> Demand:
    return load_suite("smoke", [f"resources={{segment: {text}}}"]).demand_of("segment")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", Demand()),
        ("{gpu: 2, memory: 8 GiB}", Demand(2.0, 8 << 30)),
        ("{gpu: 0.33, timeout: 90 min}", Demand(1 / 3, timeout_s=5400.0)),
        ("{gpu: 0, memory: 1.5GB, timeout: 20}", Demand(0.0, 1_500_000_000, timeout_s=20.0)),
        ("{custom: {fast: 1, big: 0.5}}", Demand(custom=(("big", 0.5), ("fast", 1.0)))),
    ],
)
def test_amounts(text: str, expected: Demand) -> None:
    assert demand(text) == expected
    assert parsed(Demand, json.loads(json.dumps(asdict(expected)))) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{gpu: 0.4}", r"found .*; expected .*whole GPUs, or one k-th of one"),
        ("{gpu: 1.5}", r"found .*; expected .*whole GPUs"),
        ("{gpu: -1}", r"found .*; expected .*whole GPUs"),
        ("{memory: much}", r"found .*; expected .*a number and its unit \(B, .*TiB\), such as 8 GiB"),
        ("{timeout: 3 weeks}", r"found .*; expected .*a number and its unit \(s, min, h, d\), such as 90 min"),
        ("{timeout: true}", r"found .*; expected .*a number and its unit"),
        ("{custom: {GPU: 1}}", r"found .*; expected .*custom resources beside what has a key of its own, as 'GPU' has"),
        ("{custom: {fast: 0}}", r"found .*; expected .*amounts above 0"),
        ("{gpus: 1}", r"unknown .*'gpus'.*did you mean 'gpu'"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        demand(text)


def test_unknown_kinds_are_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown kind of stage 'segmenter_fits'.*did you mean 'segmenter_fit'"):
        make_plan(load_suite("smoke", ["resources={segmenter_fits: {gpu: 1}}"]))


def test_resources_are_in_no_key_and_all_stands_for_the_others() -> None:
    plain = make_plan(load_suite("smoke")).graph
    asked = make_plan(load_suite("smoke", ["resources={all: {timeout: 1 h}, segment: {memory: 1 GB}}"])).graph
    assert list(asked) == list(plain)
    assert {stage.demand for stage in asked.values() if stage.kind.name == "segment"} == {Demand(memory_bytes=10**9)}
    assert {stage.demand for stage in asked.values() if stage.kind.name != "segment"} == {Demand(timeout_s=3600.0)}


def test_a_gpu_for_all_is_one_for_what_computes() -> None:
    """Planning, counting and drawing need none; a kind that is named gets what is said of it."""
    asked = make_plan(load_suite("smoke", ["resources={all: {gpu: 0.5, memory: 1 GB}, weak_set: {gpu: 1}}"])).graph
    demands = {stage.kind.name: stage.demand for stage in asked.values()}
    assert demands["segmenter_fit"] == Demand(0.5, 10**9)
    assert demands["row"] == demands["score"] == Demand(memory_bytes=10**9)
    assert demands["weak_set"] == Demand(1.0)


def test_a_stage_wants_a_gpu_for_each_process_where_it_computes_on_one() -> None:
    on_gpu = fake_stage(numerics=CUDA, threads=2)
    assert on_gpu.wants() == {"threads": 2, "gpus": 1}
    team = fake_stage(numerics=CUDA, threads=2, processes=3)
    assert team.wants() == {"threads": 6, "gpus": 3}
    assert fake_stage(demand=Demand(gpus=0.5)).wants() == {"threads": 1, "gpus": 0.5}
    assert fake_stage(numerics=CUDA, demand=Demand(gpus=0.0)).wants() == {"threads": 1}
    asking = fake_stage(processes=2, demand=Demand(memory_bytes=5, custom=(("fast", 1.0),)))
    assert asking.wants() == {"threads": 2, "memory": 10, "fast": 2}, "each process asks"


def test_jobs_want_the_most_of_each() -> None:
    assert most([{"threads": 1, "gpus": 0.5}, {"threads": 3}]) == {"threads": 3, "gpus": 0.5}
