"""In which order a run completes its table: setting by setting with one rng seed, then rng seed by rng seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.stages.graph import Graph, Stage
from harness.stages.rows import RowIdentity, RowPlace
from harness.store.layout import Ref

__all__ = ["Round", "round_of_stages", "rounds_of"]


@dataclass(frozen=True)
class Round:
    """Rows that make a table one step more complete, once they are there and those of the rounds before are."""

    name: str
    """How complete the table then is: `1 of 3 rng seeds, setting clean`."""
    rows: tuple[Ref, ...]
    """Those that this round adds, in the order of the plan."""


def rounds_of(rows: Iterable[Stage]) -> list[Round]:
    """The rounds of a table from its rows' stages, in plan order; the last one makes it whole.

    First one setting after the other with the first rng seed of each of their lines, then every setting's second rng
    seed, and so on. A line that has fewer rng seeds than others has none in the later rounds.
    """
    seeds: dict[tuple[str, str], list[int]] = {}
    members: dict[tuple[int, str], list[Ref]] = {}
    settings: dict[str, None] = {}
    for stage in rows:
        place = _place(stage)
        of_line = seeds.setdefault((place.recipe, place.setting), [])
        if place.rng_seed not in of_line:
            of_line.append(place.rng_seed)
        position = of_line.index(place.rng_seed)
        # Only the first rng seed goes setting by setting: the earlier there is something to look at, the better.
        part = ""
        if position == 0:
            part = place.setting
            settings[part] = None
        members.setdefault((position, part), []).append(stage.ref)
    most = max(map(len, seeds.values()), default=0)
    order = [(0, setting) for setting in settings]
    order += [(position, "") for position in range(1, most)]
    return [Round(_name(key, list(settings), most), tuple(members[key])) for key in order]


def round_of_stages(graph: Graph, rounds: Sequence[Round]) -> dict[Ref, int]:
    """For each stage that a row needs, the number of the first round that needs it, from 0 on; others are left out.

    So are those that the graph does not have: a run's graph may lack what was there before.
    """
    number_of: dict[Ref, int] = {}
    for number, each in enumerate(rounds):
        pending = list(each.rows)
        while pending:
            ref = pending.pop()
            if ref in graph and ref not in number_of:
                number_of[ref] = number
                pending.extend(graph[ref].needs())
    return number_of


def _place(stage: Stage) -> RowPlace:
    assert isinstance(stage.identity, RowIdentity)
    return stage.identity.row


def _name(key: tuple[int, str], settings: Sequence[str], most: int) -> str:
    """What is there with this round: how many rng seeds, and of which settings where not of all."""
    position, setting = key
    seeds = f"{position + 1} of {most} rng seeds"
    if most == 1:
        seeds = "1 rng seed"
    there = settings[: settings.index(setting) + 1] if position == 0 else settings
    if len(there) == len(settings):
        return seeds
    word = "setting"
    if len(there) > 1:
        word = "settings"
    return f"{seeds}, {word} {', '.join(there)}"
