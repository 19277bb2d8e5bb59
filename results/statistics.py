"""Which differences of mIoU the counts of a few rng seeds and some hundred images can tell apart.

A difference varies for two reasons: other rng seeds train other networks, and other images show other things. What
images do is resampled: images are drawn with replacement, the same for all that is compared, their confusions added,
and mIoU taken of the sum (it is no mean over images). What rng seeds do is their sample variance: three values cannot
be resampled, a percentile bootstrap over them calls a quarter of all equal pairs different. The two variances V are
added, and a t distribution stands for the sum. Its degrees of freedom follow from whose variance it is,

    1 / df = share_seeds / (seeds - 1) + share_images / (images - 1),    share = V of its kind / V of both,

exact where one kind alone varies. Between them the usual rule (Satterthwaite 1946: squared shares) finds too many
differences with few rng seeds, this one neither too many nor too few: `python -m benchmarks.verdicts`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from results.metrics.miou import Floats, iou, mean_of_defined

__all__ = [
    "Difference",
    "Interval",
    "PixelSums",
    "Ranking",
    "Sample",
    "Standing",
    "Verdict",
    "Whole",
    "class_samples",
    "contrast",
    "corrected",
    "difference",
    "freedom",
    "holm",
    "interval",
    "interval_around",
    "paired_difference",
    "pixel_sums",
    "ranking",
    "samples",
]

Verdict: TypeAlias = Literal["better", "worse", "not separated"]
Whole: TypeAlias = NDArray[np.int64]
LEVEL = 0.05
"""Of tests; intervals hold 1 - LEVEL."""
POWER = 0.80
"""With which the smallest detectable difference is found."""
RESAMPLES = 10_000
TINY = 1e-9
"""What sums of weights are 0 within."""
CHUNK = 500
"""Resamples at a time: their weights stay within tens of MB for 10,000 images. Likewise of pairs of lines."""
CLOSE = 1e-3
"""Of the variance of two lines together: where their difference has less, three of sixteen digits would be lost."""


@dataclass(frozen=True)
class PixelSums:
    """What mIoU needs of the confusions of one line: pixels by image and class, for every rng seed."""

    hits_SNC: Whole
    predicted_SNC: Whole
    truth_NC: Whole
    """Of the images, whoever predicted: lines that are compared have the same."""

    @property
    def seeds(self) -> int:
        """How many rng seeds."""
        return len(self.hits_SNC)

    @property
    def images(self) -> int:
        """How many images."""
        return len(self.truth_NC)

    def miou(self) -> Floats:
        """By rng seed, over the whole set; nan where no class is defined."""
        return mean_of_defined(self.iou_SC())

    def iou_SC(self) -> Floats:
        """By rng seed and class, over the whole set; nan where a class is in neither truth nor prediction."""
        hits_SC, predicted_SC = self.hits_SNC.sum(axis=1), self.predicted_SNC.sum(axis=1)
        return iou(hits_SC, self.truth_NC.sum(axis=0), predicted_SC)


class Sample(NamedTuple):
    """mIoU of one line by rng seed: as it is, and as it would be with other images."""

    by_seed: Floats
    """(seeds,)."""
    resampled_SB: Floats
    """(seeds, resamples); draw b of every sample that was made together is of the same images."""
    images: int

    def of(self, seeds: Sequence[int]) -> Sample:
        """With these of its rng seeds alone, by their places."""
        return Sample(self.by_seed[list(seeds)], self.resampled_SB[list(seeds)], self.images)


class Interval(NamedTuple):
    """A value with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """mIoU of one line less that of another, or a contrast of several lines, as mean over rng seeds."""

    mean: float
    low: float
    high: float
    """Of the 95 % interval."""
    p: float
    """That a difference at least as large comes of two lines that are equal (two-sided)."""
    verdict: Verdict
    smallest_detectable: float
    """The true difference that so many rng seeds and images would find with a power of 80 %."""
    seeds: int
    images: int

    @property
    def seeds_tested(self) -> bool:
        """Whether rng seeds could vary: a single one tells of other images alone, never of another training."""
        return self.seeds > 1


@dataclass(frozen=True)
class Standing:
    """What can be said of a line's place among others."""

    first: int
    last: int
    """The places (1 is the best) that are not excluded."""
    best: float
    """The probability that it is the best (0..1)."""

    @property
    def rank(self) -> int:
        """Shared by all that the same number of lines is better than."""
        return self.first


