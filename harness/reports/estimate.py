"""`seedbed plan`: what a suite would do, before it does anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.execution.costs import Costs
from harness.execution.running import missing_of
from harness.reports.display import duration
from harness.reports.sharing import Sharing, sharing
from harness.stages.planning import make_plan
from harness.store.backends.urls import Location, absolute
from harness.store.store import Store
from harness.suites.suite import Suite, load_suite


@dataclass(frozen=True)
class GroupEstimate:
    """Stages that are shown as one line."""

    name: str
    stages: int
    to_do: int
    seconds: float
    gigabytes: float


@dataclass(frozen=True)
class Estimate:
    """What is there, what is to do, and the cost of the latter on one core."""

    suite: str
    store: str
    groups: tuple[GroupEstimate, ...]
    sharing: Sharing
    notes: tuple[str, ...] = ()
    """What is to be known of the settings."""

    @property
    def seconds(self) -> float:
        """Core-seconds to do."""
        return sum(group.seconds for group in self.groups)

    @property
    def gigabytes(self) -> float:
        """To be written."""
        return sum(group.gigabytes for group in self.groups)

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        total = {"seconds": round(self.seconds, 1), "gigabytes": round(self.gigabytes, 3)}
        counts = {"stages": sum(g.stages for g in self.groups), "to_do": sum(g.to_do for g in self.groups)}
        groups = [{**vars(group), "done": group.stages - group.to_do} for group in self.groups]
        return {
            "suite": self.suite,
            "store": self.store,
            **counts,
            **total,
            "together_seconds": round(self.sharing.together, 1),
            "alone_seconds": round(self.sharing.alone, 1),
            "groups": groups,
            "notes": list(self.notes),
        }

    def to_text(self) -> str:
        """A table of groups and the sum."""
        width = max(len(group.name) for group in self.groups)
        lines = [f"{'stages':{width}}  {'all':>6} {'to do':>6} {'core time':>12} {'GB':>7}"]
        for group in self.groups:
            time = duration(group.seconds) if group.to_do else "done"
            lines.append(f"{group.name:{width}}  {group.stages:6} {group.to_do:6} {time:>12} {group.gigabytes:7.2f}")
        to_do = sum(group.to_do for group in self.groups)
        all_ = sum(group.stages for group in self.groups)
        lines.append(f"{'total':{width}}  {all_:6} {to_do:6} {duration(self.seconds):>12} {self.gigabytes:7.2f}")
        return "\n".join(filter(None, [*lines, self.sharing.to_text(), *self.notes]))


def estimate(suite_name: str, overrides: Sequence[str], location: Location) -> Estimate:
    """Plan a suite against a store (which need not exist); raises UserError as a run would."""
    return estimate_suite(load_suite(suite_name, overrides), location)


def estimate_suite(suite: Suite, location: Location) -> Estimate:
    """The same for a suite that is already read."""
    store = Store.at(absolute(location))
    plan = make_plan(suite)
    try:
        missing, costs = missing_of(plan, store), Costs(store)
    except OSError as error:
        raise store.unusable(error) from None
    groups: dict[str, list[float]] = {}
    for ref, stage in plan.graph.items():
        sums = groups.setdefault(stage.group, [0, 0, 0.0, 0.0])
        sums[0] += 1
        if ref in missing:
            sums[1] += 1
            sums[2] += costs.seconds(stage) * stage.slots
            sums[3] += costs.bytes(stage) / 1e9
    estimates = (GroupEstimate(n, int(s[0]), int(s[1]), round(s[2], 2), round(s[3], 4)) for n, s in groups.items())
    return Estimate(suite.name, store.name, tuple(estimates), sharing(plan, store), plan.notes)
