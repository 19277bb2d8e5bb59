"""The filter that filters nothing: the control beside every other."""

from typing import Any

from numpy.typing import NDArray

from settings.filter import Filter, Flags, Floats, query_labels

__all__ = ["KeepAll"]


class KeepAll(Filter):
    """Every photo with a label is kept; nothing is assumed and no classifier is trained."""

    needs_probabilities = False

    def keep(self, probabilities_NK: Floats | None, labels_NK: NDArray[Any]) -> Flags:
        """True where the photo has a label; probabilities are not looked at."""
        keep_N: Flags = query_labels(labels_NK).sum(axis=1) > 0
        return keep_N
