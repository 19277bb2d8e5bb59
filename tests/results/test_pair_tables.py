"""How a pair of lines is told: words for verdicts, dashes and null for what is not defined."""

import json

import numpy as np

from results.pair import Side, compared
from results.pair_tables import pair_record, pair_tables
from tests.results.test_pair import NAMES, made, side

A, B = made(0.7), made(0.5)


def test_the_verdict_is_told_in_words_with_its_interval() -> None:
    pair = compared(side(A, "ours"), side(B, "theirs"))
    verdict, *others = pair_tables(pair, "scenes, val", ["a note"])
    assert [table.title for table in others] == [
        "IoU by class",
        "mIoU by size of object",
        "Where IoU is lost",
        "Photos that changed most",
    ]
    found = pair.difference
    assert verdict.lines[2] == (
        "A − B",
        f"{found.mean:+.3f}",
        f"[{found.low:+.3f}, {found.high:+.3f}]",
        f"{found.p:.4f}",
        "better",
        f"{found.smallest_detectable:.3f}",
    )
    assert verdict.notes[0] == "A is better than B at 5 %, over 3 rng seeds and 30 photos, paired"
    assert verdict.notes[-1] == "a note"
    assert [line[0] for line in others[0].lines] == list(NAMES)
    assert r"A $-$ B & " in verdict.to_latex()


def test_equal_counts_and_one_rng_seed_are_told() -> None:
    equal = pair_tables(compared(side(A), side(A)), "")[0]
    assert equal.notes[0] == "A and B have the same counts in every photo: one measurement, not two"
    single = pair_tables(compared(side(A[:1]), side(B[:1])), "")[0]
    assert "it speaks of other photos" in single.notes[0]


def test_what_is_not_defined_is_a_dash_and_null() -> None:
    a, b = A.copy(), B.copy()
    for counts in (a, b):
        counts[..., 0] += counts[..., 3]
        counts[..., 3, :], counts[..., 3] = 0, 0
    pair = compared(side(a), side(b))
    assert pair_tables(pair, "")[1].lines[3] == ("cow", "–", "–", "–", "–", "–", "–", "0")
    record = json.loads(json.dumps(pair_record(pair), allow_nan=False))
    cow = record["by_class"][3]
    assert {cow[name] for name in ("a", "b", "mean", "low", "high", "p", "verdict")} == {None}
    assert record["errors_a"][3]["lost"] is None


def test_the_record_holds_the_difference_as_it_is() -> None:
    pair = compared(side(A), side(B))
    record = pair_record(pair)
    found = pair.difference
    names = ("mean", "low", "high", "p", "verdict", "smallest_detectable", "seeds_tested", "images")
    assert {name: record[name] for name in names} == {name: getattr(found, name) for name in names}
    assert record["by_class"][1]["mean"] == pair.by_class[1].mean
    assert record["changed"][0]["image"] == pair.changed[0].image


def test_a_class_that_one_side_alone_predicts_has_no_difference() -> None:
    a, b = (np.zeros((1, 2, 3, 3), np.int64) for _ in range(2))
    a[0, :, 0, 0], b[0, :, 0, 0], a[0, :, 1, 1], b[0, :, 1, 1] = 50, 45, 20, 20
    b[0, :, 0, 2] = 5
    names = ("background", "cat", "dog")
    sides = [Side(name, names, "same", side(counts).rows) for name, counts in (("a", a), ("b", b))]
    pair = compared(sides[0], sides[1])
    dog = pair.by_class[2]
    assert (np.isnan(dog.a), dog.b, dog.difference) == (True, 0.0, None)
    assert pair_tables(pair, "")[1].lines[2][:4] == ("dog", "–", "0.000", "–")
