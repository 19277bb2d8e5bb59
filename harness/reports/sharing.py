"""What lines save by sharing stages: the cost of all together beside what each would cost in a store of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.execution.costs import Costs
from harness.reports.display import duration
from harness.stages.graph import missing_stages
from harness.stages.planning import Plan
from harness.store.layout import Ref
from harness.store.store import Store


@dataclass(frozen=True)
class Sharing:
    """Core-seconds of all stages that rows need, done or not."""

    together: float
    alone: float
    """The sum over lines (a recipe under a setting with an rng seed) of what each needs."""

    def to_text(self) -> str:
        """One line; empty where nothing is shared."""
        if self.alone <= self.together:
            return ""
        share = f"{100 * self.together / self.alone:.0f} %"
        return f"shared: all lines together {duration(self.together)}, each alone {duration(self.alone)} ({share})"


def sharing(plan: Plan, store: Store) -> Sharing:
    """From the plan's rows and what every stage behind them cost, where the store has it, or is estimated to cost."""
    rows: dict[tuple[str, ...], list[Ref]] = {}
    for ref in plan.rows:
        row = plan.graph[ref].identity["row"]
        rows.setdefault((row["recipe"], row["setting"], row["rng_seed"]), []).append(ref)
    costs = Costs(store)
    records = store.records(ref for ref in plan.graph if store.has(ref))
    seconds: dict[Ref, float] = {}
    for ref, stage in plan.graph.items():
        known = records.get(ref)
        a_process = costs.seconds(stage) if known is None else known.seconds
        seconds[ref] = stage.slots * a_process
    nothing = dict.fromkeys(plan.graph, False)

    def cost(targets: Sequence[Ref]) -> float:
        return sum(seconds[ref] for ref in missing_stages(plan.graph, targets, nothing))

    return Sharing(cost(plan.rows), sum(map(cost, rows.values())))
