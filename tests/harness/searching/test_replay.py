"""Replays on small tables whose answer is known."""

from pathlib import Path

import pandas as pd
import pytest

from harness.searching.replay import read_recorded, replayed, searched
from settings.errors import UserError


def write(path: Path, count: int = 20) -> Path:
    score = [(7 * n) % count / count for n in range(count)]
    pd.DataFrame(
        {
            "recipe": "cam",
            "trial": range(count),
            "state": "complete",
            "origin": "random",
            "score": score,
            "score at localizer": score,
            "score at pseudo_labels": score,
            "seconds to localizer": [0.0, *[1.0] * (count - 1)],
            "seconds to pseudo_labels": 9.0,
            "localizer.rate": score,
        }
    ).to_csv(path, index=False)
    return path


def test_a_search_spends_half_of_what_was_recorded_and_stopping_tries_more(tmp_path: Path) -> None:
    (recorded,) = read_recorded(write(tmp_path / "trials.csv", 60))
    # What was shared counts as what such a rung costs.
    assert recorded.seconds_NR.sum() == 60 * 10
    plain = searched(recorded, "random", False, 0)
    assert plain.trials == 30
    stopped = searched(recorded, "random", True, 0)
    assert stopped.trials > plain.trials
    assert stopped.best >= plain.best


def test_tpe_finds_the_best_of_a_smooth_table_more_often_than_chance(tmp_path: Path) -> None:
    (recorded,) = read_recorded(write(tmp_path / "trials.csv", 60))
    random = sum(searched(recorded, "random", False, seed).best for seed in range(10))
    assert sum(searched(recorded, "tpe", False, seed).best for seed in range(10)) > random


def test_the_table_has_a_line_a_sampler_and_rule(tmp_path: Path) -> None:
    table = replayed(write(tmp_path / "trials.csv"), 8)
    assert [line[1:4] for line in table.lines] == [
        ("random", "none", "2"),
        ("random", "asha", "2"),
        ("tpe", "none", "2"),
        ("tpe", "asha", "2"),
    ]


def test_a_table_of_one_rung_is_replayed(tmp_path: Path) -> None:
    path = write(tmp_path / "trials.csv")
    pd.read_csv(path).drop(columns=["score at localizer", "seconds to localizer"]).to_csv(path, index=False)
    (recorded,) = read_recorded(path)
    assert recorded.seconds_NR.tolist() == [[9.0]] * 20
    assert len(replayed(path, 8).lines) == 4


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("seconds to localizer", "long", "'long' in column 'seconds to localizer'"),
        ("seconds to localizer", None, "'nan' in column 'seconds to localizer'"),
        ("seconds to localizer", -1.0, "seconds below 0"),
        ("score at pseudo_labels", "high", "'high' in column 'score at pseudo_labels'"),
        ("score at pseudo_labels", float("inf"), "'inf' in column 'score at pseudo_labels'"),
        ("recipe", None, "no trial of any recipe"),
    ],
)
def test_a_column_of_other_than_numbers_is_one_line(tmp_path: Path, column: str, value: object, expected: str) -> None:
    path = write(tmp_path / "trials.csv")
    table = pd.read_csv(path)
    table[column] = [value] * len(table)
    table.to_csv(path, index=False)
    with pytest.raises(UserError, match=expected):
        replayed(path, 8)


def test_a_table_without_seconds_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "trials.csv")
    table = pd.read_csv(path)
    table.drop(columns="seconds to localizer").to_csv(path, index=False)
    with pytest.raises(UserError, match="no column seconds to localizer"):
        replayed(path, 8)
    table[["seconds to localizer", "seconds to pseudo_labels"]] = 0.0
    table.to_csv(path, index=False)
    with pytest.raises(UserError, match="every stage was in the store already"):
        replayed(path, 8)
    table.head(0).to_csv(path, index=False)
    with pytest.raises(UserError, match="no trial of any recipe"):
        replayed(path, 8)


def test_what_is_no_table_of_trials_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unreadable table"):
        replayed(tmp_path / "absent.csv", 8)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="no column origin, recipe, score, state, trial"):
        replayed(tmp_path / "other.csv", 8)
    with pytest.raises(UserError, match="5 trials of cam"):
        replayed(write(tmp_path / "few.csv", 5), 8)
