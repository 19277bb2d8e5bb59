"""What every web filter offers; each file in `settings/filters/` holds one subclass of Filter.

A filter sees numbers alone: out-of-fold class probabilities and the labels that a web query claimed. So no filter can
reach a photo, a mask or the truth about the noise, and every classifier can stand before every filter.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from settings.options import Options

__all__ = ["Filter", "Flags", "Floats", "checked", "query_labels"]

Floats: TypeAlias = NDArray[np.floating[Any]]
"""float32 or float64."""
Flags: TypeAlias = NDArray[np.bool_]


class Filter(ABC):
    """Which extra photos are kept; a photo without a label never is, since no method could train on it."""

    options_model: ClassVar[type[Options]] = Options
    version: ClassVar[int] = 1
    needs_probabilities: ClassVar[bool] = True
    """False for a filter that needs no classifier: it is then given no probabilities."""

    def __init__(self, options: Options) -> None:
        self.options = options

    @abstractmethod
    def keep(self, probabilities_NK: Floats | None, labels_NK: NDArray[Any]) -> Flags:
        """Whether each of N photos is kept, bool (N,).

        `probabilities_NK` in [0, 1] are each from a fit that did not train on that photo (None where they are not
        needed); a row need not sum to 1, since classes may be independent. `labels_NK` are the multi-hot query
        labels. A pure function; it keeps the same photos in whatever order the rows come. Begin with `query_labels`
        and `checked`. Raises ValueError where shapes differ, and for probabilities and labels outside their range.
        """


def query_labels(labels_NK: NDArray[Any]) -> Flags:
    """Multi-hot labels as bool (N, K); raises ValueError for another shape and for values other than 0 and 1."""
    if labels_NK.ndim != 2:
        raise ValueError(f"labels of shape {labels_NK.shape}; expected (photos, classes)")
    shown_NK: Flags = labels_NK == 1
    if not (shown_NK | (labels_NK == 0)).all():
        raise ValueError("labels other than 0 and 1")
    return shown_NK


def checked(probabilities_NK: Floats | None, shown_NK: Flags) -> Floats:
    """The probabilities; raises ValueError where there are none, of another shape, or outside [0, 1] (as nan is)."""
    if probabilities_NK is None:
        raise ValueError("no probabilities for a filter that needs them")
    if probabilities_NK.shape != shown_NK.shape:
        raise ValueError(f"probabilities {probabilities_NK.shape} for labels {shown_NK.shape}")
    if not ((probabilities_NK >= 0) & (probabilities_NK <= 1)).all():
        raise ValueError("probabilities outside [0, 1], or nan")
    return probabilities_NK
