"""How long a run will take yet: what stages cost is learned while it goes on, and what is left is laid out on slots."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from harness.execution.queue import NO_ROUNDS, ReadyQueue, remaining_way
from harness.stages.graph import Stage
from harness.store.layout import Ref

__all__ = ["ENDING_S", "Advance", "Learned", "makespan", "remaining_s"]

SURE_S = 5.0
"""After so many measured seconds a kind of stage has half a say in what kinds cost that were not measured yet."""
TELLING_SHARE = 0.05
"""From which share of its steps on a running stage tells what it will take; its first steps are slow."""
SURE_SHARE = 0.2
"""From which share on its own rate is all that counts for a running stage, and counts as a whole measured stage."""
GUESSED = 0.35
"""How many measured kinds the guesses themselves count as, for kinds that were not measured: machines differ more than
guesses of single kinds are wrong."""
ABOVE = 0.2
"""How many measured stages the wider class counts as, for a class of which some were measured."""
ENDING_S = 7.0
"""From the last stage to the end of a run: workers end, rows are gathered, what draws is imported, figures are drawn.
Of eight runs of 69 to 1,473 stages it took 5.4 to 8.5 s, whatever their size."""
OVERDUE = 1.1
"""A stage that runs longer than it should and does not tell how far it is, is taken to need this much of its time."""


@dataclass
class Advance:
    """How far a running stage is: when it began, and the first and the last that it told of its progress."""

    since: float
    first: tuple[float, float] | None = None
    """When it was told, in seconds since the epoch, and the share that was done; 0..1."""
    last: tuple[float, float] | None = None

    def tell(self, t: float, share: float) -> None:
        """Take what the stage tells at time `t`; one that begins to count anew begins to be measured anew."""
        if self.first is None or (self.last is not None and share < self.last[1]):
            self.first = (t, share)
        self.last = (t, share)

    def total_s(self) -> float | None:
        """The seconds that the stage will have taken, at the rate of its steps so far; None where it is too early."""
        if self.first is None or self.last is None:
            return None
        (t_first, share_first), (t_last, share_last) = self.first, self.last
        # What was done before the first telling, loading and preparing, does not come again.
        if share_last - share_first < TELLING_SHARE or t_last <= t_first:
            return None
        a_share = (t_last - t_first) / (share_last - share_first)
        return t_last - self.since + a_share * (1.0 - share_last)

    @property
    def weight(self) -> float:
        """How much `total_s` is to be trusted, 0..1."""
        if self.last is None:
            return 0.0
        return min(1.0, self.last[1] / SURE_SHARE)


class _Sum(NamedTuple):
    """Seconds of stages of one class, as planned and as measured."""

    planned: float = 0.0
    measured: float = 0.0
    stages: float = 0.0

    def plus(self, planned: float, measured: float, weight: float) -> _Sum:
        return _Sum(self.planned + weight * planned, self.measured + weight * measured, self.stages + weight)


class Learned:
    """What stages cost by now: the planned seconds, times what those measured so far took of what was planned.

    A stage is judged by its group (a recipe's step), as far as that is measured; else by what its component, then its
    kind, then all kinds took. Between these it is a matter of weight: what stands above counts as a part of a stage.
    """

    def __init__(self, planned: Callable[[Stage], float]) -> None:
        self._planned = planned
        self._sums: defaultdict[Hashable, _Sum] = defaultdict(_Sum)
        self._ratios: dict[Hashable, float] = {}

    def copy(self) -> Learned:
        """The same knowledge, to which something may be added that is not known for good."""
        other = Learned(self._planned)
        other._sums |= self._sums
        return other

    def measure(self, stage: Stage, seconds: float, weight: float = 1.0) -> None:
        """Take what a stage took; or what a running one will take, with a weight below 1 where that is not sure."""
        self._ratios.clear()
        planned = self._planned(stage)
        for name in _classes(stage):
            self._sums[name] = self._sums[name].plus(planned, seconds, weight)

    def seconds(self, stage: Stage) -> float:
        """What a stage will take, with what is known by now."""
        planned, ratio = self._planned(stage), self._of_all()
        for name in _classes(stage):
            ratio = self._ratio(name, ratio)
        return planned * ratio

    def _ratio(self, name: Hashable, above: float) -> float:
        """What stages of a class take of what is planned; `above` is that of the wider class."""
        if name not in self._sums:
            return above
        if name not in self._ratios:
            planned, measured, stages = self._sums[name]
            some = ABOVE * planned / stages
            self._ratios[name] = (measured + above * some) / max(planned + some, 1e-9)
        return self._ratios[name]

    def _of_all(self) -> float:
        """What kinds take that are not measured: the mean, in logarithms, of those that are, and of 1."""
        # By kinds, not by seconds: each kind's guess is wrong in its own way, and what they share is the machine.
        if None not in self._ratios:
            logs, weights = 0.0, GUESSED
            for name, (planned, measured, _) in self._sums.items():
                if isinstance(name, str) and planned > 0 and measured > 0:
                    weight = measured / (measured + SURE_S)
                    logs += weight * math.log(measured / planned)
                    weights += weight
            self._ratios[None] = math.exp(logs / weights)
        return self._ratios[None]


def _classes(stage: Stage) -> Iterable[Hashable]:
    """The classes that a stage is judged by, from the widest to the narrowest; a kind's is its plain name."""
    kind = stage.kind.name
    yield kind
    component = getattr(stage.identity, "component", None)
    if component is not None:
        yield (kind, component.name)
    yield (kind, "group", stage.group)


def remaining_s(advance: Advance, expected_s: float, now: float) -> float:
    """The seconds that a running stage needs yet; before it tells, it is expected to take `expected_s` in all."""
    spent = max(now - advance.since, 0.0)
    total = advance.total_s()
    if total is None:
        total = max(expected_s, spent * OVERDUE)
    else:
        total = advance.weight * total + (1.0 - advance.weight) * max(expected_s, spent)
    return max(total - spent, 0.0)


def makespan(
    waiting: Mapping[Ref, Stage],
    running: Mapping[Ref, tuple[float, int]],
    slots: int,
    planned: Callable[[Stage], float],
    expected: Callable[[Stage], float],
    rounds: Mapping[Ref, int] = NO_ROUNDS,
) -> float:
    """Seconds until all is done, when ready stages are taken as the driver takes them: in the order of what is planned.

    `waiting` stages take what is `expected` of them; what they need and what is not among these is there. `running` are
    the seconds that each running stage needs yet, and how many slots it holds.
    """
    dependants: dict[Ref, list[Ref]] = {ref: [] for ref in (*running, *waiting)}
    lacking: dict[Ref, int] = {}
    for ref, stage in waiting.items():
        needs = {need for need in stage.needs() if need in dependants}
        lacking[ref] = len(needs)
        for need in needs:
            dependants[need].append(ref)
    way = remaining_way(waiting, dependants, planned)
    queue = ReadyQueue(planned, lambda stage: {"threads": min(stage.slots, slots)}, 0.0, rounds)
    queue.extend(waiting, way)
    for ref, needs_left in lacking.items():
        if not needs_left:
            queue.push(ref)
    free, now, count = slots, 0.0, itertools.count()
    ends: list[tuple[float, int, int, tuple[Ref, ...]]] = []
    for ref, (left, wide) in running.items():
        free -= wide
        heapq.heappush(ends, (left, next(count), wide, (ref,)))
    while ends or queue:
        # With nothing running there is room, whatever was counted.
        if not ends:
            free = slots
        while job := queue.take({"threads": free}, slots):
            wide = min(max(stage.slots for stage in job), slots)
            free -= wide
            end = now + sum(map(expected, job))
            heapq.heappush(ends, (end, next(count), wide, tuple(stage.ref for stage in job)))
        now, _, wide, done = heapq.heappop(ends)
        free += wide
        for ref in done:
            for dependant in dependants[ref]:
                lacking[dependant] -= 1
                if not lacking[dependant]:
                    queue.push(dependant)
    return now
