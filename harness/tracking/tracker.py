"""What every tracker offers: a place for each line of a leaderboard, where curves and results are put."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import ClassVar

from settings.errors import UserError

__all__ = ["Subject", "Track", "Tracker"]


@dataclass(frozen=True)
class Subject:
    """A line of a leaderboard with one rng seed: a run, as trackers call it."""

    suite: str
    recipe: str
    setting: str
    rng_seed: int
    key: str
    """The sha256 over all that its curves and results come from, in hexadecimal: what is made otherwise is another."""

    @property
    def name(self) -> str:
        """What people are shown."""
        return f"{self.recipe} · {self.setting} · rng seed {self.rng_seed}"


class Track(ABC):
    """The place of one subject. What it has already is not put there again."""

    @abstractmethod
    def last_step(self, series: str) -> int:
        """The last step of a series that is there, from whatever run of `seedbed track`; -1 where there is none."""

    @abstractmethod
    def log(self, series: str, step: int, value: float) -> None:
        """Put a value there; steps of a series ascend."""

    @abstractmethod
    def tell(self, facts: Mapping[str, str]) -> None:
        """Say what the subject is: data set, supervision, backbone and so on."""

    @abstractmethod
    def flush(self) -> None:
        """Let people see what was put there so far."""

    @abstractmethod
    def close(self, is_over: bool) -> None:
        """Nothing more will come from here; `is_over`: nor from anywhere, since the subject is complete."""


class Tracker(ABC):
    """A program that shows curves; `where` is a folder or an address in its own form, empty for its default."""

    package: ClassVar[str]
    """What must be installed; the extra of the same name brings it."""

    def __init__(self, where: str) -> None:
        self.where = where

    @classmethod
    def check_installed(cls) -> None:
        """Raise UserError where the package is missing."""
        if find_spec(cls.package) is None:
            mend = f"pip install 'seedbed[{cls.package}]'"
            raise UserError("--to", f"{cls.package}, which is not installed", "an installed tracker", mend)

    @abstractmethod
    def open(self, subject: Subject) -> Track:
        """The place of a subject, which is made where it is not there yet; raises UserError where it cannot be."""

    @abstractmethod
    def place(self) -> str:
        """Where people find it, in words."""
