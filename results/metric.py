"""What every metric offers; each file in `results/metrics/` may hold one subclass of Metric, found by its file name.

A metric is measured beside mIoU, which alone orders tables. It reads what was counted already wherever that is enough:
the sums of each photo, or the sweep of the maps. Only one that needs to know where pixels lie goes through masks.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeAlias, TypeVar

from settings.options import Options
from settings.records import Mask

__all__ = ["Metric", "Reads", "Tally"]

Reads: TypeAlias = Literal["counts", "sweep", "masks"]
Counted = TypeVar("Counted")


class Tally(Protocol):
    """Takes one photo's masks and gives something that adds up over photos."""

    def __call__(self, prediction_HW: Mask, truth_HW: Mask, classes: int) -> Any:
        """Both masks are uint8 (H, W), 255 in the truth is unknown; `classes` includes the background."""


class Metric(ABC, Generic[Counted]):
    """What is measured of masks or maps, from what was counted."""

    options_model: ClassVar[type[Options]] = Options
    version: ClassVar[int] = 1
    """Part of the key of what is measured: raised where its numbers change."""
    reads: ClassVar[Reads]
    """`counts`: `ImageSums` of masks; `sweep`: the `Sweep` of maps; `masks`: what `tally` gives, summed over photos."""
    tally: ClassVar[Tally | None] = None
    """For a metric that reads masks; None for others."""

    def __init__(self, options: Options) -> None:
        self.options = options

    @abstractmethod
    def measures(self, counted: Counted) -> Mapping[str, float]:
        """The numbers, each by the name that tables show (0..1); nan where one is not defined."""
