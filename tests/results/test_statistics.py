"""Verdicts: closed forms, independent naive code, and how often equal methods are called different."""

from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from benchmarks.verdicts import RATIOS, SEEDS, confusions, false_verdicts, is_separated, p_of_ours, sensitivity
from results.metrics.counts import Counts
from results.metrics.miou import mean_iou
from results.statistics import (
    Difference,
    Sample,
    class_samples,
    corrected,
    difference,
    holm,
    interval,
    paired_difference,
    pixel_sums,
    ranking,
    samples,
)

Whole = NDArray[np.int64]


def made(seeds: int = 3, shift: float = 0.0, rng_seed: int = 0) -> tuple[Whole, Whole]:
    """Confusions of two methods, the first better by `shift` in the share of pixels that it finds."""
    return confusions(np.random.default_rng(rng_seed), seeds, 0.02, shift)


def miou(counts_NKK: Whole) -> float:
    return mean_iou(Counts(counts_NKK.sum(axis=0))).mean


def test_the_mean_is_that_of_the_whole_sets_miou() -> None:
    a, b = made(shift=0.1)
    expected = np.mean([miou(a[s]) - miou(b[s]) for s in range(3)])
    found = paired_difference(a, b, resamples=50)
    assert found.mean == pytest.approx(expected, abs=1e-12)
    assert (found.seeds, found.images, found.seeds_tested) == (3, 120, True)


def test_resampled_values_are_those_of_a_loop_over_draws() -> None:
    a, b = made()
    lines = samples([pixel_sums(a), pixel_sums(b)], resamples=600, rng_seed=4)
    rng = np.random.default_rng(4)
    drawn = np.concatenate([rng.integers(120, size=(500, 120)), rng.integers(120, size=(100, 120))])
    for counts, line in zip((a, b), lines, strict=True):
        naive = [np.mean([miou(counts[s][images]) for s in range(3)]) for images in drawn]
        np.testing.assert_allclose(line.resampled_SB.mean(axis=0), naive, atol=1e-12)


def test_a_class_is_resampled_in_draws_that_show_it_alone() -> None:
    a, b = made(seeds=2)
    three = np.flatnonzero(pixel_sums(a).truth_NC[:, -1])[:3]
    for counts in (a, b):
        # The last class is shown by three images, and the one before it by none.
        counts[:, np.setdiff1d(np.arange(120), three), -1] = 0
        counts[:, :, -2] = 0
    found = class_samples([pixel_sums(a), pixel_sums(b)], resamples=40, rng_seed=4)
    drawn = np.random.default_rng(4).integers(120, size=(40, 120))
    last, none = found[-1], found[-2]
    assert none is None and last is not None
    for counts, sample in zip((a, b), last, strict=True):
        shown = [images for images in drawn if np.isin(images, three).any()]
        naive = [mean_iou(Counts(counts[1][images].sum(axis=0))).per_class[-1] for images in shown]
        assert 2 < len(shown) < 40
        np.testing.assert_allclose(sample.resampled_SB[1], naive, atol=1e-12)
        assert sample.images == 3
        assert sample.by_seed[0] == pytest.approx(mean_iou(Counts(counts[0].sum(axis=0))).per_class[-1])


def test_one_rng_seed_is_tested_over_images_alone() -> None:
    a, b = made(seeds=1, shift=0.05)
    found = paired_difference(a, b, resamples=4000)
    lines = samples([pixel_sums(a), pixel_sums(b)], resamples=4000)
    error = np.std(lines[0].resampled_SB - lines[1].resampled_SB, ddof=1) * (120 / 119) ** 0.5
    margin = stats.t.ppf(0.975, 119) * error
    assert not found.seeds_tested
    assert (found.low, found.high) == pytest.approx((found.mean - margin, found.mean + margin), rel=1e-9)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(found.mean) / error, 119), rel=1e-9)
    assert found.smallest_detectable == pytest.approx(margin + stats.t.ppf(0.8, 119) * error, rel=1e-9)


def test_where_images_do_not_vary_it_is_the_paired_t_test_over_rng_seeds() -> None:
    a, b = np.array([0.51, 0.53, 0.58, 0.50]), np.array([0.48, 0.52, 0.50, 0.49])
    constant = np.zeros((4, 100))
    found = difference(Sample(a, constant, 1000), Sample(b, constant, 1000))
    expected = stats.ttest_rel(a, b)
    low, high = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)
    assert found.verdict == "not separated"


