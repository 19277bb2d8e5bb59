"""The stages that could run now, the room that is free, and which of the stages go into it next, as one job."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from harness.stages.graph import Stage
from harness.store.layout import Ref
from harness.suites.resources import Wants

__all__ = ["JOIN_S", "NO_ROUNDS", "ReadyQueue", "Room", "remaining_way"]

JOIN_S = 1.0
"""Cheap stages are joined into a job of about this length: each then costs its driver little."""
LOOK_S = 5.0
"""How long the capacity is taken to be what it was when last asked for: nodes come and go."""
WINDOW = 8
"""For each so many slots one more job is handed out than they hold; it waits at the executor instead of the queue."""
NO_ROUNDS: Mapping[Ref, int] = MappingProxyType({})
"""Of a graph whose stages belong to no table."""
EPSILON = 1e-6
"""Thirds of a GPU add up to one but for rounding."""


def remaining_way(
    stages: Mapping[Ref, Stage], dependants: Mapping[Ref, Iterable[Ref]], seconds: Callable[[Stage], float]
) -> dict[Ref, float]:
    """For each stage the seconds of the longest chain from it to the end; `stages` come after their inputs."""
    way: dict[Ref, float] = {}
    for ref in reversed(list(stages)):
        following = [way[dependant] for dependant in dependants[ref]]
        way[ref] = seconds(stages[ref]) + max(following, default=0.0)
    return way


class Room:
    """How much is free of what jobs hold: threads, GPUs, memory in bytes, custom resources by name."""

    def __init__(self, capacity: Callable[[], Wants]) -> None:
        self._ask = capacity
        self._capacity = self._asked()
        self._looked = time.monotonic()
        self.free = dict(self._capacity)

    def take(self, wants: Wants) -> None:
        """Count as taken what a job holds from now on."""
        for name, value in wants.items():
            self.free[name] -= value

    def give_back(self, wants: Wants) -> None:
        """Count as free again what a job held that has ended."""
        for name, value in wants.items():
            self.free[name] += value

    def look_around(self) -> None:
        """Take notice of nodes that came or went; what jobs hold stays taken."""
        if time.monotonic() - self._looked < LOOK_S:
            return
        before, self._capacity = self._capacity, self._asked()
        for name in {*before, *self._capacity}:
            change = self._capacity.get(name, 0.0) - before.get(name, 0.0)
            # It may fall below nothing when a node goes whose jobs have not been told dead yet.
            self.free[name] = self.free.get(name, 0.0) + change
        self._looked = time.monotonic()

    def _asked(self) -> dict[str, float]:
        capacity = dict(self._ask())
        # A few jobs more than the slots hold hide the way to a worker and back. Only a few: Ray has no priorities, and
        # a stage with a longer way that becomes ready meanwhile comes after them.
        capacity["threads"] += max(1, int(capacity["threads"]) // WINDOW)
        return capacity


def _fits(wants: Wants, room: Mapping[str, float]) -> bool:
    return all(room.get(name, 0.0) >= value - EPSILON for name, value in wants.items())


class _Place(NamedTuple):
    """Where a ready stage stands among the others: the least goes first."""

    round: int
    minus_way: float
    """Minus the seconds of its way."""
    order: int
    """Its place in the graph."""
    ref: Ref


@dataclass
class _Line:
    """Ready stages that want exactly the same, in two orders. Stages that were dropped stay until they come up."""

    wants: Wants
    by_way: list[_Place] = field(default_factory=list)
    """A heap: the longest way first."""
    by_round: list[_Place] = field(default_factory=list)
    """A heap: the earliest round first, and within it the longest way."""
    seconds: float = 0.0
    """All that wait in this line together."""


class ReadyQueue:
    """Takes ready stages and gives jobs: the earliest round first, bundles whole, and cheap stages joined.

    Within a round the longest way goes first; and so it does across rounds as soon as that way would take as long as
    all that is left takes on all slots: waiting any longer would make the run longer.

    What does not fit is passed over only by stages that want nothing of what it lacks; so a wide stage is not
    kept waiting for ever by narrow ones, and a busy GPU does not keep the cores idle.
    """

    def __init__(
        self,
        seconds: Callable[[Stage], float],
        wants: Callable[[Stage], Wants],
        join_s: float = JOIN_S,
        rounds: Mapping[Ref, int] = NO_ROUNDS,
    ) -> None:
        self._stages: dict[Ref, Stage] = {}
        self._way: dict[Ref, float] = {}
        self._seconds, self._wants, self._join_s = seconds, wants, join_s
        self._rounds = rounds
        self._last_round = max(rounds.values(), default=0) + 1
        """That of the stages which no table needs: pictures, measures on dev."""
        self._left = 0.0
        """Core-seconds of all that was not taken yet, or is to be taken again, whether it is ready or not."""
        self._taken: set[Ref] = set()
        self._order: dict[Ref, int] = {}
        self._lines: dict[tuple[tuple[str, float], ...], _Line] = {}
        self._line_of: dict[Ref, _Line] = {}
        self._bundles: dict[str, set[Ref]] = {}
        self._suspects: set[Ref] = set()

    def __len__(self) -> int:
        return len(self._line_of)

    def __iter__(self) -> Iterator[Ref]:
        return iter(self._line_of)

    def extend(self, stages: Mapping[Ref, Stage], way: Mapping[Ref, float]) -> None:
        """Know of further stages, which may be pushed from now on, and of the seconds of their ways to the end."""
        self._stages.update(stages)
        self._way.update(way)
        for ref, stage in stages.items():
            self._order[ref] = len(self._order)
            self._left += self._seconds(stage) * stage.slots

    def push(self, ref: Ref, suspect: bool = False) -> None:
        """Queue a stage that may run now; a suspect, which may have killed its worker, takes nobody with it again."""
        if suspect:
            self._suspects.add(ref)
        stage = self._stages[ref]
        if ref in self._taken:
            self._taken.discard(ref)
            self._left += self._seconds(stage) * stage.slots
        wants = self._wants(stage)
        line = self._lines.setdefault(tuple(sorted(wants.items())), _Line(wants))
        way, order = self._way[ref], self._order[ref]
        heapq.heappush(line.by_way, _Place(0, -way, order, ref))
        heapq.heappush(line.by_round, _Place(self._rounds.get(ref, self._last_round), -way, order, ref))
        line.seconds += self._seconds(stage)
        self._line_of[ref] = line
        if stage.bundle and not suspect:
            self._bundles.setdefault(stage.bundle, set()).add(ref)

    def drop(self, ref: Ref) -> None:
        """Take a stage out of the queue, to be run or to be given up."""
        # It stays in its line's heaps, whose middle nothing can be taken from: `_first_of` passes over it.
        line, stage = self._line_of.pop(ref), self._stages[ref]
        line.seconds -= self._seconds(stage)
        self._left -= self._seconds(stage) * stage.slots
        self._taken.add(ref)
        self._bundles.get(stage.bundle, set()).discard(ref)

    def take(self, room: Mapping[str, float], slots: int) -> tuple[Stage, ...]:
        """Take out the next job's stages; none where nothing that waits fits into the room."""
        # What has a longer way than this ends the run, whatever is done meanwhile.
        critical_s = self._left / max(slots, 1)
        line = self._next_line(room, critical_s)
        if line is None:
            return ()
        # Whoever joins more than a slot's share leaves other slots without work.
        share = min(self._join_s, line.seconds / max(slots, 1))
        taken = self._first(line, critical_s)
        spent = sum(map(self._seconds, taken))
        while not self._is_alone(taken[0]) and (following := self._peek(line, critical_s)) is not None:
            cost = self._seconds(following)
            if spent + cost > share or self._is_alone(following):
                break
            mates = self._first(line, critical_s)
            taken += mates
            spent += sum(map(self._seconds, mates))
        return taken

    def _next_line(self, room: Mapping[str, float], critical_s: float) -> _Line | None:
        """The line whose next stage goes first, among those that fit into the room."""
        left = dict(room)
        first = [(place, line) for line in self._lines.values() if (place := self._place(line, critical_s))]
        # One look at each line's next stage: stages that want the same fit together or not at all.
        for _, line in sorted(first, key=lambda entry: entry[0]):
            if _fits(line.wants, left):
                return line
            # What this line lacks is kept for it: who comes after may not have any of it.
            for name, value in line.wants.items():
                if left.get(name, 0.0) < value - EPSILON:
                    left[name] = 0.0
        return None

    def _place(self, line: _Line, critical_s: float) -> _Place | None:
        """The next stage of a line, by its way where that is critical, else by its round; None where none is left."""
        longest = self._first_of(line.by_way, line)
        if longest is not None and longest.minus_way <= -critical_s:
            # Before all rounds, which count from 0 on.
            return longest._replace(round=-1)
        return self._first_of(line.by_round, line)

    def _first_of(self, heap: list[_Place], line: _Line) -> _Place | None:
        """The first of a line's heap that still waits; forgets those before it, which were dropped."""
        while heap:
            if self._line_of.get(heap[0].ref) is line:
                return heap[0]
            heapq.heappop(heap)
        return None

    def _peek(self, line: _Line, critical_s: float) -> Stage | None:
        """The next stage of a line, or None where it has none left."""
        place = self._place(line, critical_s)
        if place is None:
            return None
        return self._stages[place.ref]

    def _first(self, line: _Line, critical_s: float) -> tuple[Stage, ...]:
        """Take the next stage out, with those of its bundle that are ready too."""
        first = self._peek(line, critical_s)
        assert first is not None
        refs = {first.ref}
        if first.bundle and first.ref not in self._suspects:
            refs = self._bundles[first.bundle]
        mates = [self._stages[ref] for ref in refs if self._line_of[ref] is line]
        # Sets have no order: without one of its own, the log of a run would differ from that of its repetition.
        mates.sort(key=lambda mate: mate.label)
        for mate in mates:
            self.drop(mate.ref)
        return tuple(mates)

    def _is_alone(self, stage: Stage) -> bool:
        """Whether a stage is never joined: its time is limited, it is a team of processes, or a suspect."""
        return bool(stage.demand.timeout_s) or stage.processes > 1 or stage.ref in self._suspects