@dataclass(frozen=True)
class Ranking:
    """Lines held against each other, all pairs, Holm-corrected."""

    standings: tuple[Standing, ...]
    separated: float
    """The share of pairs that can be told apart; nan for a single line."""
    floor: float
    """The resolution: the median over pairs of the smallest detectable difference; nan for a single line."""
    apart: frozenset[tuple[int, int]]
    """The pairs that can be told apart, the one that comes first first."""


def paired_difference(
    counts_a_SNKK: Whole, counts_b_SNKK: Whole, *, resamples: int = RESAMPLES, rng_seed: int = 0
) -> Difference:
    """mIoU of `a` less that of `b`, tested over rng seeds and images.

    Both are int64 confusions [truth, prediction] of shape (seeds, images, K + 1, K + 1): seed by seed and image by
    image the same on both sides. Raises ValueError for other shapes and types, negative counts, confusions of other
    true masks than the other side's, and fewer than two images.
    """
    a, b = pixel_sums(counts_a_SNKK), pixel_sums(counts_b_SNKK)
    return difference(*samples([a, b], resamples=resamples, rng_seed=rng_seed))


def pixel_sums(counts_SNKK: Whole) -> PixelSums:
    """The sums of int64 confusions (seeds, images, K + 1, K + 1); ValueError for what is no such thing."""
    shape = counts_SNKK.shape
    if len(shape) != 4 or shape[2] != shape[3] or 0 in shape or counts_SNKK.dtype != np.int64:
        expected = "int64 confusions (seeds, images, K + 1, K + 1)"
        raise ValueError(f"{expected} expected, found {counts_SNKK.dtype} {shape}")
    if counts_SNKK.min() < 0:
        raise ValueError(f"counts are not negative, found {counts_SNKK.min()}")
    truth_SNC = counts_SNKK.sum(axis=3)
    if (truth_SNC != truth_SNC[0]).any():
        raise ValueError("the rng seeds were scored on other true masks than each other")
    return PixelSums(np.diagonal(counts_SNKK, axis1=2, axis2=3), counts_SNKK.sum(axis=2), truth_SNC[0])


def samples(lines: Sequence[PixelSums], *, resamples: int = RESAMPLES, rng_seed: int = 0) -> list[Sample]:
    """Resample the images of lines that were scored on the same masks, the same draws for all of them.

    A class that a draw leaves without a true pixel is left out of that draw's mean, unless no image shows it: then
    it counts as in the whole set. Raises ValueError for lines of other true masks than the first's, for fewer than
    two images or resamples, and where no class is defined.
    """
    _check(lines, resamples)
    by_seed = [line.miou() for line in lines]
    if np.isnan(np.concatenate(by_seed)).any():
        raise ValueError("no class is defined: there is no mIoU to compare")
    # Where nothing is counted the mean is 0 of 0: such a draw says nothing, and takes the part of no line.
    means = [
        (iou_BRC.sum(axis=2) / np.maximum(counted_BRC.sum(axis=2), 1)).T
        for iou_BRC, counted_BRC in _resampled(lines, resamples, rng_seed)
    ]
    drawn = np.split(np.concatenate(means, axis=1), _ends(lines))
    return [Sample(own, resampled_SB, lines[0].images) for own, resampled_SB in zip(by_seed, drawn, strict=True)]


def class_samples(
    lines: Sequence[PixelSums], *, resamples: int = RESAMPLES, rng_seed: int = 0
) -> list[list[Sample] | None]:
    """The IoU of every class in place of mIoU: by class, a sample of each line; draws without the class are left out.

    `images` of such a sample are those that show the class: so many tell of it. None for a class that fewer than two
    images show. Raises ValueError for lines of other true masks than the first's, and for fewer than two images or
    resamples.
    """
    _check(lines, resamples)
    chunks = list(_resampled(lines, resamples, rng_seed))
    iou_BRC, counted_BRC = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    by_seed = [line.iou_SC() for line in lines]
    found: list[list[Sample] | None] = []
    for c, images in enumerate((lines[0].truth_NC > 0).sum(axis=0).tolist()):
        # A draw that shows the class counts it in every line.
        shown_RB = iou_BRC[counted_BRC[:, 0, c], :, c].T
        if images < 2 or shown_RB.shape[1] < 2:
            found.append(None)
            continue
        drawn = np.split(shown_RB, _ends(lines))
        found.append([Sample(own[:, c], of_line, images) for own, of_line in zip(by_seed, drawn, strict=True)])
    return found


