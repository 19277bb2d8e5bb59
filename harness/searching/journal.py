"""The study of a search as an Optuna journal, which optuna-dashboard and `optuna.load_study` open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from harness.searching.proposals import finished_trial
from harness.searching.search import RecipeSearch
from settings.files import replaced

__all__ = ["write_journal"]


def write_journal(searches: Sequence[RecipeSearch], path: Path) -> None:
    """Write one study a recipe, by the recipe's name, with the trials that ended and lie within its ranges."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with replaced(path) as partial:
        storage = JournalStorage(JournalFileBackend(str(partial)))
        for search in searches:
            study = optuna.create_study(storage=storage, study_name=search.space.name, direction="maximize")
            found = [finished_trial(search.space, trial.known()) for trial in search.trials.values()]
            study.add_trials([trial for trial in found if trial is not None])
