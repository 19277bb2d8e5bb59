"""Scores of single photos, against sets of pixels; and which photos stand for a line."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.metrics.counts import count, count_labels
from results.per_image import confusion_table, joined, label_table
from results.photo_scores import Pick, best_median_worst, miou_by_image
from settings.records import UNKNOWN

CLASSES = 4


def naive_miou(prediction: np.ndarray, truth: np.ndarray) -> float:
    """The mean of intersection over union of pixel sets, over the classes that truth or prediction holds."""
    known = [(p, t) for p, t in zip(prediction.ravel().tolist(), truth.ravel().tolist(), strict=True) if t != UNKNOWN]
    values = []
    for value in range(CLASSES):
        predicted = {place for place, (p, _) in enumerate(known) if p == value}
        true = {place for place, (_, t) in enumerate(known) if t == value}
        if predicted | true:
            values.append(len(predicted & true) / len(predicted | true))
    return sum(values) / len(values) if values else math.nan


@given(st.integers(0, 10_000), st.integers(1, 6))
def test_scores_of_photos_equal_naive_ones_in_one_table_and_in_several(rng_seed: int, photos: int) -> None:
    rng = np.random.default_rng(rng_seed)
    truths = [rng.choice([0, 1, 2, 3, UNKNOWN], (3, 5)).astype(np.uint8) for _ in range(photos)]
    predictions = [rng.integers(0, CLASSES, (3, 5), np.uint8) for _ in range(photos)]
    pairs = list(zip(predictions, truths, strict=True))
    tables = [confusion_table([(f"p{n}", count(p, t, CLASSES))]) for n, (p, t) in enumerate(pairs)]
    whole = confusion_table((f"p{n}", count(p, t, CLASSES)) for n, (p, t) in enumerate(pairs))
    wanted = {f"p{n}": naive_miou(p, t) for n, (p, t) in enumerate(pairs)}
    assert miou_by_image(joined(tables), CLASSES) == pytest.approx(wanted, nan_ok=True)
    assert miou_by_image(whole, CLASSES) == pytest.approx(wanted, nan_ok=True)


def test_undecided_pixels_of_a_pseudo_label_are_background() -> None:
    label, truth = np.array([[1, 1, UNKNOWN, UNKNOWN]], np.uint8), np.array([[1, 0, 0, 1]], np.uint8)
    scores = miou_by_image(label_table([("a", count_labels(label, truth, 2))]), 2)
    assert scores["a"] == pytest.approx((1 / 3 + 1 / 3) / 2)


def test_a_photo_without_a_known_pixel_has_no_score_and_is_not_picked() -> None:
    unknown = np.full((2, 2), UNKNOWN, np.uint8)
    known = np.zeros((2, 2), np.uint8)
    table = confusion_table([("void", count(known, unknown, 2)), ("right", count(known, known, 2))])
    scores = miou_by_image(table, 2)
    assert math.isnan(scores["void"]) and scores["right"] == 1.0
    assert best_median_worst(scores, 3) == [Pick("right", 1.0, "best")]


def test_a_third_each_is_best_around_the_median_and_worst() -> None:
    scores = {f"p{n:02}": n / 20 for n in range(21)}
    picks = best_median_worst(scores, 10)
    assert [(pick.place, round(pick.miou * 20)) for pick in picks] == [
        *(("best", n) for n in (20, 19, 18, 17)),
        *(("median", n) for n in (11, 10, 9)),
        *(("worst", n) for n in (2, 1, 0)),
    ]


def test_photos_of_one_score_come_by_id() -> None:
    assert [pick.image for pick in best_median_worst(dict.fromkeys("cab", 0.5), 3)] == ["a", "b", "c"]


@given(st.integers(0, 40), st.integers(0, 12))
def test_no_photo_is_picked_twice_and_the_order_is_that_of_the_scores(photos: int, count_: int) -> None:
    scores = {f"p{n}": (n * 7 % 41) / 41 for n in range(photos)}
    picks = best_median_worst(scores, count_)
    assert len({pick.image for pick in picks}) == len(picks) == min(count_, photos)
    assert [pick.miou for pick in picks] == sorted((pick.miou for pick in picks), reverse=True)
    ranked = sorted(scores.values(), reverse=True)
    assert {pick.miou for pick in picks if pick.place == "best"} == set(ranked[: (len(picks) + 2) // 3])
    assert {pick.miou for pick in picks if pick.place == "worst"} == set(ranked[photos - len(picks) // 3 :])
    places = [ranked.index(pick.miou) for pick in picks if pick.place == "median"]
    if photos > count_ and len(places) % 2:
        assert abs(sum(places) / len(places) - (photos - 1) / 2) <= 0.5
