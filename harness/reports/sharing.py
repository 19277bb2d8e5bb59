"""What lines save by sharing stages: the cost of all together beside what each would cost in a store of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.execution.costs import Costs
from harness.reports.display import duration
from harness.stages.graph import missing_stages
from harness.stages.planning import Plan
from harness.stages.rows import RowIdentity
from harness.store.layout import Ref
from harness.store.store import Lost, Store


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
    rows: dict[tuple[str, str, int], list[Ref]] = {}
    for ref in plan.rows:
        identity = plan.graph[ref].identity
        assert isinstance(identity, RowIdentity)
        line = (identity.row.recipe, identity.row.setting, identity.row.rng_seed)
        rows.setdefault(line, []).append(ref)
    costs = Costs(store)
    store.prepare(done := {ref for ref in plan.graph if store.has(*ref)})
    seconds = {
        ref: stage.slots * (_measured(store, ref) if ref in done else costs.seconds(stage))
        for ref, stage in plan.graph.items()
    }
    nothing = dict.fromkeys(plan.graph, False)

    def cost(targets: Sequence[Ref]) -> float:
        return sum(seconds[ref] for ref in missing_stages(plan.graph, targets, nothing))

    return Sharing(cost(plan.rows), sum(map(cost, rows.values())))


def _measured(store: Store, ref: Ref) -> float:
    try:
        return float(store.record(*ref)["seconds"])
    except (Lost, LookupError, TypeError, ValueError):  # told by whoever opens it
        return 0.0
