"""Weights & Biases: a project a suite, a run a line and rng seed, which later calls go on with by its id.

Whether runs are sent or kept in a folder for `wandb sync` is WANDB_MODE's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.tracking.tracker import Subject, Track, Tracker
from settings.errors import UserError

__all__ = ["Wandb"]


class Wandb(Tracker):
    """`where` is the folder for wandb's own files; default: `wandb` in this folder."""

    package = "wandb"

    def open(self, subject: Subject) -> Track:
        """The run whose id is the subject's key."""
        import wandb

        try:
            if self.where:
                Path(self.where).mkdir(parents=True, exist_ok=True)
            run = wandb.init(
                project=subject.suite,
                id=subject.key[:32],
                name=subject.name,
                dir=self.where or None,
                resume="allow",
                reinit="create_new",
            )
        except (wandb.errors.Error, OSError) as error:
            first_line = str(error).partition("\n")[0]
            raise UserError("--to", f"wandb, which says: {first_line}", "a login, or WANDB_MODE=offline") from None
        return _Run(run)

    def place(self) -> str:
        """Where wandb shows it."""
        return "wandb.ai, or what `wandb sync` sends of an offline run"


class _Run(Track):
    def __init__(self, run: Any) -> None:
        self._run = run
        self._last: dict[str, int] = {}

    def last_step(self, series: str) -> int:
        # Its steps are one counter for all series; each series has one of its own beside it, and that is what is kept.
        return self._last.get(series, int(self._run.summary.get(_step_of(series), -1)))

    def log(self, series: str, step: int, value: float) -> None:
        if series not in self._last:
            self._run.define_metric(series, step_metric=_step_of(series))
        self._run.log({series: value, _step_of(series): step})
        self._last[series] = step

    def tell(self, facts: Mapping[str, str]) -> None:
        self._run.config.update(dict(facts), allow_val_change=True)

    def flush(self) -> None:
        """Nothing waits: wandb sends in the background."""

    def close(self, is_over: bool) -> None:
        self._run.finish(exit_code=0 if is_over else 1)


def _step_of(series: str) -> str:
    return f"step of {series}"
