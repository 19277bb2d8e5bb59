"""What was measured, as a table and as CSV."""

import csv
from pathlib import Path
from typing import Any

import pytest

from results.diagnostics import Measured, table, write_csv


def measured(recipe: str = "cam", rng_seed: int = 0, measure: str = "classifier mAP", **changes: Any) -> Measured:
    values = {"setting": "clean", "training_mode": "frozen", "diagnostic": "classifier", "value": 0.5} | changes
    return Measured(recipe=recipe, rng_seed=rng_seed, measure=measure, **values)


def test_a_line_is_the_mean_over_rng_seeds() -> None:
    records = [measured(rng_seed=seed, value=value) for seed, value in enumerate((0.4, 0.5, 0.6))]
    records += [measured("other", 0, value=0.25)]
    assert table(records).lines == (
        ("cam", "clean", "frozen", "classifier mAP", "0.500 ± 0.100", "3"),
        ("other", "clean", "frozen", "classifier mAP", "0.250", "1"),
    )


def test_measures_keep_their_order_and_undefined_ones_have_no_mean() -> None:
    records = [
        measured(rng_seed=seed, measure=name, value=None if (seed, name) == (1, "z") else 1.0, diagnostic="maps")
        for seed in (0, 1)
        for name in ("z", "a")
    ]
    assert [line[3:] for line in table(records).lines] == [("z", "–", "2"), ("a", "1.000 ± 0.000", "2")]


def test_a_hole_is_shown_with_its_reason_and_leaves_no_mean() -> None:
    failed = measured(rng_seed=1, measure="", value=None, diagnostic="maps", reason="no features | a bar")
    records = [measured(diagnostic="maps"), failed, measured(rng_seed=0), measured(rng_seed=1)]
    shown = table(records)
    assert [line[3:] for line in shown.lines] == [
        ("classifier mAP", "0.500 ± 0.000", "2"),
        ("maps", "✗ [1]", "2"),
    ]
    assert shown.notes[1] == "[1] rng seed 1: no features | a bar"
    assert shown.to_markdown().startswith("## Diagnostics\n")


def test_csv_has_unrounded_numbers(tmp_path: Path) -> None:
    records = [measured(value=1 / 3), measured("a,b", 1, measure="", value=None, reason="why")]
    write_csv(tmp_path / "diagnostics.csv", records)
    with (tmp_path / "diagnostics.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert float(first["value"]) == 1 / 3
    assert {name: first[name] for name in ("recipe", "setting", "training_mode", "rng_seed", "measure")} == {
        "recipe": "cam", "setting": "clean", "training_mode": "frozen", "rng_seed": "0", "measure": "classifier mAP"
    }  # fmt: skip
    assert (second["recipe"], second["value"], second["reason"]) == ("a,b", "", "why")


@pytest.mark.parametrize("count", [1, 2])
def test_two_failed_rng_seeds_are_one_line(count: int) -> None:
    failed = [measured(rng_seed=seed, measure="", value=None, reason=f"why {seed}") for seed in range(count)]
    (line,) = table(failed).lines
    assert line[3:] == ("classifier", "✗ [1]", str(count))
