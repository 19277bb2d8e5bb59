"""How well a web filter tells clean photos from noise, measured afterwards against a truth that no method has seen."""

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["FilterQuality", "filter_quality"]


class FilterQuality(NamedTuple):
    """Numbers of photos: clean ones show the class that they were found under."""

    kept_clean: int
    kept_noise: int
    dropped_clean: int
    dropped_noise: int

    @property
    def precision(self) -> float | None:
        """Share of the kept photos that are clean, 0..1; None where none is kept."""
        return _share(self.kept_clean, self.kept_noise)

    @property
    def recall(self) -> float | None:
        """Share of the clean photos that are kept; None where none is clean."""
        return _share(self.kept_clean, self.dropped_clean)

    @property
    def noise_precision(self) -> float | None:
        """Share of the dropped photos that are noise; None where none is dropped."""
        return _share(self.dropped_noise, self.dropped_clean)

    @property
    def noise_recall(self) -> float | None:
        """Share of the noise that is dropped; None where there is none."""
        return _share(self.dropped_noise, self.kept_noise)


def filter_quality(photos: Iterable[tuple[bool, bool]]) -> FilterQuality:
    """Count photos given as (kept, clean)."""
    counts = [0, 0, 0, 0]
    for kept, clean in photos:
        counts[2 * (not kept) + (not clean)] += 1
    return FilterQuality(*counts)


def _share(part: int, rest: int) -> float | None:
    return part / (part + rest) if part + rest else None