def _check(lines: Sequence[PixelSums], resamples: int) -> None:
    first = lines[0]
    if any(not np.array_equal(line.truth_NC, first.truth_NC) for line in lines):
        raise ValueError("lines that are compared must be scored on the same images and true masks")
    if first.images < 2 or resamples < 2:
        raise ValueError(f"two images and resamples at least, found {first.images} and {resamples}")


def _ends(lines: Sequence[PixelSums]) -> list[int]:
    """Where the rng seeds of one line end and those of the next begin."""
    ends: list[int] = np.cumsum([line.seeds for line in lines])[:-1].tolist()
    return ends


class _Drawn(NamedTuple):
    """A chunk of draws; R are the rng seeds of one line after another."""

    iou_BRC: Floats
    """0 where the class is not counted."""
    counted_BRC: NDArray[np.bool_]
    """Whether the class takes part in the mean."""


def _resampled(lines: Sequence[PixelSums], resamples: int, rng_seed: int) -> Iterator[_Drawn]:
    """IoU by draw, row and class, in chunks of draws."""
    truth_NC = lines[0].truth_NC
    images, classes = truth_NC.shape
    hits_RNC = np.concatenate([line.hits_SNC for line in lines])
    unions_RNC = np.concatenate([line.predicted_SNC for line in lines]) + truth_NC - hits_RNC
    # All draws of all sums are one product: (draws, images) × (images, sums).
    sums = np.concatenate([hits_RNC, unions_RNC, truth_NC[None]]).transpose(1, 0, 2).reshape(images, -1).astype(float)
    is_shown_C = truth_NC.any(axis=0)
    rng = np.random.default_rng(rng_seed)
    for start in range(0, resamples, CHUNK):
        drawn = (_draws(rng, min(CHUNK, resamples - start), images) @ sums).reshape(-1, 2 * len(hits_RNC) + 1, classes)
        hits_BRC, unions_BRC, truth_BC = drawn[:, : len(hits_RNC)], drawn[:, len(hits_RNC) : -1], drawn[:, -1]
        counted_BRC = (unions_BRC > 0) & ((truth_BC > 0) | ~is_shown_C)[:, None]
        yield _Drawn(np.divide(hits_BRC, unions_BRC, out=np.zeros_like(hits_BRC), where=counted_BRC), counted_BRC)


def _draws(rng: np.random.Generator, number: int, images: int) -> Floats:
    """How often each draw holds each image, (number, images): so many images with replacement."""
    drawn = rng.integers(images, size=(number, images)) + images * np.arange(number)[:, None]
    return np.bincount(drawn.ravel(), minlength=number * images).reshape(number, images).astype(float)


def difference(a: Sample, b: Sample) -> Difference:
    """`a` less `b`, from samples that were made together; ValueError where one has more rng seeds or resamples."""
    return contrast([a, b], [1.0, -1.0])


def contrast(lines: Sequence[Sample], weights: Sequence[float]) -> Difference:
    """The weighted sum of lines' mIoU, rng seed by rng seed and draw by draw, as a difference is one of two lines.

    The weights add up to 0, so that what all lines have in common drops out. Raises ValueError where they do not, and
    where one sample has more rng seeds or resamples than another.
    """
    shapes = {line.resampled_SB.shape for line in lines}
    if len(shapes) > 1:
        found = " and ".join(map(str, sorted(shapes)))
        raise ValueError(f"as many rng seeds and resamples on both sides, found {found}")
    if abs(sum(weights)) > TINY:
        raise ValueError(f"weights that add up to 0, found {sum(weights):g}")
    by_seed, resampled_SB = np.zeros_like(lines[0].by_seed), np.zeros_like(lines[0].resampled_SB)
    for line, weight in zip(lines, weights, strict=True):
        by_seed += weight * line.by_seed
        resampled_SB += weight * line.resampled_SB
    spread, mean = _spread_of(Sample(by_seed, resampled_SB, lines[0].images)), float(by_seed.mean())
    margin, p = spread.margin(LEVEL), float(spread.p(np.array(mean)))
    detectable = margin + float(spread.quantile(POWER))
    # As far as it goes where every mIoU is 0 or 1.
    most = sum(map(abs, weights)) / 2
    low, high = max(mean - margin, -most), min(mean + margin, most)
    return Difference(mean, low, high, p, _verdict(mean, p), detectable, len(by_seed), lines[0].images)


