"""How verdicts are shown: columns of a board's table, and the tables of places and of comparisons below it."""

from collections.abc import Iterable, Sequence
from typing import Any

from results.comparisons import Verdicts
from results.lines import Line
from results.shown import Table
from results.statistics import Difference

__all__ = [
    "COMPARISONS",
    "HEAD",
    "IMAGES_ALONE",
    "INTERVAL",
    "is_tied_with_the_best",
    "p_shown",
    "rank_of",
    "record_of",
    "sections",
    "shown_of",
    "verdicts_explained",
]

INTERVAL = "95 % interval"
HEAD = (INTERVAL, "Δ")
"""The titles of the columns beside the mean of the stage that lines are ranked by."""
COMPARISONS = "Planned comparisons"
"""How the title of the table of comparisons begins."""
IMAGES_ALONE = "°"
"""Marks a difference over a single rng seed."""


def rank_of(verdicts: Verdicts, line: int) -> str:
    """As `2`, or `2=` where others share it; a dash for a line that has none."""
    standing = verdicts.standings.get(line)
    if standing is None:
        return "–"
    return f"{standing.rank}{'=' if standing.rank in verdicts.shared_ranks else ''}"


def shown_of(verdicts: Verdicts, line: int) -> tuple[str, ...]:
    """The cells under `HEAD`."""
    interval = verdicts.intervals.get(line)
    comparison = verdicts.against_yardstick.get(line)
    return (
        f"[{interval.low:.3f}, {interval.high:.3f}]" if interval else "–",
        f"{_signed(comparison.difference)} {comparison.difference.verdict}" if comparison else "–",
    )


def is_tied_with_the_best(verdicts: Verdicts, line: int) -> bool:
    """Whether no line is better than it."""
    return line in verdicts.standings and verdicts.standings[line].rank == 1


def verdicts_explained(verdicts: Verdicts, lines: Sequence[Line]) -> list[str]:
    """The notes below the table: what its columns say, and what it can tell apart."""
    stage, photos, seeds = verdicts.column.title, verdicts.images, verdicts.rng_seeds
    told = [
        f"95 % interval: of the mean {stage}, over rng seeds and {photos} photos; the ± is the deviation of rng seeds"
    ]
    against = [found.other for n in verdicts.intervals if (found := verdicts.against_yardstick.get(n))]
    if against:
        names = " or ".join(dict.fromkeys(lines[other].name for other in against))
        told.append(
            f"Δ: to {names} of the same setting; its verdict is at 5 % for all planned comparisons (Holm): table.md"
        )
    if any(not each.difference.seeds_tested for each in verdicts.comparisons):
        told.append(f"{IMAGES_ALONE} one rng seed in common: it speaks of other photos, never of another training")
    if verdicts.standings:
        told.append(
            "rank: one more than the number of lines that are better; lines that share it (=) are not separated"
        )
    if len(verdicts.standings) > 1:
        told.append(
            f"resolution: a difference of {verdicts.floor:.3f} is found in four of five cases with {seeds} rng seeds "
            f"and {photos} photos (median over pairs of ranked lines, one test at 5 %); "
            f"{verdicts.separated:.0%} of pairs are separated"
        )
    return told


def sections(verdicts: Verdicts, lines: Sequence[Line]) -> Iterable[Table]:
    """The tables of places and of planned comparisons, those that have lines."""
    names = _names(lines)
    if len(verdicts.standings) > 1:
        yield _places(verdicts, names)
    if verdicts.comparisons:
        yield _compared(verdicts, names, lines)


def record_of(verdicts: Verdicts | None, line: int, lines: Sequence[Line]) -> dict[str, Any]:
    """The same as numbers, for CSV; empty where there is none."""
    standing = interval = comparison = None
    if verdicts is not None:
        standing, interval = verdicts.standings.get(line), verdicts.intervals.get(line)
        comparison = verdicts.against_yardstick.get(line)
    difference = comparison.difference if comparison else None
    return {
        "rank": _field(standing, "rank"),
        "place_from": _field(standing, "first"),
        "place_to": _field(standing, "last"),
        "p_best": _field(standing, "best"),
        "interval_low": _field(interval, "low"),
        "interval_high": _field(interval, "high"),
        "against": lines[comparison.other].name if comparison else None,
        "difference": _field(difference, "mean"),
        "difference_low": _field(difference, "low"),
        "difference_high": _field(difference, "high"),
        "p_holm": _field(difference, "p"),
        "verdict": _field(difference, "verdict"),
        "smallest_detectable": _field(difference, "smallest_detectable"),
    }


def p_shown(p: float) -> str:
    """With four decimals; one that is not 0 is never shown as 0."""
    return f"{p:.4f}" if p >= 0.00005 else "< 0.0001"


def _field(found: Any, name: str) -> Any:
    return None if found is None else getattr(found, name)


def _places(verdicts: Verdicts, names: Sequence[str]) -> Table:
    shown = tuple(
        (names[n], rank_of(verdicts, n), f"{each.first}–{each.last}", f"{each.best:.2f}")
        for n, each in sorted(verdicts.standings.items(), key=lambda item: (item[1].first, item[1].last, item[0]))
    )
    notes = ("places: the best and the worst that cannot be excluded", "P(best): the probability of the first place")
    return Table(f"Ranks by {verdicts.column.title}", ("recipe", "rank", "places", "P(best)"), shown, notes)


def _compared(verdicts: Verdicts, names: Sequence[str], lines: Sequence[Line]) -> Table:
    shown = tuple(
        (
            names[each.line],
            names[each.other],
            _signed(each.difference),
            f"[{each.difference.low:+.3f}, {each.difference.high:+.3f}]",
            p_shown(each.difference.p),
            each.difference.verdict,
            f"{each.difference.smallest_detectable:.3f}",
            str(each.difference.seeds),
        )
        for each in verdicts.comparisons
    )
    head = ("recipe", "against", "Δ", "95 % interval", "p (Holm)", "verdict", "detectable", "rng seeds")
    records = tuple(
        {
            "recipe": lines[each.line].name,
            "setting": lines[each.line].setting,
            "against": lines[each.other].name,
            "against_setting": lines[each.other].setting,
            "difference": each.difference.mean,
            "difference_low": each.difference.low,
            "difference_high": each.difference.high,
            "p_holm": each.difference.p,
            "verdict": each.difference.verdict,
        }
        for each in verdicts.comparisons
    )
    notes = (
        "95 % interval: of this difference alone; p and verdict: for all comparisons of this table together",
        "detectable: the true difference that would be found in four of five cases, by one test at 5 %",
    )
    return Table(f"{COMPARISONS}, {verdicts.column.title}", head, shown, notes, records)


def _names(lines: Sequence[Line]) -> list[str]:
    """Recipe and, where there are several, setting."""
    if len({line.setting for line in lines}) == 1:
        return [line.name for line in lines]
    return [f"{line.name}, {line.setting}" for line in lines]


def _signed(difference: Difference) -> str:
    return f"{difference.mean:+.3f}{'' if difference.seeds_tested else IMAGES_ALONE}"
