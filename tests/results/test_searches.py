"""What the table of a search's trials says, by closed forms."""

import numpy as np
import pandas as pd
import pytest

from results.map_difference import map_difference
from results.metrics.classification import mean_average_precision
from results.searches import best_so_far, encoded, importances, options_of, rungs_of, searched_alone


def table(count: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rate, width = rng.uniform(0, 1, count), rng.choice(["a", "b"], count)
    return pd.DataFrame(
        {
            "recipe": "cam",
            "trial": range(count),
            "state": "complete",
            "origin": "random",
            "score": rate * 10,
            "spent": 2.0,
            "score at maps": 0.0,
            "seconds to maps": 1.0,
            "localizer.rate": rate,
            "localizer.width": width,
        }
    )


def test_columns_tell_rungs_and_options() -> None:
    assert rungs_of(table()) == ["maps"]
    assert options_of(table()) == ["localizer.rate", "localizer.width"]


def test_a_default_at_its_declared_threshold_stands_apart_from_free_ones() -> None:
    trials = table(4).assign(origin=["default", "default, free threshold", "random", "tpe"])
    assert searched_alone(trials)["trial"].tolist() == [1, 2, 3]
    assert len(searched_alone(trials.assign(origin=["default", "random", "random", "tpe"]))) == 4


def test_best_so_far_passes_over_trials_without_a_score() -> None:
    trials = table(4).assign(score=[1.0, np.nan, 0.5, 2.0])
    found = best_so_far(trials)
    assert found["stage_seconds"].tolist() == [2, 4, 6, 8]
    assert found["best"].tolist() == [1, 1, 1, 2]


def test_the_option_that_decides_the_score_is_the_important_one() -> None:
    shares = importances(table(), ["localizer.rate", "localizer.width"])
    assert next(iter(shares)) == "localizer.rate"
    assert shares["localizer.rate"] > 0.95
    assert sum(shares.values()) == pytest.approx(1)


def test_components_and_chains_of_them_have_an_importance() -> None:
    trials = table(16)
    chain = [{"name": "pamr"}]
    choices = {"a": {"name": "cam", "hidden": 16}, "b": chain}
    trials["localizer.width"] = trials["localizer.width"].map(lambda name: choices[name])
    trials["refiners"] = pd.Series([*[chain] * 15, None])
    shares = importances(trials, ["localizer.rate", "localizer.width", "refiners"])
    assert set(shares) == {"localizer.rate", "localizer.width"}


def test_too_few_trials_and_equal_scores_tell_of_no_importance() -> None:
    assert importances(table(7), ["localizer.rate"]) == {}
    assert importances(table().assign(score=1.0), ["localizer.rate"]) == {}


def test_texts_become_places_and_what_is_absent_lies_below() -> None:
    assert encoded(pd.Series(["b", None, "a"])).tolist() == [1, -1, 0]
    assert encoded(pd.Series([3.0, np.nan, 5.0])).tolist() == [3, 2, 5]


def test_equal_classifiers_are_not_separated_and_a_perfect_one_is_better_than_chance() -> None:
    rng = np.random.default_rng(1)
    labels_NK = rng.integers(0, 2, (80, 3)).astype(np.float32)
    chance_NK = rng.normal(size=(80, 3)).astype(np.float32)
    same = map_difference(chance_NK, chance_NK, labels_NK, resamples=50)
    assert (same.mean, same.verdict) == (0, "not separated")
    better = map_difference(labels_NK, chance_NK, labels_NK, resamples=50)
    assert better.mean == pytest.approx(1 - mean_average_precision(chance_NK, labels_NK).mean)
    assert better.verdict == "better"
