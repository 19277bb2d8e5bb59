"""The study of a search as an Optuna journal, which optuna-dashboard and `optuna.load_study` open."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from harness.searching.proposals import finished_trial
from harness.searching.search import RecipeSearch
from settings.files import write_bytes

__all__ = ["write_journal"]


def write_journal(searches: Sequence[RecipeSearch], path: Path) -> None:
    """Write one study a recipe, by the recipe's name, with the trials that ended and lie within its ranges."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    lines = _Lines()
    storage = JournalStorage(lines)
    for search in searches:
        study = optuna.create_study(storage=storage, study_name=search.space.name, direction="maximize")
        found = [finished_trial(search.space, trial.known()) for trial in search.trials.values()]
        study.add_trials([trial for trial in found if trial is not None])
    text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in lines.logs)
    write_bytes(path, text.encode())


class _Lines(BaseJournalBackend):
    """A journal in memory: Optuna's own file is locked, written and flushed to disk anew for each trial."""

    def __init__(self) -> None:
        self.logs: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        """The entries from one number on."""
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Take further entries."""
        self.logs += logs
