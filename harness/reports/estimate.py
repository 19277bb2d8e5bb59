"""`seedbed plan`: what a suite would do and cost, before it does anything, and what its lines save by sharing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from harness.execution.costs import Costs
from harness.execution.running import missing_of
from harness.reports.progress import duration
from harness.stages.graph import Graph, Stage
from harness.stages.numerics import may_have_gpu
from harness.stages.planning import Plan, make_plan
from harness.stages.rows import RowIdentity
from harness.store.backends.urls import Location, absolute
from harness.store.layout import Ref
from harness.store.store import Store
from harness.suites.suite import Suite
from settings.errors import UserError

__all__ = ["Estimate", "GridCost", "GroupEstimate", "Sharing", "estimate", "grid_cost", "sharing"]


@dataclass(frozen=True)
class GroupEstimate:
    """Stages that are shown as one line; seconds (of one core) and gigabytes are those of the stages to do."""

    name: str
    stages: int
    to_do: int
    seconds: float
    gigabytes: float
    measured: bool = False
    """Whether this store has measured what a photo costs in this group; else the seconds are guessed."""

    @property
    def basis(self) -> str:
        """What its seconds rest on, in one word; empty where nothing is to do."""
        if not self.to_do:
            return ""
        if self.measured:
            return "measured"
        return "guessed"


@dataclass(frozen=True)
class Sharing:
    """Core-seconds of all stages that rows need, done or not: of all together, and as if each line ran alone."""

    together: float
    alone: float
    """The sum over lines (a recipe under a setting with an rng seed) of what each needs."""

    def to_text(self) -> str:
        """A sentence that compares the two, for below the table of groups; empty where nothing is shared."""
        if self.alone <= self.together:
            return ""
        share = f"{100 * self.together / self.alone:.0f} %"
        return (
            "sharing: lines (a recipe under a setting with one rng seed) have stages in common, which run once: "
            f"in an empty store the rows of all lines cost {duration(self.together)} of core time in one suite, "
            f"{share} of the {duration(self.alone)} that they would cost if each line were run by itself"
        )


@dataclass(frozen=True)
class GridCost:
    """Core-seconds of a grid's cells, done or not, as in an empty store."""

    of: str
    design: str
    combinations: int
    """Of all levels."""
    cells: int
    """Those that are run."""
    skipped: int
    together: float
    """Of all stages that its rows need, each once."""
    alone: float
    """As if each cell were run by itself, with all its settings and rng seeds."""
    bound: float
    """What no sharing between cells makes less: stages that one cell alone needs, and once what several need, as much
    of it as the cell with most of it does."""

    def to_text(self) -> str:
        """A sentence for below the table of groups."""
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        what = f"{self.design}; {self.combinations} combinations of levels{skipped}"
        share, bound = _percent(self.together, self.alone), _percent(self.bound, self.alone)
        return (
            f"grid of {self.of}: {self.cells} cells ({what}); in an empty store they cost {duration(self.together)} of "
            f"core time, {share} of the {duration(self.alone)} that they would cost if each cell were run by itself; "
            f"bound: {duration(self.bound)} ({bound}), what cells do not share"
        )


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / max(whole, 1e-9):.0f} %"


@dataclass(frozen=True)
class Estimate:
    """What is there, what is to do, and the cost of the latter on one core."""

    suite: str
    store: str
    groups: tuple[GroupEstimate, ...]
    sharing: Sharing
    grid: GridCost | None = None
    notes: tuple[str, ...] = ()
    """What is to be known of the settings."""

    @property
    def stages(self) -> int:
        """How many stages the suite has, done or not."""
        return sum(group.stages for group in self.groups)

    @property
    def to_do(self) -> int:
        """How many stages a run on this store would run."""
        return sum(group.to_do for group in self.groups)

    @property
    def seconds(self) -> float:
        """Estimated core-seconds of all stages that a run on this store would run."""
        return sum(group.seconds for group in self.groups)

    @property
    def measured_share(self) -> float:
        """How much of the estimated seconds rests on what the store has measured, 0..1; 0 where nothing is to do."""
        measured = sum(group.seconds for group in self.groups if group.measured)
        return measured / max(self.seconds, 1e-9)

    @property
    def gigabytes(self) -> float:
        """How many gigabytes a run would write into this store, by estimate."""
        return sum(group.gigabytes for group in self.groups)

    def to_json(self) -> dict[str, object]:
        """The estimate in plain types, rounded, as `seedbed plan --json` prints it."""
        return {
            "suite": self.suite,
            "store": self.store,
            "stages": self.stages,
            "to_do": self.to_do,
            "seconds": round(self.seconds, 1),
            "measured_share": round(self.measured_share, 3),
            "gigabytes": round(self.gigabytes, 3),
            "together_seconds": round(self.sharing.together, 1),
            "alone_seconds": round(self.sharing.alone, 1),
            "grid": vars(self.grid) if self.grid else None,
            "groups": [{**vars(group), "done": group.stages - group.to_do} for group in self.groups],
            "notes": list(self.notes),
        }

    def to_text(self) -> str:
        """A table of groups and the sum, what the time told rests on, what is saved by sharing, and the notes."""
        width = max(len(group.name) for group in self.groups)
        lines = [f"{'stages':{width}}  {'all':>6} {'to do':>6} {'core time':>12} {'cost':>8} {'GB':>7}"]
        for group in self.groups:
            time = "done"
            if group.to_do:
                time = duration(group.seconds)
            counts = f"{group.name:{width}}  {group.stages:6} {group.to_do:6}"
            lines.append(f"{counts} {time:>12} {group.basis:>8} {group.gigabytes:7.2f}")
        time = duration(self.seconds)
        lines.append(f"{'total':{width}}  {self.stages:6} {self.to_do:6} {time:>12} {'':8} {self.gigabytes:7.2f}")
        grid = self.grid.to_text() if self.grid else ""
        return "\n".join(filter(None, [*lines, self._told_basis(), self.sharing.to_text(), grid, *self.notes]))

    def _told_basis(self) -> str:
        """One line that says how much of the time is measured; empty where nothing is to do."""
        if not self.to_do:
            return ""
        basis = f"{100 * self.measured_share:.0f} % by costs that this store measured, the rest guessed"
        return f"core time: of all that is to do, as if one core did it; {basis}"


