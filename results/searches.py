"""What the trials of a search say, from their table alone: best so far, importances, how well rungs predict the end.

The table has a line a trial: `recipe`, `trial`, `state` (complete, stopped, failed), `origin`, `score`, `threshold`,
`spent` (stage-seconds of the search on it), `seconds` (of its stages that no earlier trial had), `reason`; and for each
rung NAME `score at NAME` and `seconds to NAME`, for each option its path. Empty is what there is not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from results.metrics.miou import Floats

__all__ = [
    "DEFAULT",
    "DEFAULT_FREE",
    "FIXED_COLUMNS",
    "best_so_far",
    "encoded",
    "importances",
    "options_of",
    "rungs_of",
    "score_column",
    "searched_alone",
    "seconds_column",
]

FIXED_COLUMNS = ("recipe", "trial", "state", "origin", "score", "threshold", "spent", "seconds", "reason")
AT, TO = "score at ", "seconds to "
DEFAULT, DEFAULT_FREE = "default", "default, free threshold"
"""The origins of trial 0, and of the same options at their best threshold."""
TREES = 64
LEAST_TRIALS = 8
"""Fewer trials tell nothing of importances."""


def score_column(rung: str) -> str:
    """The column with the scores at a rung."""
    return f"{AT}{rung}"


def seconds_column(rung: str) -> str:
    """The column with what a trial's stages up to a rung cost beyond the rung before it."""
    return f"{TO}{rung}"


def rungs_of(table: pd.DataFrame) -> list[str]:
    """The names of the rungs, in order."""
    return [column.removeprefix(AT) for column in table.columns if column.startswith(AT)]


def options_of(table: pd.DataFrame) -> list[str]:
    """The paths of the options that were searched."""
    others = (*FIXED_COLUMNS, *map(score_column, rungs_of(table)), *map(seconds_column, rungs_of(table)))
    return [column for column in table.columns if column not in others]


def best_so_far(table: pd.DataFrame) -> pd.DataFrame:
    """The highest score up to each trial, beside the stage-seconds spent up to it, by recipe."""
    found = []
    for _, trials in table.groupby("recipe", sort=False):
        ordered = trials.sort_values("trial")
        found.append(ordered.assign(stage_seconds=ordered["spent"].cumsum(), best=ordered["score"].cummax().ffill()))
    return pd.concat(found, ignore_index=True)


def importances(table: pd.DataFrame, options: Sequence[str]) -> dict[str, float]:
    """How much of the scores' variance each option explains, of trials of one recipe that came to their end.

    By permutation in a forest of regression trees: how much worse it tells the score when an option's values are
    shuffled among the trials; shares add up to 1. Empty where fewer than eight trials tell, or nothing varies.
    """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    ended = searched_alone(table[table["score"].notna() & (table["state"] == "complete")])
    columns = [option for option in options if option in ended.columns and _varies(ended[option])]
    if len(ended) < LEAST_TRIALS or not columns or ended["score"].nunique() < 2:
        return {}
    features = np.stack([encoded(ended[column]) for column in columns], axis=1)
    forest = RandomForestRegressor(n_estimators=TREES, random_state=0).fit(features, ended["score"])
    result = permutation_importance(forest, features, ended["score"], n_repeats=8, random_state=0)
    means = np.clip(result.importances_mean, 0, None)
    if not means.sum():
        return {}
    shares = dict(zip(columns, (means / means.sum()).tolist(), strict=True))
    return dict(sorted(shares.items(), key=lambda entry: -entry[1]))


def searched_alone(table: pd.DataFrame) -> pd.DataFrame:
    """Without the default configurations at their declared thresholds where thresholds are free: these are read
    otherwise than all other trials.
    """
    free = set(table.loc[table["origin"] == DEFAULT_FREE, "recipe"])
    return table[~((table["origin"] == DEFAULT) & table["recipe"].isin(free))]


def encoded(values: pd.Series[Any]) -> Floats:
    """Numbers as they are; anything else by its place among the values that there are, what is absent as -1."""
    if pd.api.types.is_numeric_dtype(values):
        numbers: Floats = values.fillna(values.min() - 1).to_numpy(float)
        return numbers
    # Of the whole series: of a list, such as a chain of refiners, pandas tells entry by entry whether it is absent.
    pairs = zip(values, values.isna(), strict=True)
    texts = ["" if is_absent else json.dumps(value, sort_keys=True) for value, is_absent in pairs]
    places = {text: place for place, text in enumerate(sorted(set(texts) - {""}))}
    return np.array([places.get(text, -1) for text in texts], float)


def _varies(values: pd.Series[Any]) -> bool:
    """Whether an option has several values where it is there."""
    # By their places: components are mappings, which pandas cannot count.
    return len(np.unique(encoded(values.dropna()))) > 1