def interval(sample: Sample) -> Interval:
    """The mean over rng seeds of a line's mIoU, and its 95 % interval within 0..1."""
    return interval_around(float(sample.by_seed.mean()), sample)


def interval_around(value: float, sample: Sample) -> Interval:
    """A value within 0..1 and its 95 % interval there, as wide as the mean of the sample varies."""
    margin = _spread_of(sample).margin(LEVEL)
    return Interval(value, max(value - margin, 0.0), min(value + margin, 1.0))


class _Spread(NamedTuple):
    """Distributions around means: t, each with its scale and degrees of freedom."""

    error: Floats
    freedom: Floats

    def quantile(self, share: float) -> Floats:
        # Every worker imports this module, and none that trains compares: scipy is for those who do.
        from scipy.special import stdtrit

        found: Floats = self.error * stdtrit(self.freedom, share)
        return found

    def margin(self, level: float) -> float:
        """Of a single distribution."""
        return float(self.quantile(1 - level / 2))

    def p(self, mean: Floats) -> Floats:
        from scipy.special import stdtr

        scaled = np.divide(-np.abs(mean), self.error, out=np.zeros_like(self.error), where=self.error > 0)
        found: Floats = np.where(self.error > 0, 2 * stdtr(self.freedom, scaled), mean == 0)
        return found


def _spread_of(sample: Sample) -> _Spread:
    """Of the mean of one sample."""
    of_seeds = sample.by_seed.var(ddof=1) if len(sample.by_seed) > 1 else 0.0
    of_images = sample.resampled_SB.mean(axis=0).var(ddof=1)
    return _spread(np.array(of_seeds), len(sample.by_seed), np.array(of_images), sample.images)


def _spread(of_seeds: Floats, seeds: int, of_images: Floats, images: int) -> _Spread:
    """From the variances over rng seeds and over draws of images, elementwise."""
    # A draw with replacement varies less than images do, by (images - 1) / images.
    whole_images, mean_of_seeds = of_images * images / (images - 1), of_seeds / seeds
    df = freedom(mean_of_seeds, seeds, whole_images, images)
    return _Spread(np.sqrt(mean_of_seeds + whole_images), df)


def freedom(of_seeds: Floats, seeds: int, of_images: Floats, images: int) -> Floats:
    """Degrees of freedom for the sum of two variances, elementwise, as the module says."""
    whole = np.maximum(of_seeds + of_images, np.finfo(float).tiny)
    inverse: Floats = of_seeds / whole / max(seeds - 1, 1) + of_images / whole / (images - 1)
    return 1 / np.maximum(inverse, np.finfo(float).tiny)


