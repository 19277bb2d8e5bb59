"""Keep what a classifier agrees with: the query class ranks first, or reaches a probability.

`first` compares the classes of a photo, so it assumes that they are calibrated alike, and nothing about their sum. One
class always ranks first, so a photo that shows none of them may pass by chance; `threshold` can refuse all classes,
but rests on the probabilities as they are.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from settings.filter import Filter, Flags, Floats, checked, query_labels
from settings.options import Options

__all__ = ["Agreement", "AgreementOptions"]

EVEN = 0.5
"""More likely shown than not."""


class AgreementOptions(Options):
    """When classifier and query agree."""

    rule: Literal["first", "threshold"] = "first"
    threshold: float = Field(EVEN, ge=0, le=1, description="least probability of the query class, under rule threshold")

    @model_validator(mode="after")
    def _threshold_is_read(self) -> "AgreementOptions":
        if self.threshold != EVEN and self.rule != "threshold":
            raise ValueError("rule: threshold where a threshold is given")
        return self


class Agreement(Filter):
    """Kept where the query class ranks first or reaches the threshold; several query classes all have to.

    A tie is kept: no class ranks before the query class. With one class alone, rule first keeps every labelled photo.
    """

    options_model = AgreementOptions
    options: AgreementOptions

    def keep(self, probabilities_NK: Floats | None, labels_NK: NDArray[Any]) -> Flags:
        """Each photo by its own row alone; a threshold is rounded to the precision of the probabilities."""
        shown_NK = query_labels(labels_NK)
        probabilities_NK = checked(probabilities_NK, shown_NK)
        least_N = np.where(shown_NK, probabilities_NK, np.inf).min(axis=1, initial=np.inf)
        bar_N = self.options.threshold
        if self.options.rule == "first":
            bar_N = np.where(shown_NK, 0, probabilities_NK).max(axis=1, initial=0)
        keep_N: Flags = shown_NK.any(axis=1) & (least_N >= bar_N)
        return keep_N
