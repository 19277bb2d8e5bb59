"""How often a stage is begun again, by how it ended."""

import pytest

from harness.execution.retries import MAX_RETRIES, Retries
from harness.stages.kind import Numerics
from harness.store.events import Ending
from harness.suites.resources import Demand
from tests.harness.fakes import fake_kind, fake_stage

CUDA = Numerics("cuda", "float32", "channels_last")
STAGE = fake_stage(kind=fake_kind("kind", halves=True), numerics=CUDA, label="a", demand=Demand(gpus=0.25))


@pytest.mark.parametrize("ending", [Ending.WORKER_DIED, Ending.TIMED_OUT])
def test_what_ended_without_a_word_is_begun_again_so_often(ending: Ending) -> None:
    retries = Retries()
    again = [retries.begins_again(STAGE, ending, STAGE.wants()) for _ in range(MAX_RETRIES + 1)]
    assert again == [True] * MAX_RETRIES + [False]
    assert retries.begins_again(fake_stage(1), ending, {}), "each stage has tries of its own"


def test_tries_of_both_kinds_count_together() -> None:
    retries = Retries()
    endings = [Ending.WORKER_DIED, Ending.TIMED_OUT] * MAX_RETRIES
    again = [retries.begins_again(STAGE, ending, {}) for ending in endings]
    assert again == [True] * MAX_RETRIES + [False] * MAX_RETRIES


@pytest.mark.parametrize("ending", [Ending.FAILED, Ending.STOPPED, Ending.INPUT_LOST, Ending.DONE])
def test_nothing_else_is(ending: Ending) -> None:
    assert not Retries().begins_again(STAGE, ending, STAGE.wants())


def test_too_little_gpu_memory_is_met_by_a_whole_one_then_by_half_the_batch() -> None:
    retries = Retries()
    seen = []
    while retries.begins_again(STAGE, Ending.OUT_OF_MEMORY, retries.wants(STAGE)):
        seen.append((retries.wants(STAGE)["gpus"], retries.halvings([STAGE])))
    assert seen == [(1.0, 0), (1.0, 1)]
