"""What every supervision setting offers; `clean.py` and its sisters hold one subclass each."""

from abc import ABC, abstractmethod
from typing import ClassVar

from settings.dataset import Dataset
from settings.options import Options
from settings.records import WeakSet


class Setting(ABC):
    """Which photos and image-level labels a method may train on."""

    options_model: ClassVar[type[Options]] = Options
    version: ClassVar[int] = 1

    def __init__(self, options: Options) -> None:
        self.options = options

    @abstractmethod
    def weak_set(self, dataset: Dataset) -> WeakSet:
        """The photos that methods see, in id order within each source."""
