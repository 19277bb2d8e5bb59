"""An executor that runs nothing, and small graphs to drive through it."""

from collections.abc import Callable

from harness.execution.executor import Executor
from harness.execution.job import Job, Outcome
from harness.stages.graph import Stage
from harness.store.events import Ending
from harness.store.layout import Ref
from harness.suites.resources import Wants
from tests.harness.fakes import fake_stage


class Pretended(Executor):
    """Ends jobs as `verdict` says, the last submitted first, and remembers what it was given."""

    join_s = 0.0

    def __init__(
        self, verdict: Callable[[Stage, int], Ending] = lambda stage, nth: Ending.DONE, slots: int = 2, **more: float
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
        stages[name] = fake_stage(name, needs, label=name, group="g", **more)
    return {stage.ref: stage for stage in stages.values()}