def test_sides_change_the_sign_alone() -> None:
    a, b = made(shift=0.2)
    one, other = paired_difference(a, b, resamples=300), paired_difference(b, a, resamples=300)
    assert (one.verdict, other.verdict) == ("better", "worse")
    assert (one.mean, one.low, one.high) == pytest.approx((-other.mean, -other.high, -other.low))
    assert one.p == pytest.approx(other.p)


def test_identical_masks_differ_by_nothing() -> None:
    a, _ = made()
    found = paired_difference(a, a, resamples=100)
    assert (found.mean, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert found.verdict == "not separated"
    assert found.smallest_detectable == 0


def test_a_difference_that_nothing_varies_is_certain() -> None:
    constant = np.zeros((2, 10))
    found = difference(Sample(np.array([0.6, 0.6]), constant, 9), Sample(np.array([0.5, 0.5]), constant, 9))
    assert (found.p, found.verdict) == (0, "better")


def test_a_class_that_no_image_shows_counts_as_in_the_protocol() -> None:
    counts = np.zeros((1, 4, 3, 3), np.int64)
    counts[0, :, 0, 0], counts[0, :, 1, 1], counts[0, :, 1, 0] = 90, 6, 4
    apart = paired_difference(counts, counts, resamples=20)
    assert apart.mean == 0
    [line] = samples([pixel_sums(counts)], resamples=20)
    np.testing.assert_allclose(line.resampled_SB[0], (90 / 94 + 6 / 10) / 2)
    counts[0, 0, 0, 0], counts[0, 0, 0, 2] = 80, 10
    [line] = samples([pixel_sums(counts)], resamples=20)
    assert line.by_seed[0] == pytest.approx((350 / 376 + 24 / 40 + 0) / 3)


def test_a_class_that_a_draw_leaves_out_is_left_out_of_its_mean() -> None:
    counts = np.zeros((1, 2, 2, 2), np.int64)
    counts[0, 0, 0, 0], counts[0, 1, 1, 1], counts[0, 1, 1, 0] = 100, 50, 50
    [line] = samples([pixel_sums(counts)], resamples=200)
    # Both images, the first alone, the second alone: background 100/150 and class 1/2; background 1; class 1/2.
    assert set(np.round(line.resampled_SB[0], 9)) == {round((100 / 150 + 0.5) / 2, 9), 1.0, 0.5}


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        (np.zeros((2, 3, 4, 4)), np.zeros((2, 3, 4, 4)), "float64"),
        (np.ones((2, 3, 4, 5), np.int64), np.ones((2, 3, 4, 5), np.int64), "int64 confusions"),
        (np.ones((2, 3, 4, 4), np.int64), np.ones((2, 3, 5, 5), np.int64), "same images and true masks"),
        (np.ones((2, 3, 4, 4), np.int64), np.ones((2, 5, 4, 4), np.int64), "same images and true masks"),
        (np.ones((2, 3, 4, 4), np.int64), np.ones((3, 3, 4, 4), np.int64), "as many rng seeds"),
        (np.ones((2, 1, 4, 4), np.int64), np.ones((2, 1, 4, 4), np.int64), "two images"),
        (-np.ones((2, 3, 4, 4), np.int64), np.ones((2, 3, 4, 4), np.int64), "not negative"),
        (np.zeros((2, 3, 4, 4), np.int64), np.zeros((2, 3, 4, 4), np.int64), "no class is defined"),
        (np.ones((0, 3, 4, 4), np.int64), np.ones((0, 3, 4, 4), np.int64), "int64 confusions"),
        (np.ones((2, 3, 4, 4), np.int64), 2 * np.ones((2, 3, 4, 4), np.int64), "same images and true masks"),
    ],
)
def test_what_cannot_be_compared_is_refused(a: Whole, b: Whole, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        paired_difference(a, b, resamples=5)


def test_rng_seeds_of_other_photos_are_refused() -> None:
    counts = np.ones((2, 3, 4, 4), np.int64)
    counts[1, 0] += 1
    with pytest.raises(ValueError, match="other true masks than each other"):
        paired_difference(counts, counts, resamples=5)


def test_holm_is_the_stepwise_rule() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_a_verdict_holds_for_all_comparisons_together() -> None:
    one = Difference(0.1, 0.02, 0.18, 0.02, "better", 0.11, 3, 100)
    others = [replace(one, p=0.5, verdict="not separated")] * 2
    alone, among_three = corrected([one])[0], corrected([one, *others])[0]
    assert (alone.p, alone.verdict) == (0.02, "better")
    assert (among_three.p, among_three.verdict) == (pytest.approx(0.06), "not separated")


def test_ranks_are_shared_where_lines_are_not_separated() -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(2000) * 0.01
    far = [0.8, 0.6, 0.601, 0.3]
    lines = [
        Sample(np.array([m, m + 0.002, m - 0.002]), m + noise + 0.001 * rng.standard_normal((3, 2000)), 500)
        for m in far
    ]
    found = ranking(lines)
    assert [each.rank for each in found.standings] == [1, 2, 2, 4]
    assert [(each.first, each.last) for each in found.standings] == [(1, 1), (2, 3), (2, 3), (4, 4)]
    assert found.separated == pytest.approx(5 / 6)
    assert found.standings[0].best == pytest.approx(1, abs=0.01)
    assert sum(each.best for each in found.standings) == pytest.approx(1)
    assert 0 < found.floor < 0.02


def test_all_pairs_at_once_say_what_each_says_alone() -> None:
    """Lines far apart, nearly equal (their difference is a hundred-thousandth of either), and the same twice."""
    rng = np.random.default_rng(5)
    noise, own = rng.normal(0, 0.02, 400), rng.normal(0, 1, (6, 3, 400))
    scales = (1e-2, 1e-2, 1e-3, 1e-7, 1e-7)
    lines = [
        Sample(0.5 + 0.01 * rng.standard_normal(3), 0.5 + noise + scale * each, 40)
        for scale, each in zip(scales, own, strict=False)
    ]
    lines.append(lines[0])
    pairs = list(combinations(range(len(lines)), 2))
    alone = corrected([difference(lines[i], lines[j]) for i, j in pairs])
    found = ranking(lines)
    assert found.apart == {pair for pair, each in zip(pairs, alone, strict=True) if each.verdict != "not separated"}
    assert found.floor == pytest.approx(np.median([each.smallest_detectable for each in alone]), rel=1e-12)
    nearly = [lines[3], lines[4]]
    assert ranking(nearly).floor == pytest.approx(difference(*nearly).smallest_detectable, rel=1e-12)
    assert ranking([lines[0], lines[-1]]).floor == 0


def test_equal_lines_share_the_chance_of_being_best() -> None:
    a, _ = made()
    lines = samples([pixel_sums(a)] * 4, resamples=200)
    assert [each.best for each in ranking(lines).standings] == pytest.approx([0.25] * 4)
    alone = ranking(lines[:1])
    assert alone.standings[0].best == 1
    assert np.isnan([alone.separated, alone.floor]).all()


def test_an_interval_stays_within_its_bounds() -> None:
    sure = Sample(np.array([0.99, 0.9, 1.0]), np.full((3, 100), 0.96), 50)
    found = interval(sure)
    assert (found.mean, found.high) == (pytest.approx(0.9633333), 1.0)
    assert 0 < found.low < found.mean


@pytest.mark.parametrize("seeds", SEEDS)
def test_the_correction_gives_three_to_seven_false_verdicts_of_a_hundred(seeds: int) -> None:
    for ratio in RATIOS:
        assert 0.03 < false_verdicts(p_of_ours, seeds, ratio, draws=40_000) < 0.07, ratio


def test_equal_methods_are_seldom_called_different_and_unequal_ones_often() -> None:
    rng = np.random.default_rng(0)
    gain, of_images = sensitivity(draws=200)
    spread = (of_images / 2) ** 0.5 / gain
    shift = 4.5 * (of_images * (1 + 1 / 3)) ** 0.5 / gain
    false = [is_separated(rng, 3, spread, 0.0) for _ in range(150)]
    found = [is_separated(rng, 3, spread, shift) for _ in range(50)]
    assert np.mean(false) < 0.1
    assert np.mean(found) > 0.8


def test_more_images_tell_smaller_differences_apart() -> None:
    a, b = made(seeds=1)
    floors = [paired_difference(a[:, :n], b[:, :n], resamples=2000).smallest_detectable for n in (15, 50, 120)]
    assert all(later < earlier for earlier, later in pairwise(floors))
