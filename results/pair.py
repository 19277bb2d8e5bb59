"""Two lines held against each other: the difference of mIoU, of every class and size of object, and where it is lost.

Everything comes from counts per image; no pixel is read again. Differences are `a` less `b`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from results.counted import ImageSums, joined_sums
from results.metrics.miou import Floats, iou, mean_of_defined
from results.metrics.size_iou import SIZES, Size, of_size
from results.statistics import (
    Difference,
    Interval,
    PixelSums,
    Whole,
    class_samples,
    corrected,
    difference,
    interval,
    samples,
)
from settings.errors import UserError, counted, printable

__all__ = ["CHANGED", "Change", "ErrorSplit", "Pair", "Part", "Side", "compared", "error_splits", "miou_of_images"]

CHANGED = 20
"""Photos that are told of those that changed most."""


@dataclass(frozen=True, eq=False)
class Side:
    """One of two lines: what it is called, what it was scored on, and its counts, one entry a rng seed."""

    name: str
    classes: tuple[str, ...]
    """K + 1 names, background first."""
    evaluation: str
    """The evaluation fingerprint."""
    rows: tuple[ImageSums, ...]


@dataclass(frozen=True)
class Part:
    """What two lines reach on a part of what is scored: a class, or the objects of one size."""

    name: str
    a: float
    b: float
    """IoU, a mean over rng seeds; nan where it is not defined."""
    difference: Difference | None
    """p and verdict hold for all parts of the kind together (Holm); None with fewer than two photos that show it."""
    images: int
    """How many photos show it."""

    @property
    def mean(self) -> float:
        """The difference; nan where one of the two is not defined."""
        return self.a - self.b


@dataclass(frozen=True)
class ErrorSplit:
    """Where one line loses the IoU of a class: pixels over the class's union, means over rng seeds; nan for no union.

    lost = 1 - IoU = missed + taken + the sum of confused.
    """

    name: str
    lost: float
    missed: float
    """Of the class, and said to be background; for the background: of an object, and said to be background."""
    taken: float
    """Background, and said to be of the class; for the background: said to be of an object."""
    confused: tuple[tuple[str, float], ...]
    """By other class, those with a share alone, the largest first: said to be of it instead, or the other way round."""


class Change(NamedTuple):
    """A photo with its own mIoU on both sides, over the classes that its truth or prediction holds."""

    image: str
    a: float
    b: float

    @property
    def mean(self) -> float:
        """The difference."""
        return self.a - self.b


@dataclass(frozen=True)
class Pair:
    """All that the counts of two lines say about them."""

    a: str
    b: str
    mean_a: Interval
    mean_b: Interval
    difference: Difference
    by_class: tuple[Part, ...]
    by_size: tuple[Part, ...]
    """mIoU over the classes without the background, each on the photos alone where it has this size: what is taken for
    it in photos that do not show it has no size, and is left out."""
    errors_a: tuple[ErrorSplit, ...]
    errors_b: tuple[ErrorSplit, ...]
    """By class, the background first."""
    changed: tuple[Change, ...]
    """The photos whose own mIoU differs most, the largest first; those without a difference are not among them."""
    are_equal: bool
    """Whether both have the very same counts."""


def compared(a: Side, b: Side) -> Pair:
    """Hold one side against the other, rng seed by rng seed and photo by photo.

    Raises UserError where they were not scored on the same classes, photos and true masks, for fewer than two photos,
    and where no class is defined.
    """
    _check(a, b)
    images = sorted({image for side in (a, b) for row in side.rows for image in row.images})
    sums_a, sums_b = (joined_sums([row.over(images) for row in side.rows]) for side in (a, b))
    if np.isnan([sums_a.miou(), sums_b.miou()]).any():
        raise UserError(f"{a.name} and {b.name}", "no pixel of any class", "counts of photos with true masks")
    drawn_a, drawn_b = samples([sums_a, sums_b])
    confusions_a, confusions_b = (np.stack([row.confusion_KK for row in side.rows]) for side in (a, b))
    return Pair(
        a.name,
        b.name,
        interval(drawn_a),
        interval(drawn_b),
        difference(drawn_a, drawn_b),
        _by_class(sums_a, sums_b, a.classes),
        _by_size(sums_a, sums_b),
        tuple(error_splits(confusions_a, a.classes)),
        tuple(error_splits(confusions_b, b.classes)),
        tuple(_most_changed(images, sums_a, sums_b)),
        np.array_equal(sums_a.hits_SNC, sums_b.hits_SNC) and np.array_equal(confusions_a, confusions_b),
    )


def _check(a: Side, b: Side) -> None:
    """Raise UserError, which names the first thing that the sides do not have in common."""
    where = f"{a.name} and {b.name}"
    if a.classes != b.classes:
        found = f"the classes {', '.join(a.classes)} and {', '.join(b.classes)}"
        raise UserError(where, found, "the same classes in the same order")
    one, other = a.rows[0], b.rows[0]
    for side, mine, theirs in ((a, one, other), (b, other, one)):
        alone = sorted({*mine.images} - {*theirs.images})
        if alone:
            found = f"{counted(len(alone), 'photo')} that {side.name} alone has, the first '{printable(alone[0])}'"
            raise UserError(where, found, "the same photos")
    unlike = np.flatnonzero((one.truth_NC != other.truth_NC).any(axis=1))
    if unlike.size:
        found = f"other true pixels for {counted(len(unlike), 'photo')}, the first '{printable(one.images[unlike[0]])}'"
        raise UserError(where, found, "the same true masks")
    if a.evaluation != b.evaluation:
        found = f"the evaluation fingerprints {a.evaluation[:12]} and {b.evaluation[:12]}"
        raise UserError(where, found, "rows that were scored on the same photos and true masks")
    if len(one.images) < 2:
        raise UserError(where, counted(len(one.images), "photo"), "two photos at least: one says nothing of others")


def _by_class(a: PixelSums, b: PixelSums, classes: Sequence[str]) -> tuple[Part, ...]:
    iou_a, iou_b = a.iou_SC().mean(axis=0), b.iou_SC().mean(axis=0)
    shown = (a.truth_NC > 0).sum(axis=0)
    drawn = class_samples([a, b])
    parts = []
    for c, name in enumerate(classes):
        pair = drawn[c]
        apart = difference(*pair) if pair else None
        parts.append(Part(name, float(iou_a[c]), float(iou_b[c]), apart, int(shown[c])))
    return _corrected(parts)


def _by_size(a: PixelSums, b: PixelSums) -> tuple[Part, ...]:
    parts = []
    for size in SIZES:
        own_a, own_b = _of_size(a, size), _of_size(b, size)
        apart = difference(*samples([own_a, own_b])) if own_a.images > 1 else None
        mean_a, mean_b = (float(own.miou().mean()) for own in (own_a, own_b))
        parts.append(Part(size.name, mean_a, mean_b, apart, own_a.images))
    return _corrected(parts)


def _of_size(sums: PixelSums, size: Size) -> PixelSums:
    """The pixels of classes in the photos where they have that size, without the background; other photos left out."""
    chosen_NC = of_size(sums.truth_NC, size)
    some_N = chosen_NC.any(axis=1)
    part_NC = chosen_NC[some_N]
    return PixelSums(
        sums.hits_SNC[:, some_N] * part_NC, sums.predicted_SNC[:, some_N] * part_NC, sums.truth_NC[some_N] * part_NC
    )


def _corrected(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The parts with p values and verdicts that hold for all of them together."""
    found = iter(corrected([part.difference for part in parts if part.difference is not None]))
    return tuple(part if part.difference is None else replace(part, difference=next(found)) for part in parts)


