"""Why something that a run was for is not there."""

from __future__ import annotations

from harness.execution.running import RunOf
from harness.stages.graph import Stage
from harness.stages.planning import Goal


def reason_of(run: RunOf[Goal], stage: Stage) -> str:
    """Why the stage made nothing: its own failure, or that of the one before it, by name."""
    root = run.result.blocked.get(stage.ref, stage.ref)
    lost = run.result.lost.get(root)
    unfinished = f"its input {lost} was lost" if lost else "not run: the run was stopped before it"
    where = "" if root == stage.ref else f"{run.plan.graph[root].label}: "
    return f"{where}{run.result.failures.get(root, unfinished)}"
