"""How two lines that are held against each other are shown: tables for people, numbers for programs."""

from collections.abc import Iterator, Sequence
from typing import Any

from results.metrics.miou import nullable
from results.metrics.size_iou import SIZES
from results.pair import ErrorSplit, Pair, Part
from results.shown import BY_CLASS, Table
from results.statistics import Difference, Interval
from results.verdict_tables import p_shown

__all__ = ["pair_record", "pair_tables"]

PART_HEAD = ("A", "B", "A − B", "95 % interval", "p (Holm)", "verdict", "photos")


def pair_tables(pair: Pair, scored: str, notes: Sequence[str] = ()) -> list[Table]:
    """The verdict, then classes, sizes of objects, errors, and the photos that changed most, where any did.

    `scored` says what was scored; `notes` are told below the verdict, after those that the numbers want.
    """
    tables = [_verdict(pair, scored, notes), _by_class(pair), _by_size(pair), _errors(pair)]
    return [*tables, _changed(pair)] if pair.changed else tables


def pair_record(pair: Pair) -> dict[str, Any]:
    """The same as JSON, unrounded; null stands for what is not defined."""
    return {
        "a": pair.a,
        "b": pair.b,
        "miou_a": pair.mean_a._asdict(),
        "miou_b": pair.mean_b._asdict(),
        **_difference_record(pair.difference),
        "rng_seeds": pair.difference.seeds,
        "images": pair.difference.images,
        "seeds_tested": pair.difference.seeds_tested,
        "equal_counts": pair.are_equal,
        "by_class": [_part_record(part) for part in pair.by_class],
        "by_size": [_part_record(part) for part in pair.by_size],
        "errors_a": [_error_record(split) for split in pair.errors_a],
        "errors_b": [_error_record(split) for split in pair.errors_b],
        "changed": [{**change._asdict(), "mean": change.mean} for change in pair.changed],
    }


def _difference_record(found: Difference | None) -> dict[str, Any]:
    names = ("mean", "low", "high", "p", "verdict", "smallest_detectable")
    return {name: None if found is None else getattr(found, name) for name in names}


def _part_record(part: Part) -> dict[str, Any]:
    record = _difference_record(part.difference)
    own = {"name": part.name, "a": nullable(part.a), "b": nullable(part.b), "images": part.images}
    return {**own, **record, "mean": nullable(part.mean)}


def _error_record(split: ErrorSplit) -> dict[str, Any]:
    shares = {name: nullable(getattr(split, name)) for name in ("lost", "missed", "taken")}
    return {"name": split.name, **shares, "confused": dict(split.confused)}


def _verdict(pair: Pair, scored: str, notes: Sequence[str]) -> Table:
    found = pair.difference
    lines = (
        (f"A: {pair.a}", f"{pair.mean_a.mean:.3f}", _interval(pair.mean_a), "–", "–", "–"),
        (f"B: {pair.b}", f"{pair.mean_b.mean:.3f}", _interval(pair.mean_b), "–", "–", "–"),
        (
            "A − B",
            f"{found.mean:+.3f}",
            _signed_interval(found),
            p_shown(found.p),
            found.verdict,
            f"{found.smallest_detectable:.3f}",
        ),
    )
    head = ("compared", "mIoU", "95 % interval", "p", "verdict", "detectable")
    return Table(scored, head, lines, (*_said(pair), *notes))


def _said(pair: Pair) -> Iterator[str]:
    """What the verdict means, in words."""
    found = pair.difference
    over = f"{found.seeds} rng seeds and {found.images} photos, paired"
    if not found.seeds_tested:
        over = (
            f"{found.images} photos, paired, and one training a side: it speaks of other photos, never of another one"
        )
    if pair.are_equal:
        yield "A and B have the same counts in every photo: one measurement, not two"
    elif found.verdict == "not separated":
        yield f"A and B are not separated at 5 % (which is not: equal), over {over}"
    else:
        yield f"A is {found.verdict} than B at 5 %, over {over}"
    yield (
        "detectable: the true difference that would be found in four of five cases; one comparison, planned before one "
        "has looked: of several, the p values want a correction"
    )


def _by_class(pair: Pair) -> Table:
    notes = (
        "p and verdict: for all classes together; photos: that show the class; an interval wants two of them",
        "–: in neither truth nor predictions of a side",
    )
    return Table(BY_CLASS, ("class", *PART_HEAD), tuple(map(_part, pair.by_class)), notes)


def _by_size(pair: Pair) -> Table:
    bounds = [f"{size.name} from {size.least:.0%}" for size in SIZES[1:]]
    notes = (
        f"size: the share of a photo's known pixels that a class truly takes ({', '.join(bounds)}, small below)",
        "mIoU of the classes without the background, each on the photos where it has this size: what is taken for a "
        "class in photos without it has no size",
        "p and verdict: for all sizes together",
    )
    return Table("mIoU by size of object", ("size", *PART_HEAD), tuple(map(_part, pair.by_size)), notes)


def _part(part: Part) -> tuple[str, ...]:
    found = part.difference
    tested = ("–", "–", "–")
    if found is not None:
        tested = (_signed_interval(found), p_shown(found.p), found.verdict)
    return (part.name, _three(part.a), _three(part.b), _three(part.mean, "+"), *tested, str(part.images))


def _errors(pair: Pair) -> Table:
    lines = []
    for of_a, of_b in zip(pair.errors_a, pair.errors_b, strict=True):
        for side, split in (("A", of_a), ("B", of_b)):
            shares = (_three(value) for value in (split.lost, split.missed, split.taken))
            confused = sum(share for _, share in split.confused)
            mostly = ", ".join(f"{name} {share:.3f}" for name, share in split.confused[:2]) or "–"
            lines.append((split.name, side, *shares, f"{confused:.3f}", mostly))
    head = ("class", "side", "lost", "missed", "taken", "confused", "mostly with")
    notes = (
        "lost = 1 − IoU = missed + taken + confused, as shares of the class's union",
        "missed: its pixels, said to be background; taken: background, said to be the class; of the background: pixels "
        "of objects said to be background, and background said to be an object",
        "confused: its pixels said to be of another class, and those of another class said to be its own",
    )
    return Table("Where IoU is lost", head, tuple(lines), notes)


def _changed(pair: Pair) -> Table:
    lines = tuple(
        (change.image, f"{change.a:.3f}", f"{change.b:.3f}", f"{change.mean:+.3f}") for change in pair.changed
    )
    notes = ("mIoU of the photo alone, over the classes that its truth or prediction holds; a mean over rng seeds",)
    return Table("Photos that changed most", ("photo", "A", "B", "A − B"), lines, notes)


def _three(value: float, sign: str = "") -> str:
    return "–" if nullable(value) is None else f"{value:{sign}.3f}"


def _interval(found: Interval) -> str:
    return f"[{found.low:.3f}, {found.high:.3f}]"


def _signed_interval(found: Difference) -> str:
    return f"[{found.low:+.3f}, {found.high:+.3f}]"