def error_splits(confusion_SKK: Whole, classes: Sequence[str]) -> Iterable[ErrorSplit]:
    """Where a line loses IoU, class by class, from the confusions of its rng seeds, (S, K + 1, K + 1)."""
    diagonal_SK = np.diagonal(confusion_SKK, axis1=1, axis2=2)
    union_SK = confusion_SKK.sum(axis=1) + confusion_SKK.sum(axis=2) - diagonal_SK
    # Both ways of taking a class for another one.
    mixed_SKK = confusion_SKK + confusion_SKK.transpose(0, 2, 1)
    for c, name in enumerate(classes):
        share = _share_of(union_SK[:, c])
        lost = share(union_SK[:, c] - diagonal_SK[:, c])
        if c == 0:
            missed, taken = share(confusion_SKK[:, 1:, 0].sum(axis=1)), share(confusion_SKK[:, 0, 1:].sum(axis=1))
            yield ErrorSplit(name, lost, missed, taken, ())
            continue
        others = [(other, share(mixed_SKK[:, c, j])) for j, other in enumerate(classes) if j not in (0, c)]
        largest_first = sorted((each for each in others if each[1] > 0), key=lambda each: -each[1])
        missed, taken = share(confusion_SKK[:, c, 0]), share(confusion_SKK[:, 0, c])
        yield ErrorSplit(name, lost, missed, taken, tuple(largest_first))


def _share_of(union_S: Whole) -> Callable[[Whole], float]:
    """Makes of pixels by rng seed their mean share of the union; nan where a rng seed has no union."""

    def share(pixels_S: Whole) -> float:
        if (union_S == 0).any():
            return float("nan")
        return float((pixels_S / union_S).mean())

    return share


def _most_changed(images: Sequence[str], a: PixelSums, b: PixelSums) -> Iterable[Change]:
    own_a, own_b = miou_of_images(a), miou_of_images(b)
    apart = np.nan_to_num(np.abs(own_a - own_b))
    for n in np.argsort(-apart, kind="stable")[:CHANGED].tolist():
        if apart[n] > 0:
            yield Change(images[n], float(own_a[n]), float(own_b[n]))


def miou_of_images(sums: PixelSums) -> Floats:
    """mIoU by image, a mean over rng seeds, (images,); nan where a photo has no counted pixel."""
    by_seed: Floats = mean_of_defined(iou(sums.hits_SNC, sums.truth_NC, sums.predicted_SNC))
    mean: Floats = by_seed.mean(axis=0)
    return mean