def _verdict(mean: float, p: float) -> Verdict:
    if p >= LEVEL:
        return "not separated"
    return "better" if mean > 0 else "worse"


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values of comparisons that were planned together, corrected for their number (Holm 1979)."""
    found: list[float] = _holm(np.array(p_values, float)).tolist()
    return found


def _holm(p_N: Floats) -> Floats:
    ascending = np.argsort(p_N, kind="stable")
    still = len(p_N) - np.arange(len(p_N))
    corrected_N = np.empty_like(p_N)
    corrected_N[ascending] = np.maximum.accumulate(np.minimum(1.0, still * p_N[ascending]))
    return corrected_N


def corrected(differences: Sequence[Difference]) -> list[Difference]:
    """The same differences with p values and verdicts that hold for all of them together (Holm)."""
    pairs = zip(differences, holm([each.p for each in differences]), strict=True)
    return [replace(each, p=p, verdict=_verdict(each.mean, p)) for each, p in pairs]


def ranking(lines: Sequence[Sample], *, rng_seed: int = 0) -> Ranking:
    """The places of lines whose samples were made together, with as many rng seeds each."""
    count = len(lines)
    pairs = _pairs(lines)
    is_apart = pairs.p < LEVEL
    is_better, is_worse = is_apart & (pairs.mean > 0), is_apart & (pairs.mean <= 0)
    above = np.bincount(pairs.other[is_better], minlength=count) + np.bincount(pairs.line[is_worse], minlength=count)
    below = np.bincount(pairs.line[is_better], minlength=count) + np.bincount(pairs.other[is_worse], minlength=count)
    standings = (
        Standing(1 + better, count - worse, chance)
        for better, worse, chance in zip(above.tolist(), below.tolist(), _best(lines, rng_seed), strict=True)
    )
    separated, floor = (float("nan"), float("nan"))
    if len(pairs.p):
        separated, floor = float(np.mean(is_apart)), float(np.median(pairs.smallest_detectable))
    apart = frozenset(zip(pairs.line[is_apart].tolist(), pairs.other[is_apart].tolist(), strict=True))
    return Ranking(tuple(standings), separated, floor, apart)


class _Pairs(NamedTuple):
    """The differences of all pairs of lines, the upper line first, in the order of `itertools.combinations`."""

    line: Whole
    other: Whole
    mean: Floats
    p: Floats
    """Corrected for their number (Holm)."""
    smallest_detectable: Floats


def _pairs(lines: Sequence[Sample]) -> _Pairs:
    """What `difference` says of each pair, all at once: there may be millions of pairs."""
    line, other = np.triu_indices(len(lines), 1)
    seeds, images = len(lines[0].by_seed), lines[0].images
    by_seed_LS = np.array([each.by_seed for each in lines])
    drawn_LB = np.array([each.resampled_SB.mean(axis=0) for each in lines])
    of_images = _variances(drawn_LB, line, other)
    of_seeds = np.zeros(len(line))
    if seeds > 1:
        of_seeds = (by_seed_LS[line] - by_seed_LS[other]).var(axis=1, ddof=1)
    means = by_seed_LS.mean(axis=1)
    mean = means[line] - means[other]
    spread = _spread(of_seeds, seeds, of_images, images)
    detectable = spread.quantile(1 - LEVEL / 2) + spread.quantile(POWER)
    return _Pairs(line, other, mean, _holm(spread.p(mean)), detectable)


def _variances(drawn_LB: Floats, line: Whole, other: Whole) -> Floats:
    """The sample variance over draws of each pair's difference.

    It is taken from the covariances of the lines, which one product gives. Where that would be the small difference of
    large numbers, as of lines that are nearly equal, the draws are subtracted first.
    """
    centred_LB = drawn_LB - drawn_LB.mean(axis=1, keepdims=True)
    covariance_LL = centred_LB @ centred_LB.T / (drawn_LB.shape[1] - 1)
    own_L = np.diagonal(covariance_LL)
    whole = own_L[line] + own_L[other]
    found: Floats = whole - 2 * covariance_LL[line, other]
    close = np.flatnonzero(found <= CLOSE * whole)
    for start in range(0, len(close), CHUNK):
        some = close[start : start + CHUNK]
        found[some] = (drawn_LB[line[some]] - drawn_LB[other[some]]).var(axis=1, ddof=1)
    return found


def _best(lines: Sequence[Sample], rng_seed: int) -> list[float]:
    """How often each line is the highest, where images are resampled and rng seeds drawn from a t distribution."""
    means = np.array([line.by_seed.mean() for line in lines])
    resampled_LB = np.array([line.resampled_SB.mean(axis=0) for line in lines])
    drawn_LB = resampled_LB + (means - resampled_LB.mean(axis=1))[:, None]
    by_seed_LS = np.array([line.by_seed for line in lines])
    seeds, draws = by_seed_LS.shape[1], drawn_LB.shape[1]
    if seeds > 1:
        rng = np.random.default_rng(rng_seed)
        weights_SB = rng.standard_normal((seeds, draws)) / np.sqrt(rng.chisquare(seeds - 1, draws) * seeds)
        drawn_LB += (by_seed_LS - means[:, None]) @ weights_SB
    # Lines that are equal in a draw share it.
    is_best_LB = drawn_LB == drawn_LB.max(axis=0)
    shares: list[float] = (is_best_LB / is_best_LB.sum(axis=0)).mean(axis=1).tolist()
    return shares