def estimate(suite: Suite, location: Location, address: str | None = None) -> Estimate:
    """Plan a suite against a store, which need not exist; nothing is written. Raises UserError as a run would.

    `address`: of the Ray cluster that is to run it, whose nodes may have GPUs that this machine has not.
    """
    store = Store.at(absolute(location))
    plan = make_plan(suite)
    try:
        store.exists()  # asks a server, and raises where none answers
        missing, costs = missing_of(plan, store), Costs(store)
    except OSError as error:
        raise store.unusable(error) from None
    # A cluster's nodes have GPUs of their own: a run asks it when it is there.
    if address is None:
        _check_device(missing.values())
    members: dict[str, list[Stage]] = {}
    for stage in plan.graph.values():
        members.setdefault(stage.group, []).append(stage)
    groups: list[GroupEstimate] = []
    for name, stages in members.items():
        to_do = [stage for stage in stages if stage.ref in missing]
        seconds = sum(costs.seconds(stage) * stage.slots for stage in to_do)
        gigabytes = sum(stage.kind.bytes(stage) for stage in to_do) / 1e9
        # Costs are kept by group: any of its stages tells for all.
        measured = costs.is_measured(stages[0])
        found = GroupEstimate(name, len(stages), len(to_do), round(seconds, 2), round(gigabytes, 4), measured)
        groups.append(found)
    return Estimate(suite.name, store.name, tuple(groups), sharing(plan, store), grid_cost(plan, store), plan.notes)


def _check_device(missing: Iterable[Stage]) -> None:
    """Raise UserError where stages want a GPU and none is here; a run asks torch, which takes seconds to import."""
    if any(stage.device == "cuda" for stage in missing) and not may_have_gpu():
        mend = "for a cluster's GPUs give its --address; see seedbed doctor"
        raise UserError("compute.device", "cuda, and this machine has no GPU", "cpu, or a GPU", mend)


def sharing(plan: Plan, store: Store) -> Sharing:
    """From the plan's rows and what every stage behind them cost, where the store has it, or is estimated to cost."""
    lines: dict[tuple[str, str, int], list[Ref]] = {}
    for ref in plan.rows:
        identity = plan.graph[ref].identity
        assert isinstance(identity, RowIdentity)
        line = (identity.row.recipe, identity.row.setting, identity.row.rng_seed)
        lines.setdefault(line, []).append(ref)
    users = _users(plan.graph, lines.values())
    together = alone = 0.0
    for ref, seconds in _seconds(plan, store).items():
        together += seconds * (users[ref] > 0)
        alone += seconds * users[ref].bit_count()
    return Sharing(together, alone)


def grid_cost(plan: Plan, store: Store) -> GridCost | None:
    """What the cells of a suite's grid cost, seconds as for `sharing`; None without a grid."""
    grid = plan.suite.grid
    if grid is None:
        return None
    cells: dict[str, list[Ref]] = {cell.name: [] for cell in grid.cells}
    for ref in plan.rows:
        identity = plan.graph[ref].identity
        assert isinstance(identity, RowIdentity)
        if identity.row.recipe in cells:
            cells[identity.row.recipe].append(ref)
    users = _users(plan.graph, cells.values())
    together = alone = of_one = 0.0
    shared = [0.0] * len(cells)
    for ref, seconds in _seconds(plan, store).items():
        count = users[ref].bit_count()
        together += seconds * (count > 0)
        alone += seconds * count
        of_one += seconds * (count == 1)
        if count > 1:
            for number in range(len(cells)):
                shared[number] += seconds * (users[ref] >> number & 1)
    run = sum(map(bool, cells.values()))
    combinations = prod(map(len, grid.factors.values()))
    skipped = len(cells) - run
    return GridCost(grid.of, grid.design, combinations, run, skipped, together, alone, of_one + max(shared))


def _users(graph: Graph, lines: Iterable[Iterable[Ref]]) -> dict[Ref, int]:
    """Which of these lines need each stage of a graph, as the bits of a whole number; a line is given by its rows."""
    # So each stage is looked at once, and not once a line.
    lines_of = dict.fromkeys(graph, 0)
    for number, rows in enumerate(lines):
        for ref in rows:
            lines_of[ref] |= 1 << number
    for stage in reversed(list(graph.values())):
        for need in stage.needs():
            lines_of[need] |= lines_of[stage.ref]
    return lines_of


def _seconds(plan: Plan, store: Store) -> dict[Ref, float]:
    """Core-seconds of every stage of a plan: as measured for those that the store has, estimated for all others."""
    # By the medians of groups alone, a suite that had cost 37 % of its lines was told to cost 48 %.
    costs = Costs(store)
    records = store.records(ref for ref in plan.graph if store.has(ref))
    seconds: dict[Ref, float] = {}
    for ref, stage in plan.graph.items():
        if ref in records:
            seconds[ref] = stage.slots * records[ref].seconds
        else:
            seconds[ref] = stage.slots * costs.seconds(stage)
    return seconds
