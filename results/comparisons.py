"""What a board allows to be said: an interval of every line, the planned comparisons, places, and the resolution."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

from results.counted import ImageSums, joined_sums
from results.lines import Column, Line
from results.rows import OptionSet, Row
from results.statistics import (
    Difference,
    Interval,
    PixelSums,
    Sample,
    Standing,
    corrected,
    difference,
    interval,
    ranking,
    samples,
)

__all__ = ["SEARCHED", "Comparison", "CountsOf", "Verdicts", "sums_of_line", "verdicts"]

YARDSTICK, PLAIN = "cam", "clean"
"""The recipe that others are held against, and the setting that others are."""
SEARCHED = "-searched"
"""How the name of a recipe ends whose options a search has found: those of `a-searched`, in place of those of `a`."""
CountsOf: TypeAlias = Callable[[Row], ImageSums | None]
"""What a row was scored from, image by image; None where that is not kept."""


@dataclass(frozen=True)
class Comparison:
    """A line held against another, as it was planned before anything was run; both by their place among the lines."""

    line: int
    other: int
    difference: Difference
    """Over the rng seeds that both have; p and verdict hold for all planned comparisons of the board (Holm)."""
    is_yardstick: bool
    """Whether the other is what every recipe of its setting is held against."""


@dataclass(frozen=True)
class Verdicts:
    """About one scored stage of a board's lines, by their place; a line without counts is nowhere."""

    column: Column
    intervals: Mapping[int, Interval]
    standings: Mapping[int, Standing]
    """Of the lines that may be ranked."""
    comparisons: tuple[Comparison, ...]
    separated: float
    """The share of pairs of ranked lines that can be told apart; nan with fewer than two."""
    floor: float
    """The median over pairs of ranked lines of the smallest detectable difference; nan with fewer than two."""
    apart: frozenset[tuple[int, int]]
    """The pairs of ranked lines that can be told apart, the upper line first."""
    rng_seeds: int
    """Over which lines are ranked: those that all ranked lines have; 0 where none is ranked."""
    images: int

    @cached_property
    def shared_ranks(self) -> frozenset[int]:
        """The ranks that several lines have."""
        having = Counter(standing.rank for standing in self.standings.values())
        return frozenset(rank for rank, lines in having.items() if lines > 1)

    @cached_property
    def against_yardstick(self) -> Mapping[int, Comparison]:
        """By line, how it stands to what every recipe of its setting is held against; lines without one are missing."""
        return {each.line: each for each in self.comparisons if each.is_yardstick}


class _Counted(NamedTuple):
    """A line with its mIoU, resampled."""

    seeds: tuple[int, ...]
    sample: Sample

    def over(self, seeds: Sequence[int]) -> Sample:
        return self.sample.of([self.seeds.index(seed) for seed in seeds])


def verdicts(lines: Sequence[Line], column: Column, counts: CountsOf, ranked: Sequence[bool]) -> Verdicts | None:
    """What the counts of a board's lines allow to be said of a scored stage; None where no two images were counted.

    `ranked` says of each line whether it may have a place.
    """
    sums = {n: found for n, line in enumerate(lines) if (found := sums_of_line(line, column, counts)) is not None}
    if not sums or next(iter(sums.values())).images < 2:
        return None
    drawn = samples(list(sums.values()))
    counted = {
        n: _Counted(tuple(row.rng_seed for row in lines[n].cells[column].rows), sample)
        for n, sample in zip(sums, drawn, strict=True)
    }
    placed = [n for n in counted if ranked[n]]
    common = sorted(set.intersection(*(set(counted[n].seeds) for n in placed))) if placed else []
    places = ranking([counted[n].over(common) for n in placed]) if common else None
    return Verdicts(
        column,
        {n: interval(each.sample) for n, each in counted.items()},
        dict(zip(placed, places.standings, strict=True)) if places else {},
        _comparisons(lines, counted),
        places.separated if places else float("nan"),
        places.floor if places else float("nan"),
        frozenset((placed[i], placed[j]) for i, j in places.apart) if places else frozenset(),
        len(common),
        drawn[0].images,
    )


def sums_of_line(line: Line, column: Column, counts: CountsOf) -> PixelSums | None:
    """Of all rng seeds of a line; None where it has a hole at this stage, or no counts."""
    cell = line.cells.get(column)
    if cell is None or cell.holes:
        return None
    found = [sums for row in cell.rows if (sums := counts(row)) is not None]
    return joined_sums(found) if len(found) == len(cell.rows) else None


def _comparisons(lines: Sequence[Line], counted: Mapping[int, _Counted]) -> tuple[Comparison, ...]:
    pairs, apart = [], []
    for (one, other), is_yardstick in _planned(lines, list(counted)).items():
        common = sorted({*counted[one].seeds} & {*counted[other].seeds})
        if common:
            pairs.append((one, other, is_yardstick))
            apart.append(difference(counted[one].over(common), counted[other].over(common)))
    return tuple(
        Comparison(one, other, found, is_yardstick)
        for (one, other, is_yardstick), found in zip(pairs, corrected(apart), strict=True)
    )


def _planned(lines: Sequence[Line], among: Sequence[int]) -> dict[tuple[int, int], bool]:
    """Every recipe against `cam` of its setting, every setting against `clean` of its recipe, every recipe `a+b`
    against `a`, which is what it was before it was refined, and every `a-searched` against `a`; of each, whether it is
    the first kind. Ceilings are in none of them."""
    called: dict[tuple[str, str], list[int]] = {}
    # Nobody is held against what somebody handed in: whatever it is called, it is no yardstick.
    for n in [n for n in among if lines[n].tier == "recomputed"]:
        called.setdefault((lines[n].option_set.recipe, lines[n].setting), []).append(n)
    pairs: dict[tuple[int, int], bool] = {}
    for n in among:
        recipe, setting = lines[n].option_set.recipe, lines[n].setting
        if lines[n].is_ceiling:
            continue
        default = recipe.removesuffix(SEARCHED)
        yardsticks = ((each, setting) for each in _yardsticks(default) if (each, setting) in called)
        before = recipe.rpartition("+")[0] if default == recipe else default
        others = (next(yardsticks, None), (recipe, PLAIN), (before, setting))
        for place, name in enumerate(others):
            other = _meant(lines, n, called.get(name, []) if name else [])
            if other is not None and other != n:
                pairs.setdefault((n, other), place == 0)
    return pairs


def _meant(lines: Sequence[Line], line: int, candidates: Sequence[int]) -> int | None:
    """Of the lines of one recipe and setting the one on the same backbone, else the only one; None where many fit."""
    own = lines[line].option_set
    alike = [n for n in candidates if _backbone(lines[n].option_set) == _backbone(own)] or candidates
    return alike[0] if len(alike) == 1 else None


def _backbone(options: OptionSet) -> tuple[str, int]:
    return options.backbone, options.backbone_size


def _yardsticks(name: str) -> list[str]:
    """What a recipe may be held against, best first: `cam`, or on a board without it `cam` with the recipe's further
    parts, as `cam+saliency` for `coattention+saliency` and for `coattention+saliency+coverage`."""
    _, *parts = name.split("+")
    return [YARDSTICK, *("+".join([YARDSTICK, *parts[:n]]) for n in range(len(parts), 0, -1))]
