#!/usr/bin/env bash
# optuna 5.0.0: of choices that are equal in Python, such as False and 0, only the first is ever tried, and twice as often.
#
# One would guess that a grid over [False, 0, 0.5] (no term, a term of weight 0, one of 0.5) runs each once, or is
# refused. Choices are stored by their index and the index is looked up by ==, so that 0 becomes False: the grid runs False
# twice and 0 never, the log and `trial.params` say False, and random search gives False two thirds of its trials.
# Nothing warns. Texts ("off", "0", "0.5") are safe.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check optuna==5.0.0 numpy==2.3.5
"$folder/venv/bin/python" -W ignore - <<'PY'
from collections import Counter

import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
choices = [False, 0, 0.5]


def tried(sampler: optuna.samplers.BaseSampler, trials: int) -> Counter[str]:
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: float(trial.suggest_categorical("weight", choices)), n_trials=trials)
    return Counter(repr(trial.params["weight"]) for trial in study.trials)


grid = tried(optuna.samplers.GridSampler({"weight": choices}, seed=0), 3)
chance = tried(optuna.samplers.RandomSampler(seed=0), 300)
print(f"optuna {optuna.__version__}, choices {choices}: grid {dict(grid)}, 300 random trials {dict(chance)}")
assert grid == {"False": 2, "0.5": 1}, "the behaviour has changed"
assert set(chance) == {"False", "0.5"} and chance["False"] > 1.5 * chance["0.5"]
PY
